"""Whatever each gateway knows of a model's routes, pods with a prompt cache get only calls that they can keep apart."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.plan.cluster import Cluster
from tests.plan.specs import KEY, model, planned_table
from tests.plan.test_rollout_sequences import CANARY, NO_STORE, POOL, changed
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.routingtable import GatewayAcknowledgement, ModelRoute, RoutingTable
from tomoul.plan.engines.registry import engine_of
from tomoul.plan.model import plan_model
from tomoul.plan.naming import gateway_name
from tomoul.plan.podfact import PodFact
from tomoul.plan.running import wanted_revision
from tomoul.plan.world import Key, World

GATEWAYS = ("a", "b")


def custom(salt: str) -> Mapping[str, Any]:
    own = {"promptCache": "Salted", "saltField": salt, "noCacheArgs": ["--off"]}
    return {"type": "Custom", "image": "acme/engine:1", "args": [salt], "custom": own}


def shared() -> Mapping[str, Any]:
    own = {"promptCache": "Shared", "noCacheArgs": ["--off"]}
    return {"type": "Custom", "image": "acme/engine:1", "args": ["shared"], "custom": own}


KINDS = {
    "vllm": {"type": "VLLM", "image": "acme/engine:1", "version": "0.32.0"},
    "one": custom("one"),
    "two": custom("two"),
}
CACHES = [
    ("Tenant", "Refuse"),
    ("Tenant", "Isolated"),
    ("Tenant", "NotStored"),
    ("Shared", "Isolated"),
    ("Disabled", "Isolated"),
]
SPECS = [*((KINDS[name], cache) for name in KINDS for cache in CACHES), (shared(), ("Shared", "Refuse"))]


def chat(spec: int, replicas: int, canary: bool, strategy: str) -> ModelDeployment:
    engine, (mode, no_store) = SPECS[spec]
    rollout: dict[str, Any] = {"strategy": strategy}
    if canary:
        rollout["canary"] = {"minCalls": 10, "durationSeconds": 60}
    return model(
        engine=engine,
        cache={"mode": mode, "noStore": no_store},
        resources={"accelerator": "nvidia-l4"},
        regions=[{"name": "eu-west", "replicas": replicas}],
        rollout=rollout,
    )


class Known(Cluster):
    """A cluster with two gateways, each of which has accepted some state of the table."""

    def __init__(self, model: ModelDeployment, gpus: int) -> None:
        super().__init__(model, gpus)
        self.generation = 0
        self.accepted: dict[str, RoutingTable] = {}

    @property
    def world(self) -> World:
        found = super().world
        live = [PodFact(name, "n", "Running", ready=True, scheduled=True) for name in GATEWAYS]
        pods = {**found.facts.pods, Key("tomoul-system", gateway_name("eu-west")): live}
        return replace(found, facts=replace(found.facts, pods=pods))

    def publish(self) -> ModelRoute:
        """The operator writes the table, if it is to be another one."""
        planned = RoutingTable.model_validate(planned_table(self.world, "eu-west"))
        known = self.tables.get("eu-west")
        if known is None or known.spec != planned.spec:
            self.generation += 1
            self._write(planned)
        (route,) = self.tables["eu-west"].spec.models
        return route

    def accept(self, gateway: str) -> None:
        """A gateway hears of the table as it is, and says so."""
        if "eu-west" in self.tables:
            self.accepted[gateway] = self.tables["eu-west"]
            self._write(self.tables["eu-west"])

    def _write(self, table: RoutingTable) -> None:
        metadata = table.metadata.model_copy(update={"generation": self.generation})
        said = tuple(
            GatewayAcknowledgement(name=name, accepted_generation=found.metadata.generation)
            for name, found in self.accepted.items()
        )
        status = table.status.model_copy(update={"gateways": said})
        self.tables = {"eu-west": table.model_copy(update={"metadata": metadata, "status": status})}
        for name, found in self.accepted.items():
            if found.spec == table.spec:
                self.accepted[name] = self.tables["eu-west"]

    def hear(self) -> None:
        """All gateways do."""
        for name in GATEWAYS:
            self.accept(name)


class Behind(RuleBasedStateMachine):
    """Edits in the middle of rollouts, gateways that hear of them at any time, nodes that lose pods."""

    @initialize(spec=st.integers(0, len(SPECS) - 1), replicas=st.integers(1, 2), canary=st.booleans())
    def begin(self, spec: int, replicas: int, canary: bool) -> None:
        self.args: dict[str, Any] = {"spec": spec, "replicas": replicas, "canary": canary, "strategy": "Auto"}
        self.salts: dict[str, str | None] = {}
        self.cluster = Known(chat(**self.args), gpus=8)
        self._note()
        self.settle()

    def _note(self) -> None:
        found = chat(**self.args)
        changed(self.cluster, found)
        region = self.cluster.world.regions["eu-west"]
        salt = engine_of(found.spec).body_fields(found.spec).salt
        self.salts[wanted_revision(self.cluster.world, found, region, "default")] = salt

    @rule(spec=st.integers(0, len(SPECS) - 1))
    def change(self, spec: int) -> None:
        self.args["spec"] = spec
        self._note()

    @rule(canary=st.booleans(), strategy=st.sampled_from(["Auto", "Surge", "Replace"]))
    def change_rollout(self, **fields: Any) -> None:
        self.args |= fields
        self._note()

    @rule()
    def reconcile(self) -> None:
        self.cluster.reconcile()

    @rule()
    def work(self) -> None:
        for _ in range(2):
            self.cluster.reconcile()
            self.go_on()

    @rule(gateway=st.sampled_from(GATEWAYS))
    def accept(self, gateway: str) -> None:
        self.cluster.accept(gateway)

    @rule()
    def go_on(self) -> None:
        for step in (self.cluster.roll, self.cluster.schedule, self.cluster.start):
            step()

    @rule()
    def drain(self) -> None:
        self.cluster.drain()

    @rule(key=st.sampled_from([POOL, CANARY, NO_STORE]))
    def lose(self, key: Key) -> None:
        self.cluster.lose(key)

    @rule(errors=st.sampled_from([0, 10]))
    def count(self, errors: int) -> None:
        self.cluster.count(20, errors, 60)

    @rule()
    def settle(self) -> None:
        for _ in range(60):
            self.cluster.hear()
            before = self.cluster._state(), self.cluster.generation
            for step in (
                self.cluster.reconcile,
                self.cluster.roll,
                self.cluster.schedule,
                self.cluster.start,
                self.cluster.drain,
            ):
                step()
                self.calls_are_kept_apart()
            if (self.cluster._state(), self.cluster.generation) == before:
                break
        else:
            raise AssertionError("it never comes to rest")
        assert plan_model(self.cluster.world, KEY).status == self.cluster.model.status
        if self.cluster.rollout.phase not in ("Canary", "RolledBack"):
            assert self.cluster.rollout.phase == "Complete"

    @invariant()
    def calls_are_kept_apart(self) -> None:
        for table in self.cluster.accepted.values():
            (route,) = table.spec.models
            tried = "canary" in {pool.name for pool in route.pools}
            pods = [pod for pod in self.cluster.pods(POOL, *([CANARY] if tried else [])) if pod.ready]
            cache = route.cache
            for pod in pods:
                if pod.prompt_cache == "salted":
                    fields = {cache.salt_field, *(cache.former_salt_fields or ())}
                    assert self.salts[pod.revision] in fields, "tenants are kept apart"
                if pod.prompt_cache != "none":
                    assert cache.mode != "Disabled", "no-store calls are told from others"
                if pod.prompt_cache == "shared":
                    assert cache.no_store != "Isolated"
            if cache.mode != "Disabled" and cache.no_store == "NotStored":
                assert {pod.prompt_cache for pod in self.cluster.pods(NO_STORE) if pod.ready} <= {"none"}


Behind.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestBehind = Behind.TestCase
