import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import watchfiles

from tests.local.running import RunningPlatform, ask, model, region, running, write
from tests.local.waiting import until
from tomoul.local import files as files_module
from tomoul.local import local_platform
from tomoul.local.desired import Desired, InvalidFilesError, desired_state
from tomoul.local.local_platform import LocalPlatform
from tomoul.local.options import LocalError
from tomoul.local.probe import free_port, reserve
from tomoul.local.replicas import Engine

EAST, WEST = region("east"), region("west")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    write(folder / "regions.yaml", EAST, WEST)
    write(folder / "chat.yaml", model("chat", {"east": 1, "west": 1}))
    return folder


@pytest.fixture
def served(files: Path) -> Iterator[RunningPlatform]:
    with running(files) as platform:
        yield platform


def pids(platform: LocalPlatform) -> dict[str, int | None]:
    engines = {command.name: engine.process.pid for command, engine in platform.engines.items()}
    return engines | {region: gateway.envoy.pid for region, gateway in platform.gateways.items()}


def model_ids(client: openai.OpenAI) -> set[str]:
    return {model.id for model in client.models.list().data}


def test_a_model_added_to_the_files_is_served_and_one_removed_is_gone_while_all_else_goes_on(
    files: Path, served: RunningPlatform
) -> None:
    before = pids(served.platform)
    client = served.client()
    write(files / "more.yaml", model("more", {"west": 1}))
    served.until_settled(lambda platform: len(platform.engines) == 3)
    assert model_ids(client) == {"test/chat", "test/more"}
    assert ask(client, "test/more", "west")[1] == "west"
    assert before.items() <= pids(served.platform).items(), "nothing was restarted"
    (files / "more.yaml").unlink()
    served.until_settled(lambda platform: len(platform.engines) == 2)
    assert model_ids(client) == {"test/chat"}
    with pytest.raises(openai.NotFoundError) as error:
        ask(client, "test/more")
    assert error.value.code == "model_not_found"
    assert pids(served.platform) == before


