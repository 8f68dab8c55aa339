"""How far a region's weights are, of the pods that download them."""

from dataclasses import replace
from datetime import UTC, datetime

from tomoul.api.download import DownloadStatus
from tomoul.plan.download import download_status
from tomoul.plan.judge import Rollout
from tomoul.plan.loading import DownloadFact
from tomoul.plan.podfact import ContainerFact, PodFact

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LOADER = ContainerFact("loader", init=True, running_since=NOW)
FACT = DownloadFact("Downloading", bytes=250, total=1000, bytes_per_second=100, updated=NOW)


def loading(name: str, fact: DownloadFact | None = FACT) -> PodFact:
    return PodFact(name, containers=[LOADER], download=fact)


def told(*pods: PodFact) -> DownloadStatus | None:
    return download_status([Rollout("chat", len(pods), None, pods)])


def test_the_pod_that_is_furthest_is_told_of() -> None:
    found = told(loading("a"), loading("b", replace(FACT, bytes=500)), loading("c", None))
    assert found == DownloadStatus(
        pod="b",
        pods=3,
        state="Downloading",
        bytes=500,
        total=1000,
        bytes_per_second=100,
        seconds_left=5,
        updated=NOW,
    )


def test_of_pods_that_share_a_volume_the_one_that_does_the_work_is_told_of() -> None:
    found = told(loading("a", replace(FACT, state="Waiting")), loading("b"))
    assert found is not None
    assert (found.pod, found.state) == ("b", "Downloading")


def test_while_nothing_comes_or_the_size_is_unknown_nobody_knows_how_long_it_takes() -> None:
    for fact in (replace(FACT, bytes_per_second=0), replace(FACT, bytes=0, total=0)):
        found = told(loading("a", fact))
        assert found is not None
        assert found.seconds_left is None
    found = told(loading("a", replace(FACT, bytes=1000)))
    assert found is not None
    assert found.seconds_left == 0


def test_without_a_loader_that_runs_there_is_no_download() -> None:
    done = PodFact("a", containers=[ContainerFact("loader", init=True)], download=FACT)
    assert told(done, replace(loading("b"), terminating=True), loading("c", None)) is None
