"""Whatever is changed in the middle of a rollout, what is promised of it holds."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.plan.cluster import BROKEN, Cluster, Deployment
from tests.plan.specs import KEY, model
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.plan.model import plan_model
from tomoul.plan.naming import pool_name
from tomoul.plan.running import wanted_revision
from tomoul.plan.world import Key

POOL = Key("models", pool_name("chat", "eu-west", "default"))
CANARY = Key("models", pool_name("chat", "eu-west", "canary"))
NO_STORE = Key("models", pool_name("chat", "eu-west", "no-store"))
VERSIONS = {"VLLM": "0.32.0", "SGLang": "0.5.23"}
CACHES = (("Tenant", "Refuse"), ("Tenant", "Isolated"), ("Tenant", "NotStored"), ("Disabled", "Isolated"))
IMAGES = ("one", "two", "three", f"{BROKEN}-one", f"{BROKEN}-two")


def chat(
    image: str,
    replicas: int,
    *,
    canary: bool = False,
    strategy: str = "Auto",
    engine: str = "VLLM",
    cache: tuple[str, str] = ("Tenant", "Refuse"),
    tools: bool = False,
) -> ModelDeployment:
    rollout: dict[str, Any] = {"strategy": strategy}
    if canary:
        rollout["canary"] = {"minCalls": 10, "durationSeconds": 60}
    return model(
        engine={"type": engine, "image": f"acme/engine:{image}", "version": VERSIONS[engine]},
        cache={"mode": cache[0], "noStore": cache[1]},
        capabilities={"tools": {"parser": "hermes"} if tools else None},
        resources={"accelerator": "nvidia-l4"},
        regions=[{"name": "eu-west", "replicas": replicas}],
        rollout=rollout,
    )


def stable(cluster: Cluster) -> Deployment:
    return cluster.deployments[POOL]


def ready(cluster: Cluster) -> int:
    return sum(pod.ready for pod in stable(cluster).active)


def changed(cluster: Cluster, model: ModelDeployment) -> None:
    cluster.model = cluster.model.model_copy(update={"spec": model.spec})


def surges_without_a_gap(cluster: Cluster) -> None:
    for _ in range(10):
        for step in (
            cluster.reconcile,
            cluster.roll,
            cluster.schedule,
            cluster.reconcile,
            cluster.drain,
            cluster.start,
        ):
            step()
            assert ready(cluster) >= 1, "the old pod serves until the new one does"
    assert (cluster.rollout.phase, cluster.rollout.strategy) == ("Complete", "Surge")


def test_a_correction_of_a_surge_that_does_not_work_gets_its_place_and_stops_no_pod_that_serves() -> None:
    cluster = Cluster(chat("one", 1), gpus=2)
    cluster.settle()
    changed(cluster, chat(f"{BROKEN}-one", 1))
    cluster.settle()
    assert (ready(cluster), len(stable(cluster).active)) == (1, 2)
    changed(cluster, chat("two", 1))
    surges_without_a_gap(cluster)


def test_a_rollout_whose_canary_is_left_out_on_the_way_gets_its_place_and_stops_no_pod_that_serves() -> None:
    cluster = Cluster(chat("one", 1, canary=True), gpus=2)
    cluster.settle()
    changed(cluster, chat("two", 1, canary=True))
    cluster.settle()
    assert cluster.rollout.phase == "Canary"
    changed(cluster, chat("two", 1))
    cluster.reconcile()
    (row,) = cluster.model.status.regions
    (told,) = [each for each in row.conditions if each.type == "WorkloadReady"]
    assert (told.status, told.reason) == ("False", "RolloutInProgress")
    assert "takes over once the pod of a canary has ended" in told.message
    surges_without_a_gap(cluster)


def test_a_canary_has_no_pod_while_no_replicas_are_wanted_and_goes_on_once_the_old_ones_serve_again() -> None:
    cluster = Cluster(chat("one", 1, canary=True), gpus=2)
    cluster.settle()
    changed(cluster, chat("two", 1, canary=True))
    cluster.settle()
    old = stable(cluster).revision
    changed(cluster, chat("two", 0, canary=True))
    cluster.settle()
    assert not [pod for each in cluster.deployments.values() for pod in each.pods], "none are wanted"
    assert cluster.rollout.canary is not None
    assert (cluster.rollout.canary.verdict, stable(cluster).revision) == ("Pending", old)
    changed(cluster, chat("two", 1, canary=True))
    cluster.settle()
    assert (cluster.rollout.phase, ready(cluster), len(cluster.deployments[CANARY].active)) == ("Canary", 1, 1)
    cluster.count(20, 0, 60)
    cluster.settle()
    assert cluster.rollout.phase == "Complete"


class Rollouts(RuleBasedStateMachine):
    """Changes of the spec between any steps of the operator, of Kubernetes' controllers, and of a canary's counts."""

    @initialize(replicas=st.integers(0, 3), spare=st.integers(0, 2), canary=st.booleans())
    def begin(self, replicas: int, spare: int, canary: bool) -> None:
        self.image, self.replicas, self.canary, self.strategy = "one", replicas, canary, "Auto"
        self.room_for_one_more = spare > 0
        self.failed: set[str] = set()
        """Revisions that were rolled back since another one was asked for."""
        self.cluster = Cluster(self._spec(), gpus=3 + spare)
        self.cluster.settle()

    def _spec(self) -> ModelDeployment:
        return chat(self.image, self.replicas, canary=self.canary, strategy=self.strategy)

    @rule(image=st.sampled_from(IMAGES))
    def change_image(self, image: str) -> None:
        self.failed = self.failed if image == self.image else set()
        self.image = image
        changed(self.cluster, self._spec())

    @rule(canary=st.booleans())
    def change_canary(self, canary: bool) -> None:
        self.failed = self.failed if canary else set()
        self.canary = canary
        changed(self.cluster, self._spec())

    @rule(replicas=st.integers(0, 3))
    def change_replicas(self, replicas: int) -> None:
        self.replicas = replicas
        changed(self.cluster, self._spec())

    @rule(strategy=st.sampled_from(["Auto", "Surge", "Replace"]))
    def change_strategy(self, strategy: str) -> None:
        self.strategy = strategy
        self.room_for_one_more = self.room_for_one_more and strategy != "Replace"
        changed(self.cluster, self._spec())

    @rule()
    def reconcile(self) -> None:
        self.cluster.reconcile()
        if self.cluster.rollout.phase == "RolledBack":
            self.failed.add(self.cluster.rollout.revision)

    @rule()
    def roll(self) -> None:
        before = ready(self.cluster)
        self.cluster.roll()
        if self.room_for_one_more:
            assert ready(self.cluster) >= min(before, stable(self.cluster).replicas), (
                "no pod need go before another comes"
            )

    @rule()
    def schedule(self) -> None:
        self.cluster.schedule()

    @rule()
    def start(self) -> None:
        self.cluster.start()

    @rule()
    def drain(self) -> None:
        self.cluster.drain()

    @rule(errors=st.sampled_from([0, 10]), seconds=st.sampled_from([30, 60]))
    def count(self, errors: int, seconds: int) -> None:
        self.cluster.count(20, errors, seconds)

    @rule()
    def lose_a_pod(self) -> None:
        self.cluster.lose(POOL)

    @rule()
    def restart_the_operator(self) -> None:
        self.cluster.counts = {}

    @rule()
    def settle(self) -> None:
        self.cluster.settle()
        assert plan_model(self.cluster.world, KEY).status == self.cluster.model.status, "there is nothing to write"
        waits = self.cluster.rollout.phase in ("Canary", "RolledBack") or (self.canary and not self.replicas)
        if BROKEN not in self.image and not waits:
            assert self.cluster.rollout.phase == "Complete"
            assert ready(self.cluster) == self.replicas
        if not self.replicas:
            assert not [pod for each in self.cluster.deployments.values() for pod in each.pods], "none are wanted"

    @invariant()
    def a_canary_is_one_pod_beside_pods_that_are_alike(self) -> None:
        canary = self.cluster.deployments.get(CANARY)
        if canary is not None:
            assert len(canary.active) <= 1
            assert len({pod.revision for pod in stable(self.cluster).active}) <= 1

    @invariant()
    def what_was_rolled_back_does_not_return_by_itself(self) -> None:
        found = self.cluster.deployments.get(POOL)
        assert found is None or found.revision not in self.failed


class Routes(RuleBasedStateMachine):
    """The same of a model whose engine, cache policy and capabilities change: what its route promises is so."""

    @initialize(replicas=st.integers(1, 2), canary=st.booleans())
    def begin(self, replicas: int, canary: bool) -> None:
        self.spec: dict[str, Any] = {"replicas": replicas, "canary": canary}
        self.with_tools: set[str] = set()
        """Revisions whose pods parse tool calls."""
        self.cluster = Cluster(chat("one", **self.spec), gpus=8)
        self.cluster.settle()

    @rule(
        engine=st.sampled_from(sorted(VERSIONS)),
        cache=st.sampled_from(CACHES),
        tools=st.booleans(),
        canary=st.booleans(),
    )
    def change(self, **fields: Any) -> None:
        self.spec |= fields
        found = chat("one", **self.spec)
        changed(self.cluster, found)
        if self.spec["tools"]:
            revision = wanted_revision(self.cluster.world, found, self.cluster.world.regions["eu-west"], "default")
            self.with_tools.add(revision)

    @rule()
    def reconcile(self) -> None:
        self.cluster.reconcile()

    @rule(seconds=st.sampled_from([30, 60]), errors=st.sampled_from([0, 10]))
    def count(self, seconds: int, errors: int) -> None:
        self.cluster.count(20, errors, seconds)

    @rule()
    def go_on(self) -> None:
        for step in (self.cluster.roll, self.cluster.schedule, self.cluster.start):
            step()

    @rule()
    def drain(self) -> None:
        self.cluster.drain()

    @rule(key=st.sampled_from([POOL, CANARY]))
    def lose(self, key: Key) -> None:
        self.cluster.lose(key)

    @rule()
    def settle(self) -> None:
        self.cluster.settle()

    @rule()
    def what_is_routed_is_so(self) -> None:
        route = self.cluster.publish()
        pods = self.cluster.pods(POOL, CANARY)
        caches = {pod.prompt_cache for pod in pods}
        if "salted" in caches:
            assert (route.cache.mode, route.cache.salt_field) == ("Tenant", "cache_salt"), "tenants are kept apart"
        if route.cache.mode != "Disabled" and route.cache.no_store == "NotStored":
            assert {pod.prompt_cache for pod in self.cluster.pods(NO_STORE)} <= {"none"}
        elif route.cache.no_store == "Isolated":
            assert caches <= {"none", "salted"}
        if route.capabilities.tools and pods:
            assert {pod.revision for pod in pods} <= self.with_tools


Rollouts.TestCase.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
Routes.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestRollouts = Rollouts.TestCase
TestRoutes = Routes.TestCase
