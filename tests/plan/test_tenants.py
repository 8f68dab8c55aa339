"""What is said of tenants, and who may read their keys."""

from dataclasses import replace
from typing import Any

import pytest

from tests.plan.specs import planned_table
from tests.plan.worlds import world_of
from tomoul.api.conditions import Reason
from tomoul.api.meta import Condition
from tomoul.api.routingtable import GatewayAcknowledgement, GatewayAuth, RoutingTable, TenantProblem
from tomoul.api.tenant import TenantStatus
from tomoul.plan.claims import claims
from tomoul.plan.events import events
from tomoul.plan.gateway_overlay import GatewayOverlay
from tomoul.plan.key_access import key_access
from tomoul.plan.podfact import PodFact
from tomoul.plan.tenant import KEY_REASONS, plan_tenant
from tomoul.plan.tenants import tenant_entries
from tomoul.plan.world import Facts, Key, World

ACME = Key("tenants", "acme")
GATEWAY = "gateway-a"
PODS = {Key("tomoul-system", "tomoul-gateway-eu-west"): [PodFact(name=GATEWAY, ready=True)]}


def tenant(name: str = "acme", created: str | None = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "tenants", "generation": 1, "creationTimestamp": created}
    return {"kind": "Tenant", "metadata": metadata, "spec": {"apiKeys": {"secretName": f"{name}-keys"}, **spec}}


def world(*tenants: dict[str, Any]) -> World:
    region = {"kind": "Region", "metadata": {"name": "eu-west"}, "spec": {"jurisdiction": "EU"}}
    return world_of([{"settings": {"gateway_auth": "Required"}}, region, *tenants])


def with_table(before: World, generation: int, entry: GatewayAcknowledgement | None = None) -> World:
    """The world once its table is written, with what its one gateway says of it."""
    planned = planned_table(before, "eu-west")
    assert planned is not None
    table = RoutingTable.model_validate(
        {
            **planned,
            "metadata": {**planned["metadata"], "generation": generation},
            "status": {"gateways": [entry] if entry else []},
        }
    )
    return replace(before, facts=Facts(pods=PODS, tables={"eu-west": table}))


def enforced(found: World, key: Key = ACME) -> Condition:
    status = plan_tenant(found, key, claims(found.models))
    (condition,) = [each for each in status.conditions if each.type == "Enforced"]
    assert status.reason == condition.reason
    return condition


def settled(found: World) -> World:
    """The world once the tenant's status is written."""
    status = plan_tenant(found, ACME, claims(found.models))
    return replace(found, tenants={**found.tenants, ACME: found.tenants[ACME].model_copy(update={"status": status})})


def test_a_tenant_is_enforced_once_every_live_gateway_has_accepted_its_entry() -> None:
    start = world(tenant())
    assert enforced(start).reason == Reason.WAITING_FOR_TABLE
    assert enforced(with_table(start, 2)).reason == Reason.WAITING_FOR_GATEWAYS
    behind = GatewayAcknowledgement(name=GATEWAY, accepted_generation=1)
    assert enforced(with_table(start, 2, behind)).reason == Reason.WAITING_FOR_GATEWAYS
    accepted = GatewayAcknowledgement(name=GATEWAY, accepted_generation=2)
    assert enforced(with_table(start, 2, accepted)).status == "True"


def test_changes_of_others_do_not_make_an_enforced_tenant_wait_again_and_its_own_do() -> None:
    accepted = GatewayAcknowledgement(name=GATEWAY, accepted_generation=2)
    after = settled(with_table(world(tenant()), 2, accepted))
    other = world_of([tenant("globex")]).tenants
    more = replace(after, tenants={**after.tenants, **other})
    assert enforced(with_table(more, 3, accepted)).status == "True"
    assert enforced(with_table(more, 3, accepted), Key("tenants", "globex")).reason == Reason.WAITING_FOR_GATEWAYS
    limited = after.tenants[ACME].model_copy(
        update={"spec": world(tenant(limits={"requestsPerMinute": 1})).tenants[ACME].spec}
    )
    changed = replace(after, tenants={ACME: limited})
    assert enforced(changed).reason == Reason.WAITING_FOR_TABLE
    assert enforced(with_table(changed, 3, accepted)).reason == Reason.WAITING_FOR_GATEWAYS


