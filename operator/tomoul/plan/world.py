"""World: everything that a plan may depend on, as plain values."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.region import Region
from tomoul.api.routingtable import RoutingTable
from tomoul.api.tenant import Tenant
from tomoul.plan.podfact import PodFact
from tomoul.plan.settings import Settings

Manifest = Mapping[str, Any]
"""A Kubernetes object as it is written in YAML."""


class Key(NamedTuple):
    """Identity of an object within its kind; cluster-scoped objects have an empty namespace."""

    namespace: str
    name: str


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
    refused: str = ""
    """Why pods of it cannot be made, in the API server's words; a LeaderWorkerSet does not tell."""
    paused: bool = False
    """Whether somebody has had Kubernetes make no pods of a newer revision."""
    overdue: bool = False
    """Whether its deadline has passed without progress, as its condition Progressing says."""
    template: str = ""
    """What the operator has applied as the template of its pods, or of its groups of pods, as JSON."""
    prompt_cache: str = ""
    """What pods of that template do with prompts, by their label."""


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
    refused: int = 0
    """Those that were refused as a client's mistake."""
    computed_tokens: int = 0
    """Of the streams' prompts, those that no cache had; 0 where engines do not tell."""


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
    silent_gateways: Mapping[str, str] = field(default_factory=dict)
    """A live gateway that does not tell its calls, by the region that it is of; none where all do."""
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
