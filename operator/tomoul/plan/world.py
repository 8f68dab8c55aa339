"""World: everything that a plan may depend on, as plain values."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from tomoul.api.gatewaylimits import COMMENT_SECONDS, MAX_BODY_BYTES
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.region import Region
from tomoul.api.routingtable import GatewayAuth, RoutingTable
from tomoul.api.tenant import Tenant
from tomoul.plan.engines.llamacpp import DEFAULT_IMAGE as LLAMA_CPP_IMAGE
from tomoul.plan.loading import LOADER, DownloadFact

Manifest = Mapping[str, Any]
"""A Kubernetes object as it is written in YAML."""


class Key(NamedTuple):
    """Identity of an object within its kind; cluster-scoped objects have an empty namespace."""

    namespace: str
    name: str


@dataclass(frozen=True)
class Settings:
    """What the installation decides, not the resources: flags of the operator, values of the chart."""

    namespace: str = "tomoul-system"
    """Namespace of the operator and the gateways."""
    hosted_regions: frozenset[str] | None = None
    """Regions that this operator realises; None means all."""
    operator_image: str = "tomoul/operator:0.1.0"
    """Image of the operator, the agent and the loader."""
    envoy_image: str = "envoyproxy/envoy:distroless-v1.40.0"
    llama_cpp_image: str = LLAMA_CPP_IMAGE
    """Image of LlamaCpp engines whose spec names none: whoever installs builds it, so it lies where they push it."""
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: Sequence[str] = ()
    """Names of Secrets with registry credentials: for gateways in `namespace`, for engines in their own."""
    scrape_namespaces: Sequence[str] = ()
    """Namespaces whose pods may read the metrics of engines and gateways."""
    engine_egress: Literal["Restricted", "Open"] = "Restricted"
    """Restricted: engines begin no connection but to download their weights (DNS, port 443, the endpoint's)."""
    gateway_replicas: int = 2
    gateway_service_type: str = "ClusterIP"
    gateway_service_account: str = "tomoul-gateway"
    """ServiceAccount of the gateway pods, which the chart creates with the rights that an agent needs."""
    propagated_labels: Sequence[str] = ()
    """Names of a ModelDeployment's labels that its objects and engine pods carry too."""
    propagated_annotations: Sequence[str] = ()
    gateway_auth: GatewayAuth = GatewayAuth.REQUIRED
    """Whether calls need the API key of a Tenant."""
    gateway_max_body_bytes: int = MAX_BODY_BYTES
    """Largest body of a call."""
    gateway_comment_seconds: int = COMMENT_SECONDS
    """After how long an engine's silence the client of a stream gets a comment; 0 for never."""

    routes_per_table: int | None = 200
    """Most routes of a region that are in one RoutingTable; where there are more they are in shards. None: any."""

    def hosts(self, region: str) -> bool:
        """Whether this operator realises `region`."""
        return self.hosted_regions is None or region in self.hosted_regions


class Termination(NamedTuple):
    """How a container ended."""

    exit_code: int
    reason: str = ""
    """Kubernetes' word, such as OOMKilled or Error."""
    message: str = ""
    """The line of its last words that tells most: see `plan.failures.telling_line`."""


@dataclass(frozen=True)
class ContainerFact:
    """What a plan needs to know of a container."""

    name: str
    init: bool = False
    ready: bool = False
    started: bool = False
    """Whether its startup probe has passed, which for an engine is the answer to a first call."""
    running_since: datetime | None = None
    waiting: str = ""
    """`state.waiting.reason`, such as ImagePullBackOff."""
    waiting_message: str = ""
    ended: Termination | None = None
    """How it ended, or how it ended last before it was started again."""


@dataclass(frozen=True)
class PodFact:
    """What a plan needs to know of a pod."""

    name: str
    node: str = ""
    phase: str = "Pending"
    ready: bool = False
    terminating: bool = False
    scheduled: bool = False
    unschedulable: str = ""
    """The scheduler's message when it found no node."""
    containers: Sequence[ContainerFact] = ()
    """Init containers first."""
    created: datetime | None = None
    readiness_changed: datetime | None = None
    """When it was last found to be ready, or no longer ready."""
    failed_at: datetime | None = None
    """When its node gave it up, where that is known."""
    failed_reason: str = ""
    """The node's word for why it gave the pod up, such as Evicted."""
    failed_message: str = ""
    requests: Mapping[str, int] = field(default_factory=dict)
    """What it requests: extended resources in devices, `cpu` in millicores, `memory` in bytes."""
    revision: str = ""
    """Revision of the template that it was made from, by its label; empty if it has none."""
    address: str = ""
    """Its IP address, once it has one."""
    download: DownloadFact | None = None
    """What its loader said last, while that runs; asked by the operator, which Kubernetes cannot tell it."""
    adapters: str = ""
    """Which adapters its engine has, by its annotation: see `plan.adapters`; empty if it has none."""
    prompt_cache: str = ""
    """What its engine does with prompts, by its label: `none`, `salted` or `shared`; empty if it has none."""
    group_index: int | None = None
    """Its place in the group of pods that is a replica, 0 for the leader; None where it is a replica by itself."""

    @property
    def is_worker(self) -> bool:
        """Whether another pod takes the calls that it works on."""
        return bool(self.group_index)

    @property
    def ended(self) -> bool:
        """Whether its containers have stopped for good."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def loading(self) -> bool:
        """Whether its loader runs."""
        return not self.terminating and any(
            each.init and each.name.startswith(LOADER) and each.running_since is not None for each in self.containers
        )

    @property
    def answered(self) -> bool:
        """Whether all its containers have passed their startup probes since they were started last."""
        mains = [container for container in self.containers if not container.init]
        return self.ready or (bool(mains) and all(container.started for container in mains))


@dataclass(frozen=True, slots=True)
class DeploymentFact:
    """What a plan needs to know of a Deployment, or of a LeaderWorkerSet, whose replicas are groups of pods."""

    generation: int = 0
    observed_generation: int = 0
    replicas: int = 0
    """`spec.replicas`, as somebody (perhaps an autoscaler) set it."""
    updated: int = 0
    ready: int = 0
    total: int = 0
    """Pods of all revisions."""
    revision: str = ""
    """Revision of its template, by the label of its pods; empty if they have none."""
    surge: bool = False
    """Whether it starts new pods before it stops old ones."""
    size: int = 1
    """Pods of each replica."""
    overdue: bool = False
    """Whether its deadline has passed without progress, as its condition Progressing says."""
    template: str = ""
    """What the operator has applied as the template of its pods, or of its groups of pods, as JSON."""


class Taint(NamedTuple):
    """What keeps pods from a node that do not tolerate it."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True)
class AutoscalerFact:
    """What a plan needs to know of a HorizontalPodAutoscaler or a KEDA ScaledObject."""

    kind: str
    active: Literal["True", "False", "Unknown"] = "Unknown"
    """Whether it has the figures that it scales by."""
    message: str = ""
    """Why it has not, in its own words."""
    at_maximum: bool = False
    """Whether it would have more replicas than it may."""


@dataclass(frozen=True)
class ApiFact:
    """What a plan needs to know of an APIService: one version of one API group that the API server has."""

    service: Key | None = None
    """Service that answers; None for the API server itself, its custom resources included."""
    ca_bundle: str = ""
    """What the Service's certificate is checked by, as base64."""


@dataclass(frozen=True)
class NodeFact:
    """What a plan needs to know of a node."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    ready: bool = True
    """Whether new pods may go there."""
    allocatable: Mapping[str, int] = field(default_factory=dict)
    """Extended resources in devices, `cpu` in millicores, `memory` in bytes."""
    taints: Sequence[Taint] = ()
    reachable: bool = True
    """Whether its kubelet says that it is ready; a node that is only cordoned is reachable."""


@dataclass(frozen=True)
class CallCounts:
    """Calls that gateways counted while a canary was tried."""

    calls: int = 0
    errors: int = 0
    """Those that failed by the engine's fault."""
    streams: int = 0
    """Those whose time to first token is known."""
    ttft_milliseconds: int = 0
    """The sum of these times."""


@dataclass(frozen=True)
class CanaryFact:
    """What the gateways counted of a canary's calls, and of those to the old pods meanwhile."""

    revision: str
    seconds: int = 0
    """How long they have been counted."""
    canary: CallCounts = field(default_factory=CallCounts)
    stable: CallCounts = field(default_factory=CallCounts)
    unreadable: Sequence[str] = ()
    """Live gateways whose counts could not be read last."""


@dataclass(frozen=True)
class Facts:
    """What the cluster looks like now. Offline plans run with none."""

    deployments: Mapping[Key, DeploymentFact] = field(default_factory=dict)
    """Engine and gateway Deployments by namespace and name."""
    group_sets: Mapping[Key, DeploymentFact] = field(default_factory=dict)
    """LeaderWorkerSets of engines, by namespace and name of the Deployment that their pool would else have."""
    pods: Mapping[Key, Sequence[PodFact]] = field(default_factory=dict)
    """Pods by namespace and name of the Deployment that they belong to; those of groups by that of their pool."""
    nodes: Sequence[NodeFact] = ()
    tables: Mapping[str, RoutingTable] = field(default_factory=dict)
    """RoutingTables by name as last read, with their status."""
    canaries: Mapping[Key, CanaryFact] = field(default_factory=dict)
    """Counts by namespace and name of the canary's Deployment."""
    autoscalers: Mapping[Key, AutoscalerFact] = field(default_factory=dict)
    """By namespace and name of the Deployment that each scales, which is its own name too."""
    apis: Mapping[str, ApiFact] = field(default_factory=dict)
    """APIServices by name, such as `v1alpha1.keda.sh`; none offline."""
    withheld: Mapping[str, str] = field(default_factory=dict)
    """Why the newest state of a RoutingTable is not published, by its name; none where it is."""


@dataclass(frozen=True)
class World:
    """Resources and facts. Every planning function takes one and returns the same for the same."""

    settings: Settings = field(default_factory=Settings)
    regions: Mapping[str, Region] = field(default_factory=dict)
    models: Mapping[Key, ModelDeployment] = field(default_factory=dict)
    tenants: Mapping[Key, Tenant] = field(default_factory=dict)
    facts: Facts = field(default_factory=Facts)
    jurisdictions: Mapping[str, AbstractSet[str]] = field(default_factory=dict)
    """Where the models of a namespace may run, by its name; a namespace that is not here may have them anywhere."""
    unreadable_regions: AbstractSet[str] = frozenset()
    """Regions that exist and that this version cannot read: nothing of theirs is changed."""
    unreadable_models: Mapping[Key, str | None] = field(default_factory=dict)
    """ModelDeployments likewise, with their model id if that much can be read."""
    unreadable_tenants: AbstractSet[Key] = frozenset()
    """Tenants likewise: gateways go on with what they were told of them."""
