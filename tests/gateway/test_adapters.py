"""LoRA adapters are models to those who call: who may call them, and under which name their calls are counted.

The table is the plan's, from a ModelDeployment with an adapter and from Tenants.
"""

from collections.abc import Iterator, Sequence

import pytest

from tests.gateway.counting import counting, line, tokens
from tests.gateway.harness import GATEWAYS, Gateway, eventually
from tests.gateway.keys import NAMESPACE, bearer, derived, key_of, secrets_of
from tests.gateway.wire import Answer, FakeEngine, call
from tests.plan.specs import planned_table
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.region import Region
from tomoul.api.routingtable import GatewayAuth, GatewayService, RoutingTable
from tomoul.api.tenant import Tenant
from tomoul.plan.naming import pool_name
from tomoul.plan.settings import Settings
from tomoul.plan.world import Key, World

BASE, ADAPTER = "acme/base", "acme/legal"
TENANTS = {"basic": [BASE], "lawyers": [ADAPTER], "both": [BASE, ADAPTER], "free": None, "counted": None}
"""The models that each tenant's spec names; None for all. What `counted` calls, one test counts."""


def planned() -> RoutingTable:
    model = ModelDeployment.model_validate(
        {
            "metadata": {"name": "base", "namespace": "models"},
            "spec": {
                "model": {"id": BASE, "aliases": ["base"]},
                "source": {"file": {"path": "/models/base"}},
                "engine": {"type": "SGLang"},
                "adapters": [{"id": ADAPTER, "source": {"file": {"path": "/models/legal"}}}],
                "cache": {"mode": "Tenant", "noStore": "Isolated"},
                "regions": [{"name": "eu-west", "replicas": 1}],
            },
        }
    )
    tenants = {
        Key(NAMESPACE, name): Tenant.model_validate(
            {
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"apiKeys": {"secretName": name}, **({"models": models} if models else {})},
            }
        )
        for name, models in TENANTS.items()
    }
    world = World(
        settings=Settings(gateway_auth=GatewayAuth.REQUIRED),
        regions={"eu-west": Region.model_validate({"metadata": {"name": "eu-west"}, "spec": {}})},
        models={Key("models", "base"): model},
        tenants=tenants,
    )
    made = planned_table(world, "eu-west")
    assert made is not None
    table = RoutingTable.model_validate({**made, "metadata": {**made["metadata"], "generation": 1}})
    service = GatewayService(namespace=GATEWAYS.namespace, name=GATEWAYS.service)
    return table.model_copy(update={"spec": table.spec.model_copy(update={"gateway_service": service})})


@pytest.fixture(scope="module")
def engine() -> Iterator[FakeEngine]:
    with_tokens = FakeEngine("base", behave=counting(7, 3, 2))
    with_tokens.start()
    yield with_tokens
    with_tokens.stop()


@pytest.fixture(scope="module")
def gateway(engine: FakeEngine) -> Iterator[Gateway]:
    started = Gateway("eu-west")
    secrets = secrets_of({name: [key_of(name)] for name in TENANTS})
    started.publish([planned()], {pool_name("base", "eu-west", "default"): [engine]}, secrets, 1)
    yield started
    started.stop()


def chat(gateway: Gateway, tenant: str, model: str, **fields: object) -> Answer:
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **fields}
    return call(gateway.port, body=body, headers=[bearer(key_of(tenant))])


def listed(gateway: Gateway, tenant: str) -> set[str]:
    answer = call(gateway.port, "/v1/models", method="GET", headers=[bearer(key_of(tenant))])
    return {entry["id"] for entry in answer.json()["data"]}


@pytest.mark.parametrize(
    ("tenant", "may"),
    [("basic", [BASE]), ("lawyers", [ADAPTER]), ("both", [BASE, ADAPTER]), ("free", [BASE, ADAPTER])],
)
def test_a_tenant_reaches_an_adapter_or_its_model_only_as_its_spec_names_them(
    gateway: Gateway, engine: FakeEngine, tenant: str, may: Sequence[str]
) -> None:
    engine.received.clear()
    for model in (BASE, ADAPTER):
        answer = chat(gateway, tenant, model)
        if model in may:
            assert answer.status == 200
            assert answer.json()["model"] == model
        else:
            assert (answer.status, answer.error["code"]) == (404, "model_not_found")
    assert len(engine.received) == len(may), "what is refused reaches no engine"
    assert listed(gateway, tenant) == set(may)
    for model in (BASE, ADAPTER):
        found = call(gateway.port, f"/v1/models/{model}", method="GET", headers=[bearer(key_of(tenant))])
        assert found.status == (200 if model in may else 404)
        assert model not in may or found.json().get("parent") == (BASE if model == ADAPTER else None)


def test_a_field_of_the_engines_own_opens_no_adapter_to_a_tenant_of_the_model_alone(
    gateway: Gateway, engine: FakeEngine
) -> None:
    engine.received.clear()
    assert chat(gateway, "basic", BASE, lora_path=ADAPTER).status == 200
    assert chat(gateway, "basic", "base", lora_path=ADAPTER).status == 200
    assert chat(gateway, "lawyers", ADAPTER, lora_path=None).status == 200
    assert [request.json().get("lora_path") for request in engine.received] == [None, None, ADAPTER]
    assert chat(gateway, "lawyers", "base").error["code"] == "model_not_found", "an alias is the model's"
    assert chat(gateway, "basic", f"{BASE}:{ADAPTER}").error["code"] == "model_not_found"


def test_an_adapters_prompts_have_another_salt_than_its_models(gateway: Gateway, engine: FakeEngine) -> None:
    engine.received.clear()
    for model in (BASE, ADAPTER):
        assert chat(gateway, "both", model).status == 200
    salts = [request.json()["cache_salt"] for request in engine.received]
    assert salts == [derived(f"{NAMESPACE}/both", model) for model in (BASE, ADAPTER)]


def test_the_lines_and_metrics_of_an_adapters_calls_are_under_its_own_id(gateway: Gateway) -> None:
    for model, streams in ((BASE, False), (ADAPTER, False), (ADAPTER, True)):
        answer = chat(gateway, "counted", model, stream=streams)
        entry = line(gateway, answer)
        assert (entry["model"], entry["tenant"], tokens(entry)) == (model, f"{NAMESPACE}/counted", (7, 3, 2))

    def told(model: str, figure: str) -> float:
        rows = gateway.admin("/stats/prometheus?filter=tomoul").splitlines()
        named = [row for row in rows if row.startswith(f"envoy_tomoul_{figure}_total{{")]
        wanted = (f'model="{model}"', f'tenant="{NAMESPACE}/counted"')
        return sum(float(row.rpartition(" ")[2]) for row in named if all(each in row for each in wanted))

    figures = {"calls": 1, "prompt_tokens": 7, "completion_tokens": 3, "cached_tokens": 2}

    def add_up() -> bool:
        found = {(model, name): told(model, name) for model in (BASE, ADAPTER) for name in figures}
        calls = {BASE: 1, ADAPTER: 2}
        assert found == {(model, name): calls[model] * each for model in calls for name, each in figures.items()}
        return True

    assert eventually(add_up)
