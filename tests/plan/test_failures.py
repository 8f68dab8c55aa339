"""What is said of a pod that does not serve: its reason, the pod's name, and the way out."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tomoul.api.conditions import Reason
from tomoul.plan.failures import failure_of, telling_line
from tomoul.plan.loading import WAY_OUT, DownloadFact, LoadFailure
from tomoul.plan.podfact import ContainerFact, PodFact, Termination

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def engine(waiting: str = "", message: str = "", ended: Termination | None = None, **fields: object) -> PodFact:
    container = ContainerFact("engine", waiting=waiting, waiting_message=message, ended=ended)
    return PodFact("p", node="n1", scheduled=True, containers=[container], **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pod", "reason", "words"),
    [
        (engine("ErrImagePull", "manifest unknown"), Reason.IMAGE_PULL_FAILED, "cannot be pulled: manifest unknown;"),
        (engine("InvalidImageName"), Reason.IMAGE_PULL_FAILED, "correct the image or the pull secret"),
        (engine("CreateContainerConfigError", 'secret "hf" not found'), Reason.START_FAILED, 'secret "hf" not found'),
        (engine("SomethingNew", "words"), Reason.START_FAILED, "(SomethingNew): words"),
        (
            engine("CrashLoopBackOff", ended=Termination(128, "StartError", 'exec: "vllm": not found')),
            Reason.START_FAILED,
            'exec: "vllm": not found',
        ),
        (
            engine("CrashLoopBackOff", ended=Termination(1, "Error", "RuntimeError: no kernel image")),
            Reason.CRASH_LOOP,
            "container `engine` ended with exit code 1: RuntimeError: no kernel image; its log",
        ),
        (engine("CrashLoopBackOff"), Reason.CRASH_LOOP, "ends again and again"),
        (engine(ended=Termination(0, "Completed")), Reason.CRASH_LOOP, "exit code 0"),
        (engine("CrashLoopBackOff", ended=Termination(137, "OOMKilled")), Reason.OUT_OF_MEMORY, "more memory"),
        (engine(ended=Termination(143, "Error")), Reason.PROBE_FAILED, "as after failed probes"),
    ],
)
def test_a_container_that_does_not_run_is_classified(pod: PodFact, reason: Reason, words: str) -> None:
    found = failure_of([pod], ())
    assert found is not None
    assert found.reason == reason
    assert found.message.startswith("Pod `p`: ")
    assert words in found.message


@pytest.mark.parametrize(
    "pod",
    [
        engine(),
        engine("ContainerCreating"),
        engine("PodInitializing"),
        engine("CrashLoopBackOff", terminating=True),
        engine("CrashLoopBackOff", phase="Failed"),
        engine(ended=Termination(137, "OOMKilled"), ready=True),
        engine(ended=Termination(137, "ContainerStatusUnknown", "could not be located when the pod was terminated")),
        engine(ended=Termination(255, "Unknown")),
    ],
)
def test_a_pod_that_starts_serves_or_goes_is_no_failure(pod: PodFact) -> None:
    assert failure_of([pod], ()) is None


def test_of_a_node_that_says_much_the_end_is_told_and_what_to_do() -> None:
    words = "failed to pull image: " + "failed to resolve reference: " * 60 + "401 Unauthorized"
    found = failure_of([engine("ImagePullBackOff", words)], ())
    assert found is not None
    assert "401 Unauthorized; correct the image or the pull secret" in found.message
    assert "cannot be pulled: failed to pull image" in found.message
    assert len(found.message) < 700


def test_the_words_are_the_same_while_a_container_is_started_again_and_again() -> None:
    ended = Termination(1, "Error", "bad flag")
    found = {failure_of([engine(waiting, ended=ended)], ()) for waiting in ("", "CrashLoopBackOff")}
    assert len(found) == 1


def test_a_container_that_failed_and_then_answered_has_recovered() -> None:
    recovered = ContainerFact("engine", started=True, ready=True, ended=Termination(137, "OOMKilled"))
    assert failure_of([PodFact("p", containers=[recovered])], ()) is None


def test_an_init_container_is_named_if_it_fails_and_passed_over_if_it_has_succeeded() -> None:
    failed = ContainerFact("loader", init=True, ended=Termination(1, "Error", "error: too many files"))
    done = ContainerFact("loader", init=True, ended=Termination(0, "Completed"))
    waits = ContainerFact("engine", waiting="PodInitializing")
    found = failure_of([PodFact("p", containers=[failed, waits])], ())
    assert found is not None
    assert found.reason == Reason.DOWNLOAD_FAILED
    assert "the weights cannot be downloaded: error: too many files; correct `spec.source`" in found.message
    assert failure_of([PodFact("p", containers=[done, waits])], ()) is None


@pytest.mark.parametrize("kind", LoadFailure)
def test_what_to_do_about_a_loader_that_gave_up_depends_on_its_exit_code(kind: LoadFailure) -> None:
    ended = Termination(kind, "Error", "error: x")
    loader = ContainerFact("loader", init=True, waiting="CrashLoopBackOff", ended=ended)
    found = failure_of([PodFact("p", containers=[loader])], ())
    assert found == (
        Reason.DOWNLOAD_FAILED,
        f"Pod `p`: the weights cannot be downloaded: error: x; {WAY_OUT[kind]}",
    )
    assert [WAY_OUT[each] for each in LoadFailure].count(WAY_OUT[kind]) == 1


def test_what_to_do_about_the_loader_of_an_adapter_names_that_adapters_source() -> None:
    ended = Termination(LoadFailure.REFUSED, "Error", "error: x")
    loader = ContainerFact("loader-adapter-3", init=True, waiting="CrashLoopBackOff", ended=ended)
    found = failure_of([PodFact("p", containers=[loader])], ())
    assert found is not None
    assert "name a Secret in `spec.adapters[3].source` whose credentials" in found.message


def test_a_download_that_stalls_is_a_failure_and_one_that_goes_on_is_none() -> None:
    goes_on = DownloadFact("Downloading", bytes=5, total=100, bytes_per_second=1, updated=NOW, error="HTTP 503")
    loader = ContainerFact("loader", init=True, running_since=NOW)
    assert failure_of([PodFact("p", containers=[loader], download=goes_on)], ()) is None
    stalls = replace(goes_on, stalled_since=NOW)
    found = failure_of([PodFact("p", containers=[loader], download=stalls)], ())
    assert found is not None
    assert found.reason == Reason.DOWNLOAD_STALLED
    words = "no byte of the weights has come since 2026-01-01T12:00:00Z, 5 of 100 bytes are there (HTTP 503)"
    assert words in found.message
    unlisted = replace(stalls, bytes=0, total=0, error="")
    found = failure_of([PodFact("p", containers=[loader], download=unlisted)], ())
    assert found is not None
    assert "since 2026-01-01T12:00:00Z, nothing is there yet; look at" in found.message


def test_a_container_that_was_ready_and_is_not_any_more_fails_its_probe_and_one_that_just_started_does_not() -> None:
    container = ContainerFact("engine", started=True, running_since=NOW)
    found = failure_of([PodFact("p", containers=[container], readiness_changed=NOW + timedelta(hours=1))], ())
    assert found is not None
    assert found.reason == Reason.PROBE_FAILED
    for seconds in (-60, 1):
        changed = NOW + timedelta(seconds=seconds)
        assert failure_of([PodFact("p", containers=[container], readiness_changed=changed)], ()) is None


@pytest.mark.parametrize(
    ("reason", "message", "expected"),
    [
        ("Evicted", "The node was low on resource: ephemeral-storage.", Reason.NODE_DISK_PRESSURE),
        ("Evicted", "Pod was rejected: The node had condition: [DiskPressure].", Reason.NODE_DISK_PRESSURE),
        ("Evicted", "The node was low on resource: memory.", Reason.NODE_MEMORY_PRESSURE),
        ("Evicted", "Pod ephemeral local storage usage exceeds the total limit", Reason.NODE_DISK_PRESSURE),
        ("Evicted", "The node was low on resource: pids.", Reason.EVICTED),
        ("Terminated", "Pod was terminated in response to imminent node shutdown.", Reason.EVICTED),
        ("NodeShutdown", "Pod was rejected as the node is shutting down.", Reason.EVICTED),
        ("UnexpectedAdmissionError", "Allocate failed: no healthy devices present", Reason.POD_REJECTED),
    ],
)
def test_a_pod_that_its_node_gave_up_is_why_the_one_in_its_place_does_not_serve_yet(
    reason: str, message: str, expected: Reason
) -> None:
    lost = PodFact("lost", node="n1", phase="Failed", failed_at=NOW, failed_reason=reason, failed_message=message)
    found = failure_of([lost, PodFact("p", created=NOW + timedelta(seconds=2))], ())
    assert found is not None
    assert found.reason == expected
    assert found.message.startswith(f"Pod `lost`: node `n1` gave it up, {reason}: {message.rstrip('.')}")
    assert failure_of([lost, PodFact("p", created=NOW + timedelta(days=2))], ()) is None, "an old loss is history"
    assert failure_of([lost, PodFact("p", created=NOW, ready=True)], ()) is None, "its place is taken"


def test_a_pod_on_a_node_that_is_silent_does_not_serve_because_of_that() -> None:
    found = failure_of([engine("ContainerCreating")], {"n1"})
    assert found is not None
    assert found.reason == Reason.NODE_NOT_READY
    assert "`n1`" in found.message
    assert failure_of([engine(ready=True)], {"n1"}) is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("one\ntwo\n\n", "two"),
        ("RuntimeError: cuda\n/usr/lib/python: UserWarning: leaked\n  warnings.warn(", "RuntimeError: cuda"),
        ("x" * 400, "x" * 299 + "…"),
    ],
)
def test_of_a_log_the_last_line_that_names_an_error_is_told(text: str, line: str) -> None:
    assert telling_line(text) == line
