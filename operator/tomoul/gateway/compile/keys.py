"""API keys: what a gateway keeps of a Secret with a tenant's keys, which is their hashes and never a key."""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tomoul.api.conditions import Reason

SHORTEST_KEY, LONGEST_KEY = 32, 512
"""In characters. A hash without salt and without work hides only what nobody can guess."""
MOST_KEYS = 256
"""Keys of one tenant that are taken; the first by the names of their entries."""
# What RFC 6750 allows behind `Bearer `.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class SecretRef(NamedTuple):
    """A Secret with a tenant's keys."""

    namespace: str
    name: str


class Problem(NamedTuple):
    """Why a gateway does not take all of a tenant's keys; its message holds no key."""

    reason: Reason
    message: str


class KeyHash(NamedTuple):
    """One key."""

    entry: str
    """Its name in the Secret's data."""
    sha256: str
    """In hexadecimal."""


@dataclass(frozen=True)
class SecretKeys:
    """What is known of one Secret."""

    hashes: tuple[KeyHash, ...] = ()
    problem: Problem | None = None


def read_keys(name: str, data: Mapping[str, str]) -> SecretKeys:
    """The keys in `data`, the base64 values of Secret `name`. White space around a key is none of it.

    What is no key is left out and told; of several such entries, the first.
    """
    hashes: list[KeyHash] = []
    problems = [f"entry `{entry}` is past the {MOST_KEYS} that are taken" for entry in sorted(data)[MOST_KEYS:]]
    for entry in sorted(data)[:MOST_KEYS]:
        key = _decoded(data[entry])
        if wrong := _what_is_wrong(key):
            problems.append(f"entry `{entry}` is no key: it {wrong}")
        else:
            hashes.append(KeyHash(entry, hashlib.sha256(key.encode()).hexdigest()))
    if not data:
        problems.append("it has no entries")
    if not problems:
        return SecretKeys(tuple(hashes))
    return SecretKeys(tuple(hashes), Problem(Reason.INVALID_KEY, f"Secret `{name}`: {problems[0]}"))


def missing(ref: SecretRef) -> SecretKeys:
    """What is known of a Secret that does not exist. Deleting it revokes its keys."""
    words = f"there is no Secret `{ref.name}` in namespace `{ref.namespace}`"
    return SecretKeys((), Problem(Reason.SECRET_NOT_FOUND, words))


def unread(name: str) -> SecretKeys:
    """What is known of a Secret of which the API server has said nothing yet."""
    return SecretKeys((), Problem(Reason.SECRET_UNREADABLE, f"Secret `{name}` has not been read yet"))


def unreadable(name: str, known: SecretKeys | None) -> SecretKeys:
    """The same keys as before: what cannot be read has not said that they are revoked."""
    before = known.hashes if known else ()
    words = "keys known before go on working" if before else "none of its keys is known"
    return SecretKeys(before, Problem(Reason.SECRET_UNREADABLE, f"Secret `{name}` cannot be read; {words}"))


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode("ascii").strip()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _what_is_wrong(key: str) -> str:
    if not _TOKEN.fullmatch(key):
        return "is empty, or holds other characters than letters, digits and `-._~+/=`"
    # How long it is is for those to know who may read the Secret; the Tenant's author need not be one.
    if len(key) < SHORTEST_KEY:
        return f"is shorter than the {SHORTEST_KEY} characters that a key needs"
    return f"has more than {LONGEST_KEY} characters" if len(key) > LONGEST_KEY else ""
