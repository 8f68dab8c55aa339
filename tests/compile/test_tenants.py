"""What a gateway keeps of Secrets with keys, and whose which key is."""

import base64
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gateway.tables import table
from tomoul.api.conditions import Reason
from tomoul.gateway.compile.keys import MOST_KEYS, SecretKeys, SecretRef, missing, read_keys, unreadable
from tomoul.gateway.compile.tenants import known_tenants, secret_refs, tenant_problems

GOOD, OTHER = "sk-" + "a" * 29, "b" * 512


def data(**keys: str) -> dict[str, str]:
    return {entry: base64.b64encode(key.encode()).decode() for entry, key in keys.items()}


def sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def test_each_value_of_a_secret_is_a_key_that_is_kept_as_its_hash_alone() -> None:
    found = read_keys("acme-keys", data(old=GOOD, new=OTHER + "\n"))
    assert found.problem is None
    assert [tuple(key) for key in found.hashes] == [("new", sha256(OTHER)), ("old", sha256(GOOD))]
    assert GOOD not in repr(found)
    assert OTHER not in repr(found)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("a" * 31, "is shorter than the 32 characters"),
        ("b" * 513, "has more than 512 characters"),
        ("", "is empty"),
        ("a b" * 20, "holds other characters"),
        ("ä" * 40, "holds other characters"),
        ("a" * 20 + "\n" + "b" * 20, "holds other characters"),
    ],
)
def test_an_entry_that_is_no_key_is_told_by_its_name_and_the_others_work(key: str, words: str) -> None:
    found = read_keys("acme-keys", data(bad=key, good=GOOD))
    assert [entry.entry for entry in found.hashes] == ["good"]
    assert found.problem is not None
    assert found.problem.reason is Reason.INVALID_KEY
    assert "Secret `acme-keys`: entry `bad` is no key" in found.problem.message
    assert words in found.problem.message
    assert not key or key not in found.problem.message


def test_how_long_an_entry_is_that_is_no_key_is_not_told() -> None:
    # Who may name a Secret in a Tenant, or read the Tenant's status, need not be allowed to read the Secret.
    assert read_keys("other", data(password="a" * 9)) == read_keys("other", data(password="a" * 14))
    assert read_keys("other", data(password="a" * 513)) == read_keys("other", data(password="a" * 600))


def test_a_value_that_is_not_base64_is_no_key() -> None:
    found = read_keys("acme-keys", {"bad": "%%%"})
    assert (found.hashes, found.problem is not None) == ((), True)


def test_a_secret_without_entries_and_one_with_too_many_are_told() -> None:
    assert "has no entries" in str(read_keys("acme-keys", {}).problem)
    many = read_keys("acme-keys", data(**{f"key-{index:04}": f"{index:032}" for index in range(MOST_KEYS + 1)}))
    assert len(many.hashes) == MOST_KEYS
    assert f"entry `key-{MOST_KEYS:04}` is past the {MOST_KEYS} that are taken" in str(many.problem)


@given(st.dictionaries(st.from_regex(r"[a-z0-9.-]{1,20}", fullmatch=True), st.binary(max_size=600), max_size=8))
def test_whatever_a_secret_holds_no_value_of_it_is_kept(values: dict[str, bytes]) -> None:
    found = read_keys("keys", {entry: base64.b64encode(value).decode() for entry, value in values.items()})
    text = repr(found)
    assert all(value.decode(errors="replace") not in text for value in values.values() if len(value) > 70)
    assert len(found.hashes) + (found.problem is not None) >= 1


def test_a_deleted_secret_has_no_keys_and_an_unreadable_one_those_that_it_had() -> None:
    known = read_keys("acme-keys", data(key=GOOD))
    gone = missing(SecretRef("tenants", "acme-keys"))
    assert gone.hashes == ()
    assert gone.problem == (Reason.SECRET_NOT_FOUND, "there is no Secret `acme-keys` in namespace `tenants`")
    assert unreadable("acme-keys", known).hashes == known.hashes
    assert "keys known before go on working" in str(unreadable("acme-keys", known).problem)
    assert "none of its keys is known" in str(unreadable("acme-keys", None).problem)
    # However often it cannot be read.
    assert unreadable("acme-keys", unreadable("acme-keys", known)) == unreadable("acme-keys", known)


def tenants(*names: str, **fields: Any) -> dict[str, Any]:
    entries = [{"namespace": "tenants", "name": name, "secretName": f"{name}-keys"} for name in names]
    return {"tenants": entries, "auth": "Required", **fields}


def keys(**by_tenant: list[str]) -> dict[SecretRef, SecretKeys]:
    return {
        SecretRef("tenants", f"{name}-keys"): read_keys(f"{name}-keys", data(**{k[:3]: k for k in each}))
        for name, each in by_tenant.items()
    }


def test_of_two_tenants_with_one_key_the_first_has_it_and_the_other_is_not_told_who() -> None:
    known = known_tenants([table([], **tenants("older", "younger"))], keys(older=[GOOD], younger=[GOOD, OTHER]))
    assert [(tenant.name, tenant.hashes, tenant.rival) for tenant in known] == [
        ("tenants/older", (sha256(GOOD),), ""),
        ("tenants/younger", (sha256(OTHER),), "tenants/older"),
    ]
    (problem,) = tenant_problems(known)
    assert (problem.name, problem.reason) == ("younger", "DuplicateKey")
    assert problem.message == "Secret `younger-keys`: entry `sk-` is also a key of an older Tenant, whose it stays"


def test_one_key_twice_in_one_secret_is_one_key() -> None:
    twice = {SecretRef("tenants", "acme-keys"): read_keys("acme-keys", data(a=GOOD, b=GOOD))}
    (known,) = known_tenants([table([], **tenants("acme"))], twice)
    assert (known.hashes, known.problem) == ((sha256(GOOD),), None)


def test_a_tenant_in_two_shards_is_one_tenant_that_is_not_its_own_rival() -> None:
    shards = [table([], **tenants("acme")), table([], **tenants("acme", "globex"))]
    known = known_tenants(shards, keys(acme=[GOOD], globex=[OTHER]))
    assert [(tenant.name, tenant.problem) for tenant in known] == [("tenants/acme", None), ("tenants/globex", None)]


def test_a_secret_of_which_nothing_is_known_yet_has_no_keys_and_its_tenant_is_not_said_to_be_all_right() -> None:
    (known,) = known_tenants([table([], **tenants("acme"))], {})
    assert known.hashes == ()
    (problem,) = tenant_problems([known])
    assert (problem.reason, problem.message) == ("SecretUnreadable", "Secret `acme-keys` has not been read yet")


def test_without_authentication_no_secret_is_read_and_there_are_no_tenants() -> None:
    open_table = table([], **tenants("acme", auth="None"))
    assert secret_refs([open_table]) == frozenset()
    assert known_tenants([open_table], keys(acme=[GOOD])) == ()
    assert secret_refs([table([], **tenants("acme"))]) == {("tenants", "acme-keys")}