def test_files_that_change_while_it_starts_are_served(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = desired_state

    def read_and_change(*args: Any) -> Desired:
        found = read(*args)
        if not (files / "more.yaml").exists():
            write(files / "more.yaml", model("more", {"west": 1}))
        return found

    monkeypatch.setattr("tomoul.local.local_platform.desired_state", read_and_change)
    with running(files) as served:
        served.until_settled(lambda platform: len(platform.engines) == 3)
        assert model_ids(served.client()) == {"test/chat", "test/more"}


def test_invalid_files_are_reported_with_the_field_and_what_ran_goes_on_until_they_are_right(
    files: Path, served: RunningPlatform
) -> None:
    before = pids(served.platform)
    write(files / "chat.yaml", model("chat", {"east": 1, "west": 1}, cache={"mode": "Sometimes"}))
    until(lambda: any("spec.cache.mode" in report for report in served.reports), "a report of the field")
    (files / "chat.yaml").write_text("kind: [")
    until(lambda: any("chat.yaml" in report and "YAML" in report for report in served.reports), "a report of the file")
    assert ask(served.client(), "test/chat", "west")[1] == "west"
    assert pids(served.platform) == before
    write(files / "chat.yaml", model("chat", {"east": 1, "west": 1}, model={"id": "test/renamed"}))
    served.until_settled(lambda platform: {command.model for command in platform.engines} == {"test/renamed"})
    assert model_ids(served.client()) == {"test/renamed"}


def test_a_region_added_to_the_files_gets_a_gateway_and_one_removed_is_unknown(
    files: Path, served: RunningPlatform
) -> None:
    write(files / "regions.yaml", EAST, WEST, region("north"))
    write(files / "chat.yaml", model("chat", {"east": 1, "west": 1, "north": 1}))
    served.until_settled(lambda platform: "north" in platform.gateways)
    assert ask(served.client(), "test/chat", "north")[1] == "north"
    assert ask(served.client("north"), "test/chat", "east")[1] == "east"
    write(files / "chat.yaml", model("chat", {"east": 1, "west": 1}))
    write(files / "regions.yaml", EAST, WEST)
    served.until_settled(lambda platform: "north" not in platform.gateways)
    with pytest.raises(openai.BadRequestError) as error:
        ask(served.client(), "test/chat", "north")
    assert error.value.code == "unknown_region"


def test_changed_arguments_replace_engines_without_a_failed_call(files: Path, served: RunningPlatform) -> None:
    before = pids(served.platform)
    answered, stop = [], threading.Event()

    def call() -> None:
        client = served.client()
        while not stop.is_set():
            answered.append(ask(client, "test/chat", "west")[1])

    caller = threading.Thread(target=call)
    caller.start()
    write(files / "chat.yaml", model("chat", {"east": 1, "west": 1}, args=("--batch-size", "256")))
    served.until_settled(lambda platform: all("--batch-size" in command.arguments for command in platform.engines))
    after = len(answered)
    until(lambda: len(answered) > after + 10 or not caller.is_alive(), "ten more calls")
    assert caller.is_alive(), "a call failed"
    stop.set()
    caller.join()
    assert set(answered) == {"west"}
    assert not set(before.values()) & {engine.process.pid for engine in served.platform.engines.values()}


def test_a_killed_engine_is_started_again_and_serves(served: RunningPlatform) -> None:
    (engine,) = served.engines("west")
    served.kill(engine)
    until(lambda: engine.process.starts == 2 and engine.process.ready, "the second start")
    assert engine.process.last_exit == -signal.SIGKILL
    assert served.reports == [f"{engine.process.name} has ended, status -9; it is started again"]
    served.until_settled()
    assert ask(served.client(), "test/chat", "west")[1] == "west"


def test_a_killed_envoy_is_started_again_with_all_its_routes(served: RunningPlatform) -> None:
    envoy = served.platform.gateways["east"].envoy
    assert envoy.pid is not None
    os.kill(envoy.pid, signal.SIGKILL)
    until(lambda: envoy.starts == 2 and envoy.ready, "the second start")

    def serves() -> bool:
        try:
            return ask(served.client(), "test/chat", "west")[1] == "west"
        except openai.APIConnectionError:
            return False

    until(serves, "an answer")


def test_a_model_that_needs_a_gpu_is_said_not_to_run_and_the_others_do(files: Path) -> None:
    big = model(
        "big", {"east": 1}, engine={"type": "VLLM"}, source={"hf": {"repo": "microsoft/phi-4", "revision": "a"}}
    )
    write(files / "big.yaml", big)
    with running(files) as served:
        (told,) = [report for report in served.reports if "models/big" in report]
        assert told == (
            "ModelDeployment models/big is not run locally: "
            "`spec.engine.type: VLLM` needs its image; only LlamaCpp runs as a process"
        )
        assert ask(served.client(), "test/chat")[0]
        with pytest.raises(openai.InternalServerError) as error:
            ask(served.client(), "test/big")
        assert error.value.code == "region_capacity_unavailable"


def test_a_model_on_several_nodes_is_said_not_to_run(files: Path) -> None:
    accelerators = {"placement": {"accelerators": [{"name": "nvidia-h100"}]}}
    resources = {"accelerator": "nvidia-h100", "nodes": 2}
    write(files / "big.yaml", model("big", {"north": 1}, engine={"type": "VLLM"}, resources=resources))
    write(files / "north.yaml", {**region("north"), "spec": accelerators})
    desired = desired_state([files], files)
    assert "ModelDeployment models/big is not run locally: `spec.resources.nodes: 2` takes several machines" in (
        desired.messages
    )
    assert {command.model for command in desired.engines} == {"test/chat"}


def test_a_model_that_is_not_accepted_is_said_with_the_reason(files: Path) -> None:
    write(files / "lost.yaml", model("lost", {"nowhere": 1}))
    with running(files) as served:
        (told,) = [report for report in served.reports if "models/lost" in report]
        assert "nowhere" in told
        assert "UnknownRegion" in told
        assert model_ids(served.client()) == {"test/chat"}


def test_files_without_a_region_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "chat.yaml", model("chat", {"east": 1}))
    with pytest.raises(InvalidFilesError, match="there is no Region"), running(tmp_path):
        pass


