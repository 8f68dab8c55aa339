"""A cluster for tests of rollouts: what Kubernetes does with a model's Deployments, step by step and without a clock.

Deployments roll as pkg/controller/deployment/rolling.go of Kubernetes has it; the scheduler puts a pod where a GPU is
free, those of pods that end still taken; a pod of a revision that works becomes ready, and a canary gets the counts
that a test gives.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tests.plan.specs import KEY, planned_table, region
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.rollout import RolloutStatus
from tomoul.api.routingtable import ModelRoute, RoutingTable
from tomoul.plan.model import ModelPlan, plan_model
from tomoul.plan.podfact import PodFact
from tomoul.plan.promptcache import cache_of
from tomoul.plan.revision import revision_of
from tomoul.plan.settings import Settings
from tomoul.plan.world import CallCounts, CanaryFact, DeploymentFact, Facts, Key, Manifest, NodeFact, World

GPU = "nvidia.com/gpu"
BROKEN = "broken"
"""A word in the image of pods that never become ready."""
_REFUSED = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."


@dataclass
class Pod:
    """One pod, which takes one GPU."""

    number: int
    revision: str
    works: bool
    prompt_cache: str
    scheduled: bool = False
    refused: bool = False
    ready: bool = False
    ends: bool = False


@dataclass
class Deployment:
    """What was applied, and the pods that there are of it, the oldest first."""

    template: Manifest
    replicas: int
    surge: bool
    pods: list[Pod] = field(default_factory=list)

    @property
    def revision(self) -> str:
        return revision_of(self.template)

    @property
    def active(self) -> list[Pod]:
        return [pod for pod in self.pods if not pod.ends]

    @property
    def fact(self) -> DeploymentFact:
        return DeploymentFact(
            1,
            1,
            replicas=self.replicas,
            updated=sum(pod.revision == self.revision for pod in self.active),
            ready=sum(pod.ready for pod in self.active),
            total=len(self.active),
            revision=self.revision,
            surge=self.surge,
            template=json.dumps(self.template),
            prompt_cache=cache_of(self.template),
        )


class Cluster:
    """One region, `gpus` GPUs on one node, one ModelDeployment, and the operator that keeps it."""

    def __init__(self, model: ModelDeployment, gpus: int) -> None:
        self.model = model
        self.node = NodeFact("n", allocatable={GPU: gpus})
        self.deployments: dict[Key, Deployment] = {}
        self.going: list[tuple[Key, Pod]] = []
        """Pods of Deployments that are gone, which end by these names."""
        self.counts: dict[Key, CanaryFact] = {}
        self.tables: dict[str, RoutingTable] = {}
        self._made = 0

    @property
    def world(self) -> World:
        facts = Facts(
            deployments={key: each.fact for key, each in self.deployments.items()},
            pods=self._pods(),
            nodes=[self.node],
            canaries=dict(self.counts),
            tables=self.tables,
        )
        return World(settings=Settings(), regions={"eu-west": region()}, models={KEY: self.model}, facts=facts)

    def _pods(self) -> Mapping[Key, list[PodFact]]:
        found: dict[Key, list[PodFact]] = {}
        for key, pod in self._all():
            found.setdefault(key, []).append(_fact(pod))
        return found

    @property
    def rollout(self) -> RolloutStatus:
        """What is told."""
        (row,) = self.model.status.regions
        assert row.rollout is not None
        return row.rollout

    def reconcile(self) -> ModelPlan:
        """As controller/reconcile_model.py does: what is wanted, then what can be said, then that is written."""
        plan = plan_model(self.world, KEY)
        wanted = {}
        for obj in plan.objects:
            if obj["kind"] == "Deployment":
                wanted[Key(obj["metadata"]["namespace"], obj["metadata"]["name"])] = obj["spec"]
        wrote = False
        for key, spec in wanted.items():
            surge = spec["strategy"]["rollingUpdate"]["maxSurge"] == 1
            known = self.deployments.get(key)
            if known is None:
                self.deployments[key] = Deployment(spec["template"], spec["replicas"], surge)
                wrote = True
            elif (known.template, known.replicas, known.surge) != (spec["template"], spec["replicas"], surge):
                known.template, known.replicas, known.surge = spec["template"], spec["replicas"], surge
                wrote = True
        kept = {name for kind, name in plan.still_serving if kind == "Deployment"}
        for key in [key for key in self.deployments if key not in wanted and key.name not in kept]:
            gone = self.deployments.pop(key)
            for pod in gone.pods:
                pod.ends, pod.ready = True, False
            self.going += [(key, pod) for pod in gone.pods if pod.scheduled]
            wrote = True
        status = plan.status
        if wrote:
            status = plan_model(self.world, KEY, said=status).status
        self.model = self.model.model_copy(update={"status": status})
        self.publish()
        running = {key for key in self.counts if key in self.deployments}
        self.counts = {key: self.counts[key] for key in running if self.counts[key].revision == self.rollout.revision}
        return plan

    def publish(self) -> ModelRoute:
        """Write the region's table; returns the model's entry."""
        found = planned_table(self.world, "eu-west")
        assert found is not None
        self.tables = {"eu-west": RoutingTable.model_validate(found)}
        (route,) = self.tables["eu-west"].spec.models
        return route

    def roll(self) -> None:
        """What the Deployment controller does at one look at each Deployment."""
        for each in self.deployments.values():
            self._roll(each)

    def _roll(self, each: Deployment) -> None:
        surge, unavailable = (1, 0) if each.surge else (0, 1)
        new = [pod for pod in each.active if pod.revision == each.revision]
        if len(new) > each.replicas:
            self._end(new, len(new) - each.replicas)
            return
        room = each.replicas + surge - len(each.active)
        if len(new) < each.replicas and room > 0:
            for _ in range(min(each.replicas - len(new), room)):
                each.pods.append(self._pod(each.template))
            return
        old = [pod for pod in each.active if pod.revision != each.revision]
        least = each.replicas - unavailable
        not_ready = sum(not pod.ready for pod in new)
        down = len(each.active) - max(least, 0) - not_ready
        if down <= 0:
            return
        broken = [pod for pod in old if not pod.ready][:down]
        self._end(broken, len(broken))
        spare = sum(pod.ready for pod in each.active) - max(least, 0)
        self._end([pod for pod in old if not pod.ends], max(spare, 0))

    def _end(self, pods: list[Pod], count: int) -> None:
        for pod in sorted(pods, key=lambda pod: (pod.ready, pod.scheduled))[:count]:
            pod.ends, pod.ready = True, False

    def _pod(self, template: Manifest) -> Pod:
        self._made += 1
        image = template["spec"]["containers"][0]["image"]
        labels = template["metadata"]["labels"]
        return Pod(self._made, revision_of(template), BROKEN not in image, labels["tomoul.ai/prompt-cache"])

    def schedule(self) -> None:
        """The scheduler looks at what has no node, the oldest first."""
        for pod in sorted((pod for _, pod in self._all()), key=lambda pod: pod.number):
            if not pod.scheduled and not pod.ends:
                taken = sum(other.scheduled for _, other in self._all())
                pod.scheduled = taken < self.node.allocatable[GPU]
                pod.refused = not pod.scheduled

    def start(self) -> None:
        """The kubelet: what has a node and works becomes ready."""
        for _, pod in self._all():
            pod.ready = pod.scheduled and pod.works and not pod.ends

    def drain(self) -> None:
        """What ends has ended."""
        for each in self.deployments.values():
            each.pods = [pod for pod in each.pods if not pod.ends]
        self.going = []

    def lose(self, key: Key) -> None:
        """A node gives up the oldest pod of a Deployment."""
        if key in self.deployments:
            self.deployments[key].pods = self.deployments[key].pods[1:]

    def count(self, calls: int, errors: int, seconds: int) -> None:
        """The gateways have counted calls of each canary that is tried."""
        canary = self.rollout.canary
        if self.rollout.phase == "Canary" and canary is not None and canary.ready:
            key = Key("models", canary.deployment)
            self.counts[key] = CanaryFact(
                self.rollout.revision, seconds, CallCounts(calls, errors), CallCounts(10 * calls)
            )

    def settle(self, rounds: int = 60) -> None:
        """Until nothing changes any more."""
        for _ in range(rounds):
            before = self._state()
            for step in (self.reconcile, self.roll, self.schedule, self.start, self.drain):
                step()
            if self._state() == before:
                return
        raise AssertionError("it never comes to rest")

    def _state(self) -> object:
        pods = [(key, replace(pod)) for key, pod in self._all()]
        kept = {key: (each.revision, each.replicas, each.surge) for key, each in self.deployments.items()}
        return pods, kept, self.model

    def pods(self, *keys: Key) -> list[Pod]:
        """All that there are of these Deployments, those that end included."""
        return [pod for key, pod in self._all() if key in keys]

    def _all(self) -> list[tuple[Key, Pod]]:
        return [(key, pod) for key, each in self.deployments.items() for pod in each.pods] + self.going


def _fact(pod: Pod) -> PodFact:
    return PodFact(
        f"pod-{pod.number}",
        "n" if pod.scheduled else "",
        "Running" if pod.scheduled else "Pending",
        ready=pod.ready,
        terminating=pod.ends,
        scheduled=pod.scheduled,
        unschedulable=_REFUSED if pod.refused and not pod.scheduled else "",
        requests={GPU: 1},
        revision=pod.revision,
        prompt_cache=pod.prompt_cache,
    )
