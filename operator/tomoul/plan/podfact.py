"""Pod: what a plan needs to know of one, and of its containers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from tomoul.plan.loading import LOADER, DownloadFact


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
    gates: Sequence[str] = ()
    """Names of what the scheduler waits for before it looks at the pod, such as a queue's admission."""
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
    def begun(self) -> bool:
        """Whether one of its containers has been started, after all init containers."""
        return any(
            each.started or each.running_since is not None or each.ended is not None
            for each in self.containers
            if not each.init
        )

    @property
    def answered(self) -> bool:
        """Whether all its containers have passed their startup probes since they were started last."""
        mains = [container for container in self.containers if not container.init]
        return self.ready or (bool(mains) and all(container.started for container in mains))