@pytest.mark.parametrize("reason", KEY_REASONS)
def test_what_a_live_gateway_says_of_the_keys_is_the_tenants_condition_and_a_dead_ones_word_is_not(
    reason: Reason,
) -> None:
    problem = TenantProblem(namespace="tenants", name="acme", reason=reason, message="key `a` is bad")
    said = GatewayAcknowledgement(name=GATEWAY, accepted_generation=2, tenant_problems=(problem,))
    found = enforced(with_table(world(tenant()), 2, said))
    assert (found.status, found.reason, found.message) == ("False", reason, "eu-west: key `a` is bad")
    gone = with_table(world(tenant()), 2, said.model_copy(update={"name": "gateway-gone"}))
    assert enforced(gone).reason == Reason.WAITING_FOR_GATEWAYS


def test_a_tenant_whose_keys_have_a_problem_need_not_be_acknowledged_again() -> None:
    problem = TenantProblem(namespace="tenants", name="acme", reason=Reason.INVALID_KEY)
    said = GatewayAcknowledgement(name=GATEWAY, accepted_generation=2, tenant_problems=(problem,))
    after = settled(with_table(world(tenant()), 2, said))
    repaired = GatewayAcknowledgement(name=GATEWAY, accepted_generation=2)
    assert enforced(with_table(after, 3, repaired)).status == "True"


def test_a_region_without_gateways_does_not_hide_what_those_of_others_say_of_a_tenant() -> None:
    dark = {"kind": "Region", "metadata": {"name": "ap-south"}, "spec": {"jurisdiction": "IN"}}
    start = world(dark, tenant())

    def told(said: GatewayAcknowledgement) -> Condition:
        found = with_table(start, 2, said)
        planned = planned_table(found, "ap-south")
        assert planned is not None
        tables = {**found.facts.tables, "ap-south": RoutingTable.model_validate(planned)}
        return enforced(replace(found, facts=replace(found.facts, tables=tables)))

    held = told(GatewayAcknowledgement(name=GATEWAY, accepted_generation=2))
    assert (held.status, held.message) == ("True", "No gateway is ready in `ap-south`, which takes no calls")
    problem = TenantProblem(namespace="tenants", name="acme", reason=Reason.SECRET_NOT_FOUND, message="there is none")
    gone = told(GatewayAcknowledgement(name=GATEWAY, accepted_generation=2, tenant_problems=(problem,)))
    assert (gone.reason, gone.message) == (Reason.SECRET_NOT_FOUND, "eu-west: there is none")


def test_without_authentication_a_tenant_is_told_that_nothing_of_it_applies() -> None:
    found = world(tenant())
    open_world = replace(found, settings=replace(found.settings, gateway_auth=GatewayAuth.NONE))
    assert enforced(open_world).reason == Reason.AUTH_DISABLED


def test_a_region_that_does_not_exist_stays_in_the_list_so_that_it_never_means_all() -> None:
    (entry,) = tenant_entries(world(tenant(regions=["mars"])), "eu-west")
    assert entry.regions == ("mars",)


def test_a_tenant_that_is_enforced_and_names_what_does_not_exist_has_the_reason_for_that() -> None:
    accepted = GatewayAcknowledgement(name=GATEWAY, accepted_generation=2)
    found = plan_tenant(with_table(world(tenant(regions=["mars"])), 2, accepted), ACME, claims({}))
    assert [(each.type, each.status) for each in found.conditions] == [("Accepted", "False"), ("Enforced", "True")]
    assert found.reason == Reason.UNKNOWN_REGION
    (event,) = events(TenantStatus(), found)
    assert (event.type, event.reason) == ("Warning", Reason.UNKNOWN_REGION), "not everything holds"


