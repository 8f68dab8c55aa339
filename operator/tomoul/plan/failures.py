"""Failures: why a pod does not serve, from what its node says of it.

The words hold nothing that changes while the failure lasts, such as a count of restarts: a status is written when
something has happened, not each time that it happens again.
"""

import re
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from tomoul.api.conditions import Reason
from tomoul.plan.loading import ADAPTER_LOADER, LOADER, WAY_OUT, DownloadFact, LoadFailure
from tomoul.plan.podfact import ContainerFact, PodFact, Termination

MAX_LINE = 300
"""Longest line of a log that a message repeats, in characters."""
MAX_WORDS = 500
"""Longest words of Kubernetes that a message repeats, in characters: what to do about it has to fit in behind."""
_PULL_FAILURES = frozenset(
    {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
)
_STARTING = frozenset({"", "ContainerCreating", "PodInitializing"})
_CRASH_LOOP = "CrashLoopBackOff"
_NEVER_STARTED = frozenset({"StartError", "ContainerCannotRun"})
# 128 + SIGKILL and SIGTERM: who else than its kubelet, after a failed probe, would send one to a pod that is to stay?
_KILLED = frozenset({137, 143})
# What a node says of containers that ended with the node itself: they are started again.
_NODE_STOPPED = frozenset({"ContainerStatusUnknown", "Unknown"})
# What a node says that shuts down, as one does whose machine is taken back, and one that needs the place for its own:
# https://github.com/kubernetes/kubernetes/blob/v1.34.0/pkg/kubelet/nodeshutdown/nodeshutdown_manager.go
_NODE_ENDS = frozenset({"Terminated", "NodeShutdown", "Shutdown", "Preempting"})
_TAKEN = "wait for the one in its place; where that finds no node, add one"
_REPLACED_WITHIN = timedelta(minutes=1)
# A container that ended is often running again before its pod is told not to be ready.
_RESTARTS_WITHIN = timedelta(seconds=10)
_TELLS = re.compile(r"error|exception|fatal|panic|not found|denied|failed", re.IGNORECASE)

_WAY_OUT = {
    Reason.IMAGE_PULL_FAILED: "correct the image or the pull secret",
    Reason.CRASH_LOOP: "its log is in `kubectl logs --previous`",
    Reason.DOWNLOAD_STALLED: "look at the source and the way there; the loader goes on by itself as soon as bytes come",
    Reason.OUT_OF_MEMORY: "give it more memory",
    Reason.START_FAILED: "create what is missing, or correct what names it",
    Reason.PROBE_FAILED: "its log says what kept it busy",
    Reason.EVICTED: "free what the node lacks, or add nodes",
    Reason.NODE_DISK_PRESSURE: "free the node's disk, or add nodes",
    Reason.NODE_MEMORY_PRESSURE: "request the memory that is used, or add nodes",
    Reason.POD_REJECTED: "look at the node and its device plugin",
    Reason.NODE_NOT_READY: "bring the node back, or delete it",
}


class Failure(NamedTuple):
    """Why a pod does not serve, and what to do."""

    reason: Reason
    message: str


def failure_of(pods: Sequence[PodFact], lost_nodes: Collection[str]) -> Failure | None:
    """The first failure among the pods of one Deployment that are to stay, or None. `lost_nodes` by name."""
    living = [pod for pod in pods if not pod.terminating and not pod.ended and not pod.ready]
    for pod in living:
        found = _of_pod(pod, lost_nodes)
        if found is not None:
            return _worded(pod, found)
    for pod in pods:
        if (ended := _ended_its_group(pod)) is not None:
            return _worded(pod, ended)
    for pod in pods:
        if any(_replaces(other, pod) for other in living):
            way_out = _TAKEN if pod.failed_reason in _NODE_ENDS else ""
            return _worded(pod, _Cause(_given_up(pod), f"node `{pod.node}` gave it up, {_words(pod)}", way_out))
    return None


def telling_line(text: str) -> str:
    """The last line that names an error, else the last one, of what a program wrote before it ended."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if _TELLS.search(line)] or lines
    line = telling[-1].rstrip(". ") if telling else ""
    return line if len(line) <= MAX_LINE else line[: MAX_LINE - 1] + "…"


def repeated(words: str) -> str:
    """What Kubernetes says, as a message repeats it: of much the beginning, and the end, which has the cause."""
    words = words.rstrip(". ")
    if len(words) <= MAX_WORDS:
        return words
    head = MAX_WORDS // 2
    return f"{words[:head]} … {words[len(words) - (MAX_WORDS - head - 3) :]}"


class _Cause(NamedTuple):
    reason: Reason
    words: str
    way_out: str = ""
    """In the place of what is usual for the reason."""


def _worded(pod: PodFact, cause: _Cause) -> Failure:
    return Failure(cause.reason, f"Pod `{pod.name}`: {cause.words}; {cause.way_out or _WAY_OUT[cause.reason]}")


def _of_pod(pod: PodFact, lost_nodes: Collection[str]) -> _Cause | None:
    if pod.node in lost_nodes:
        return _Cause(Reason.NODE_NOT_READY, f"its node `{pod.node}` is not ready")
    for container in pod.containers:
        found = _of_container(container)
        if found is not None:
            return found
    if pod.download is not None and pod.download.stalled_since is not None:
        return _Cause(Reason.DOWNLOAD_STALLED, _stall(pod.download, pod.download.stalled_since))
    stuck = next((each for each in pod.containers if _lost_readiness(pod, each)), None)
    if stuck is not None:
        return _Cause(Reason.PROBE_FAILED, f"container `{stuck.name}` runs, but no longer passes its readiness probe")
    return None


def _of_container(container: ContainerFact) -> _Cause | None:
    told = f": {repeated(container.waiting_message)}" if container.waiting_message else ""
    if container.waiting in _PULL_FAILURES:
        return _Cause(Reason.IMAGE_PULL_FAILED, f"the image of container `{container.name}` cannot be pulled{told}")
    if container.waiting not in _STARTING and container.waiting != _CRASH_LOOP:
        return _Cause(
            Reason.START_FAILED, f"container `{container.name}` cannot be started ({container.waiting}){told}"
        )
    if container.ended is not None and not container.started:
        # An init container that has succeeded has done what it is for.
        if (container.init and container.ended.exit_code == 0) or container.ended.reason in _NODE_STOPPED:
            return None
        return _of_termination(container, container.ended)
    if container.waiting == _CRASH_LOOP:
        return _Cause(Reason.CRASH_LOOP, f"container `{container.name}` ends again and again")
    return None


def _of_termination(container: ContainerFact, ended: Termination) -> _Cause:
    told = f": {ended.message}" if ended.message else ""
    if ended.reason == "OOMKilled":
        words = f"container `{container.name}` needed more memory than its limit and was killed"
        return _Cause(Reason.OUT_OF_MEMORY, words)
    if ended.reason in _NEVER_STARTED:
        return _Cause(Reason.START_FAILED, f"container `{container.name}` cannot be started{told}")
    if ended.exit_code in _KILLED:
        words = f"container `{container.name}` was killed (exit code {ended.exit_code}), as after failed probes"
        return _Cause(Reason.PROBE_FAILED, f"{words}{told}")
    if container.init and container.name.startswith(LOADER):
        way_out = WAY_OUT.get(ended.exit_code, WAY_OUT[LoadFailure.UNSUITABLE])
        if container.name.startswith(ADAPTER_LOADER):
            index = container.name.removeprefix(ADAPTER_LOADER)
            way_out = way_out.replace("`spec.source`", f"`spec.adapters[{index}].source`")
        return _Cause(Reason.DOWNLOAD_FAILED, f"the weights cannot be downloaded{told}", way_out)
    return _Cause(Reason.CRASH_LOOP, f"container `{container.name}` ended with exit code {ended.exit_code}{told}")


def _stall(download: DownloadFact, since: datetime) -> str:
    told = f" ({download.error})" if download.error else ""
    have = f"{download.bytes} of {download.total} bytes are there" if download.total else "nothing is there yet"
    return f"no byte of the weights has come since {since:%Y-%m-%dT%H:%M:%SZ}, {have}{told}"


def _ended_its_group(pod: PodFact) -> _Cause | None:
    """Why a container was started anew, for which LeaderWorkerSet has given up its pod's group; None if it did not.

    That is known for as long as the pod is on its way out.
    """
    if not pod.terminating or pod.group_index is None:
        return None
    for each in pod.containers:
        if not each.init and each.ended is not None and (each.running_since is not None or each.waiting):
            return _of_termination(each, each.ended)
    return None


def _lost_readiness(pod: PodFact, container: ContainerFact) -> bool:
    """Whether a container was ready since it was started last, and is not any more."""
    if container.init or not container.started or container.ready:
        return False
    if pod.readiness_changed is None or container.running_since is None:
        return False
    return pod.readiness_changed - container.running_since > _RESTARTS_WITHIN


def _replaces(pod: PodFact, lost: PodFact) -> bool:
    """Whether a pod that does not serve yet was made because `lost` was given up; older losses are history."""
    if not lost.failed_reason or lost.failed_at is None or pod.created is None:
        return False
    return abs(pod.created - lost.failed_at) <= _REPLACED_WITHIN


def _words(pod: PodFact) -> str:
    return f"{pod.failed_reason}: {telling_line(pod.failed_message)}" if pod.failed_message else pod.failed_reason


def _given_up(pod: PodFact) -> Reason:
    if pod.failed_reason in _NODE_ENDS:
        return Reason.EVICTED
    if pod.failed_reason != "Evicted":
        return Reason.POD_REJECTED
    message = pod.failed_message.lower()
    if "ephemeral" in message or "disk" in message or "inodes" in message:
        return Reason.NODE_DISK_PRESSURE
    return Reason.NODE_MEMORY_PRESSURE if "memory" in message else Reason.EVICTED
