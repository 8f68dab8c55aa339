import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.local.running import model, region, write
from tests.local.waiting import until

EXAMPLES = Path(__file__).parents[2] / "examples"
TOMOUL = [sys.executable, "-m", "tomoul", "local"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    write(tmp_path / "regions.yaml", region("east"))
    write(tmp_path / "chat.yaml", model("chat", {"east": 1}))
    return tmp_path


@pytest.fixture(autouse=True)
def short_lived_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Logs of what fails or is killed stay; here they go with the test. Sockets need a short path."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield


def ended(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command after it has ended by itself."""
    # A proxy of the environment, behind which nobody is, is not asked for what runs here.
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), "http://127.0.0.1:9")
    environment = os.environ | {"CI": "true", "NO_PROXY": "", "no_proxy": ""} | proxies
    return subprocess.run(
        [*TOMOUL, *map(str, arguments)], capture_output=True, text=True, timeout=120, env=environment, check=False
    )


@contextmanager
def serving(*arguments: str | Path, port: int | None = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command while it serves, and what it has shown."""
    command = [*TOMOUL, *map(str, arguments), *([f"--port={port}"] if port is not None else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines: list[str] = []
            for line in process.stdout:
                lines.append(line)
                if "Ctrl-C" in line:
                    break
            assert lines
            assert "Ctrl-C" in lines[-1], lines
            yield process, "".join(lines)
        finally:
            process.kill()


class Shown:
    """What a terminal has shown so far."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self.text = ""

    def until(self, words: str, seconds: float = 90.0) -> None:
        """Read until the terminal shows `words`."""
        deadline = time.monotonic() + seconds
        while words not in self.text:
            ready, _, _ = select.select([self._terminal], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"`{words}` was not shown within {seconds} s:\n{self.text}"
            try:
                self.text += os.read(self._terminal, 65536).decode(errors="replace")
            except OSError as error:  # the process has ended
                raise AssertionError(f"`{words}` was never shown:\n{self.text}") from error


@contextmanager
def demo_in_a_terminal() -> Iterator[tuple[subprocess.Popen[bytes], Shown]]:
    """The demo as a person starts it: it goes on serving after the walk."""
    terminal, end = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"COLUMNS": "160"}
    command = [*TOMOUL, "--demo", str(EXAMPLES), "--port", "0"]
    with subprocess.Popen(command, stdout=end, stderr=end, env=environment) as process:
        os.close(end)
        try:
            yield process, Shown(terminal)
        finally:
            process.kill()
            os.close(terminal)


def children(pid: int) -> set[int]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(") ")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.add(int(stat.parent.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_demo_shows_every_step_and_what_to_paste_and_ends_with_0_without_a_terminal() -> None:
    result = ended("--demo", EXAMPLES, "--port", "0")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("✓") == 10
    assert "✗" not in result.stdout
    assert "curl -s http://127.0.0.1:" in result.stdout
    assert "from openai import OpenAI" in result.stdout
    assert result.stdout.endswith("Ended with the walk. In a terminal it goes on serving until Ctrl-C.\n")
    assert result.stderr == ""


def test_the_demo_says_what_it_needs_if_the_files_have_nothing_to_walk_through(files: Path) -> None:
    result = ended("--demo", files, "--port", "0")
    assert result.returncode == 1
    assert "the walk needs a model with tools" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_taken_port_is_named_with_how_to_choose_another(files: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = ended(files, "--port", str(port))
    assert result.returncode == 1
    assert result.stderr == f"Error: port {port} is taken; choose another with --port, or --port 0 for any\n"


def test_where_the_usual_port_is_taken_another_is_and_is_told(files: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8080))
            taken.listen()
        except OSError:
            pass  # somebody else's server is as good
        with serving(files, port=None) as (_, shown):
            found = re.search(r"port 8080 is taken: serving on (\d+)", shown)
            assert found, shown
            assert f"http://127.0.0.1:{found[1]}/v1" in shown


def test_a_cache_that_cannot_be_written_is_named_with_the_variable_that_names_another(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    result = ended(files)
    assert result.returncode == 1
    assert result.stderr.startswith(f"Error: {tmp_path / 'file' / 'tomoul'}")
    assert "Not a directory; XDG_CACHE_HOME names another folder" in result.stderr


def test_errors_in_the_files_are_named_with_file_and_field(files: Path) -> None:
    write(files / "chat.yaml", model("chat", {"east": 1}, engine={"type": "Lama"}))
    result = ended(files)
    assert result.returncode == 1
    assert "chat.yaml" in result.stderr
    assert "spec.engine.type" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_everything_and_ends_with_0(files: Path, number: signal.Signals) -> None:
    with serving(files) as (process, _):
        started = children(process.pid)
        assert len(started) == 3, "a guard, an engine, an Envoy"
        process.send_signal(number)
        assert process.wait(20) == 0
        assert not [pid for pid in started if alive(pid)]


def test_who_stops_it_does_not_wait_for_the_compiler(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(files / "cache"))
    with subprocess.Popen([*TOMOUL, str(files)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "compiling" in process.stdout.readline()
        until(lambda: children(process.pid), "the compiler")
        started = children(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "Stopped.\n"
        assert process.wait(5) == 0
    assert not [pid for pid in started if alive(pid)]
    assert not list((files / "cache").glob("tomoul/filter/*/*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("when", "says", "status"),
    [
        ("starting engines and gateways", "Stopped before the walk was complete.", 1),
        ("Ctrl-C ends it.", "Stopped.", 0),
    ],
)
def test_a_demo_that_is_stopped_has_passed_if_its_walk_was_complete(
    when: str, says: str, status: int, number: signal.Signals
) -> None:
    with demo_in_a_terminal() as (process, shown):
        shown.until(when)
        process.send_signal(number)
        shown.until(says)
        assert process.wait(20) == status, shown.text
    assert "Traceback" not in shown.text


def test_even_a_kill_leaves_no_process_behind(files: Path) -> None:
    with serving(files) as (process, _):
        started = children(process.pid)
        process.kill()
        process.wait()
        until(lambda: not any(map(alive, started)), "the end of all processes")


def test_where_calls_need_keys_what_is_to_be_pasted_has_one(files: Path) -> None:
    key = "k" * 40
    meta = "metadata: {name: keys}"
    (files / "secret.yaml").write_text(f"apiVersion: v1\nkind: Secret\n{meta}\nstringData: {{first: {key}}}\n")
    kind = "apiVersion: tomoul.ai/v1alpha1\nkind: Tenant"
    (files / "tenant.yaml").write_text(f"{kind}\nmetadata: {{name: acme}}\nspec: {{apiKeys: {{secretName: keys}}}}\n")
    with serving(files, "--auth", "Required") as (_, shown):
        command = ["bash", "-c", shown[shown.index("curl") : shown.index("import os")]]
        done = subprocess.run(command, env=os.environ | {"KEY": key}, capture_output=True, text=True, check=True)
    assert '"object":"chat.completion"' in done.stdout, done.stdout
    assert 'api_key=os.environ["KEY"]' in shown


def test_the_demo_refuses_to_ask_for_keys_that_its_walk_does_not_have(files: Path) -> None:
    result = ended("--demo", "--auth", "Required", files)
    assert result.returncode == 1
    assert "leave out `--auth Required`, or --demo" in result.stderr