def test_a_tenant_that_cannot_be_read_stays_in_the_tables_and_its_secret_stays_readable() -> None:
    before = with_table(world(tenant(), tenant("globex")), 2)
    globex = before.tenants[Key("tenants", "globex")]
    after = replace(before, tenants={globex_key(): globex}, unreadable_tenants=frozenset({ACME}))
    assert [entry.name for entry in tenant_entries(after, "eu-west")] == ["acme", "globex"]
    role, _ = key_access(after, "tenants")
    assert role["rules"][0]["resourceNames"] == ["acme-keys", "globex-keys"]


def globex_key() -> Key:
    return Key("tenants", "globex")


def test_the_gateways_may_read_the_secrets_that_tenants_name_and_no_others() -> None:
    role, binding = key_access(world(tenant(), tenant("globex")), "tenants")
    assert role["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": ["acme-keys", "globex-keys"],
            "verbs": ["get", "list", "watch"],
        }
    ]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "tomoul-gateway", "namespace": "tomoul-system"}]
    assert key_access(world(tenant()), "elsewhere") == ()


def test_what_lets_gateways_read_keys_has_the_labels_of_all_that_gateways_consist_of() -> None:
    before = world(tenant())
    overlay = GatewayOverlay(labels={"team": "inference"})
    labelled = replace(before, settings=replace(before.settings, gateway_overlay=overlay))
    for plain, item in zip(key_access(before, "tenants"), key_access(labelled, "tenants"), strict=True):
        assert item["metadata"]["labels"] == {**plain["metadata"]["labels"], "team": "inference"}


def test_tenants_that_the_table_has_no_room_for_are_the_youngest_and_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tomoul.plan.tenants.MAX_TENANTS", 1)
    monkeypatch.setattr("tomoul.plan.tenant.MAX_TENANTS", 1)
    older, younger = (tenant(name, f"2026-01-0{day}T00:00:00Z") for name, day in (("globex", 1), ("acme", 2)))
    full = with_table(world(younger, older), 2)
    assert [entry.name for entry in full.facts.tables["eu-west"].spec.tenants] == ["globex"]
    found = enforced(full)
    assert (found.reason, found.message) == (
        "WaitingForTable",
        "RoutingTable `eu-west` is full: it holds 1 older tenants; delete some that nobody uses",
    )


def test_a_tenant_after_as_many_with_bad_keys_as_a_gateway_may_tell_of_is_not_said_to_be_enforced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tomoul.plan.tenant.MAX_TENANT_PROBLEMS", 1)
    first, bad, last = (
        tenant(name, f"2026-01-0{day}T00:00:00Z") for day, name in enumerate(("acme", "globex", "ink"), 1)
    )
    problem = TenantProblem(namespace="tenants", name="globex", reason=Reason.SECRET_UNREADABLE)
    said = GatewayAcknowledgement(name=GATEWAY, accepted_generation=2, tenant_problems=(problem,))
    found = with_table(world(first, bad, last), 2, said)
    assert enforced(found).status == "True", "the gateway would have told of it before"
    assert enforced(found, globex_key()).reason == Reason.SECRET_UNREADABLE
    told = enforced(found, Key("tenants", "ink"))
    assert (told.status, told.reason) == ("Unknown", Reason.WAITING_FOR_GATEWAYS)
    assert f"gateway `{GATEWAY}` does not take the keys of 1 older tenants" in told.message


def test_a_tenant_that_changed_is_not_said_to_be_enforced_in_a_region_that_cannot_be_read() -> None:
    accepted = GatewayAcknowledgement(name=GATEWAY, accepted_generation=2)
    found = with_table(world(tenant()), 2, accepted)
    unread = replace(found, regions={}, unreadable_regions=frozenset({"eu-west"}))
    assert enforced(unread).status == "True", "its gateways have it"
    narrowed = replace(unread, tenants=world(tenant(models=["acme/chat"])).tenants)
    told = enforced(narrowed)
    assert (told.status, told.reason) == ("False", Reason.UNREADABLE_REGION)
    assert enforced(replace(unread, facts=Facts())).reason == Reason.HOSTED_ELSEWHERE