def test_an_engine_that_cannot_start_ends_the_start_with_the_end_of_its_log(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = files / "broken.gguf"
    broken.write_bytes(b"no model")
    write(files / "broken.yaml", model("broken", {"east": 1}, source={"file": {"path": str(broken)}}))
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # after an error its logs stay
        monkeypatch.setattr(tempfile, "tempdir", folder)
        with (
            pytest.raises(
                LocalError, match=r"broken-east-\S+ does not start; its log \S+ ends:\n.*failed to load model"
            ),
            running(files),
        ):
            pass


def test_a_variable_of_the_spec_is_in_its_engines_environment_and_one_from_a_secret_is_said_to_be_missing(
    files: Path,
) -> None:
    engine = {"type": "LlamaCpp", "env": [{"name": "GGML_NO_BACKTRACE", "value": "1"}]}
    write(files / "chat.yaml", model("chat", {"east": 1}, engine=engine))
    secret = {"type": "LlamaCpp", "env": [{"name": "KEY", "secret": {"name": "keys", "key": "one"}}]}
    write(files / "secret.yaml", model("secret", {"east": 1}, engine=secret))
    with running(files) as served:
        (one,) = served.engines("east")
        assert b"GGML_NO_BACKTRACE=1" in Path(f"/proc/{one.process.pid}/environ").read_bytes().split(b"\0")
        (told,) = [report for report in served.reports if "models/secret" in report]
        assert "`KEY` of `spec.engine.env` is from a Secret" in told


@pytest.fixture
def folder_of_logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where logs of what fails stay, until the test ends."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def test_two_that_choose_one_port_at_the_same_time_do_not_share_its_calls(
    files: Path, served: RunningPlatform, monkeypatch: pytest.MonkeyPatch, folder_of_logs: Path
) -> None:
    monkeypatch.setattr(local_platform, "reserve", lambda port: socket.socket())
    port = served.platform.gateways["east"].port
    with (
        pytest.raises(LocalError, match=r"refuses its configuration: .*Address already in use"),
        running(files, port=port),
    ):
        pass


def test_a_port_is_reserved_before_anybody_listens_there() -> None:
    port = free_port()
    with reserve(port), pytest.raises(OSError, match="in use"):
        reserve(port)
    reserve(port).close()


def test_an_engine_that_breaks_while_it_serves_is_told_once_with_the_end_of_its_log(
    files: Path, served: RunningPlatform, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no model")
    write(files / "broken.yaml", model("broken", {"east": 1}, source={"file": {"path": str(broken)}}))

    def told() -> list[str]:
        return [report for report in served.reports if report.startswith("broken-east-")]

    def engine() -> Engine | None:
        return next(iter(served.engines("east", "test/broken")), None)

    until(lambda: (found := engine()) is not None and found.process.ends >= 3, "three starts")
    assert len(told()) == 1
    assert "has ended, status 1; it is started again; its log ends: llama-server: " in told()[0]


def test_a_file_in_a_folder_with_many_others_is_watched_and_they_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "all.yaml", EAST)
    (tmp_path / "deep").mkdir()
    roots: list[tuple[set[Path], bool]] = []
    watch = watchfiles.awatch

    def noted(*paths: Path, recursive: bool, **options: Any) -> Any:
        roots.append(({*paths}, recursive))
        return watch(*paths, recursive=recursive, **options)

    monkeypatch.setattr(files_module, "awatch", noted)
    with running(tmp_path / "all.yaml", tmp_path / "deep") as served:
        until(lambda: len(roots) == 2, "both watches")
        assert ({tmp_path}, False) in roots
        assert ({tmp_path / "deep"}, True) in roots
        write(tmp_path / "all.yaml", EAST, WEST)
        served.until_settled(lambda platform: set(platform.gateways) == {"east", "west"})
        write(tmp_path / "deep" / "more.yaml", region("north"))
        served.until_settled(lambda platform: set(platform.gateways) == {"east", "west", "north"})


def test_a_folder_of_temporary_files_with_a_long_name_is_not_where_sockets_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("long" * 20)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    found = files_module.socket_folder()
    found.rmdir()
    assert len(str(found)) < 80
    assert not any(long.iterdir())
