"""Download: how far the weights of a region are, from what the loaders in its pods say."""

from collections.abc import Sequence

from tomoul.api.download import DownloadStatus
from tomoul.plan.judge import Rollout
from tomoul.plan.loading import DownloadFact


def download_status(rollouts: Sequence[Rollout]) -> DownloadStatus | None:
    """What is told of the pod that is furthest; None while no loader has been heard."""
    loading = [pod for rollout in rollouts for pod in rollout.living if pod.loading]
    told = [(pod.name, pod.download) for pod in loading if pod.download is not None]
    if not told:
        return None
    # Of those that wait for one to bring the same for all, that one is told of.
    name, found = min(told, key=lambda each: (-each[1].bytes, each[1].state == "Waiting", each[0]))
    return DownloadStatus(
        pod=name,
        pods=len(loading),
        state=found.state,
        bytes=found.bytes,
        total=found.total,
        bytes_per_second=found.bytes_per_second,
        seconds_left=_seconds_left(found),
        updated=found.updated,
    )


def _seconds_left(found: DownloadFact) -> int | None:
    if not found.bytes_per_second or not found.total:
        return None
    return -(-max(found.total - found.bytes, 0) // found.bytes_per_second)
