"""Downloads from a hub: whole, resumed, corrupt, refused, by several loaders at once."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from tests.loader.hub import COMMIT, REPO, HubServer, serving
from tomoul.loader.hub import Hub
from tomoul.loader.progress import Progress
from tomoul.loader.remote import LoadError, RemoteFile, TransientError
from tomoul.loader.volume import load
from tomoul.plan.loading import LoadFailure

WEIGHTS = Random(1).randbytes(3_000_000)
FILES = {
    "config.json": b'{"a": 1}',
    "model.safetensors": WEIGHTS,
    "model.bin": b"the same again",
    ".gitattributes": b"",
}


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with serving(HubServer(dict(FILES))) as found:
        yield found


def remote(hub: HubServer, *, revision: str = "main", file: str | None = None, token: str | None = None) -> Hub:
    return Hub(REPO, revision, file, endpoint=hub.url, token=token)


def at_once(seconds: float) -> None:
    """A pause that is none."""


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, f"not within a minute: {what}"
        time.sleep(0.02)


def test_what_an_engine_needs_is_brought_whole_and_nothing_else(hub: HubServer, tmp_path: Path) -> None:
    progress = Progress()
    folder = load(remote(hub), tmp_path, "chat", progress, pause=at_once)
    assert names(folder) == {"config.json", "model.safetensors"}
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    report = progress.report()
    assert (report["state"], report["bytes"], report["total"]) == ("Done", 3_000_008, 3_000_008)
    assert not list(tmp_path.glob(".chat.loading"))


def test_weights_that_are_there_need_no_hub(hub: HubServer, tmp_path: Path) -> None:
    load(remote(hub), tmp_path, "chat", Progress(), pause=at_once)
    hub.broken = 1000
    load(remote(hub), tmp_path, "chat", Progress(), pause=at_once)
    assert hub.broken == 1000


def test_four_files_come_at_a_time(tmp_path: Path) -> None:
    four, lock, most = threading.Barrier(4), threading.Lock(), 0
    active: set[str] = set()

    class Slow:
        def files(self) -> list[RemoteFile]:
            digest = f"sha256:{hashlib.sha256(b'x').hexdigest()}"
            return [RemoteFile(f"{number}.bin", 1, digest, str(number)) for number in range(8)]

        def read(self, file: RemoteFile, offset: int) -> Iterator[bytes]:
            nonlocal most
            with lock:
                active.add(file.path)
                most = max(most, len(active))
            four.wait(timeout=30)
            with lock:
                active.remove(file.path)
            yield b"x"

    assert len(names(load(Slow(), tmp_path, "chat", Progress()))) == 8
    assert most == 4


def test_a_cut_download_goes_on_where_it_was(hub: HubServer, tmp_path: Path) -> None:
    hub.cut_after = 1_000_000
    folder = load(remote(hub), tmp_path, "chat", Progress(), pause=at_once)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert [offset for name, offset in hub.ranges if name == "model.safetensors"] == [0, 1_000_000, 2_000_000]


def test_of_a_branch_that_moves_while_it_is_downloaded_no_file_of_before_is_given_to_an_engine(
    hub: HubServer, tmp_path: Path
) -> None:
    hub.files["old.safetensors"] = b"only on the branch of before"
    hub.cut_after = 1_000_000

    def ended(_seconds: float) -> None:
        left = tmp_path / ".chat.loading"
        until(lambda: names(left) >= {"config.json", "old.safetensors"}, "the small files are there")
        raise InterruptedError

    with pytest.raises(InterruptedError):
        load(remote(hub), tmp_path, "chat", Progress(), pause=ended)
    assert "model.safetensors.part" in names(tmp_path / ".chat.loading")
    hub.cut_after = None
    del hub.files["old.safetensors"]
    hub.files |= {"config.json": b'{"b": 2}', "model.safetensors": WEIGHTS[::-1]}
    hub.ranges.clear()
    folder = load(remote(hub), tmp_path, "chat", Progress(), pause=at_once)
    assert {name: (folder / name).read_bytes() for name in names(folder)} == {
        "config.json": b'{"b": 2}',
        "model.safetensors": WEIGHTS[::-1],
    }
    assert sorted(hub.ranges) == [("config.json", 0), ("model.safetensors", 0)]


@pytest.mark.parametrize("record", ["", "[", "[]", "{}"])
def test_files_of_which_no_earlier_loader_says_what_they_are_are_looked_at(
    hub: HubServer, tmp_path: Path, record: str
) -> None:
    (tmp_path / ".chat.loading").mkdir()
    (tmp_path / ".chat.loading" / "model.safetensors").write_bytes(WEIGHTS)
    (tmp_path / ".chat.loading" / "config.json").write_bytes(b'{"b": 2}')
    (tmp_path / ".chat.files").write_text(record)
    folder = load(remote(hub), tmp_path, "chat", Progress(), pause=at_once)
    assert {name: (folder / name).read_bytes() for name in names(folder)} == {
        name: FILES[name] for name in ("config.json", "model.safetensors")
    }
    assert hub.ranges == [("config.json", 0)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".chat.lock", "chat"]


def test_a_content_network_that_compresses_changes_no_bytes(hub: HubServer, tmp_path: Path) -> None:
    hub.compresses = True
    folder = load(remote(hub), tmp_path, "chat", Progress(), pause=at_once)
    assert (folder / "config.json").read_bytes() == FILES["config.json"]


def test_a_hub_that_is_busy_is_asked_again(hub: HubServer, tmp_path: Path) -> None:
    hub.broken = 3
    assert load(remote(hub), tmp_path, "chat", Progress(), pause=at_once).is_dir()


@pytest.mark.parametrize("begins", [0, 600_000, 1_999_999])
def test_a_hub_that_answers_from_elsewhere_than_it_is_asked_to_gives_the_right_bytes_all_the_same(
    hub: HubServer, tmp_path: Path, begins: int
) -> None:
    (tmp_path / ".chat.loading").mkdir()
    (tmp_path / ".chat.loading" / "model.safetensors.part").write_bytes(WEIGHTS[:2_000_000])
    hub.ranges_from = begins
    folder = load(remote(hub, file="model.safetensors"), tmp_path, "chat", Progress(), pause=at_once)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.ranges == [("model.safetensors", 2_000_000)]


def test_of_an_answer_that_begins_behind_what_is_there_nothing_is_taken(hub: HubServer) -> None:
    hub.ranges_from = 2_000_001
    found = remote(hub, file="model.safetensors")
    with pytest.raises(TransientError, match="began at 2000001 in the place of 2000000"):
        list(found.read(found.files()[0], 2_000_000))


def test_what_a_network_answers_in_the_place_of_a_hub_is_none_of_its_files(hub: HubServer, tmp_path: Path) -> None:
    found = remote(hub, file="model.safetensors")
    (file,) = found.files()
    hub.page = b"<html>log in</html>"
    with pytest.raises(TransientError, match="answered with 19 bytes in the place of 3000000"):
        list(found.read(file, 0))
    with pytest.raises(LoadError, match=rf"{hub.url} answered with something else than a hub does"):
        found.files()


@pytest.mark.parametrize("repo", ["a--b", "acme/chat.git"])
def test_a_repository_that_no_hub_can_have_is_told_as_one_that_there_is_not(hub: HubServer, repo: str) -> None:
    with pytest.raises(LoadError, match=repo) as refused:
        Hub(repo, "main", None, endpoint=hub.url, token=None).files()
    assert refused.value.kind is LoadFailure.NOT_FOUND


@pytest.mark.parametrize(("told", "waits"), [("7", 7.0), ("86400", 300.0), ("soon", 1.0), ("", 1.0)])
def test_a_busy_hub_is_left_alone_for_as_long_as_it_asks_within_reason(
    hub: HubServer, tmp_path: Path, told: str, waits: float
) -> None:
    waited: list[float] = []
    hub.broken, hub.retry_after = 1, told
    load(remote(hub), tmp_path, "chat", Progress(), pause=waited.append)
    assert waited == [waits]


def test_a_hub_is_asked_for_what_is_loaded_and_for_nothing_else(hub: HubServer, tmp_path: Path) -> None:
    loader = started(hub, tmp_path)
    _, err = loader.communicate(timeout=60)
    assert loader.returncode == 0, err
    files = [f"/{REPO}/resolve/{COMMIT}/{name}" for name in ("config.json", "model.safetensors")]
    assert sorted(hub.asked) == sorted([f"/api/models/{REPO}/revision/main", *files])


def test_the_log_of_a_loader_that_tries_again_says_once_why(hub: HubServer, tmp_path: Path) -> None:
    hub.broken = 2
    loader = started(hub, tmp_path)
    _, err = loader.communicate(timeout=60)
    assert loader.returncode == 0
    (line,) = err.splitlines()
    assert "HTTP 503" in line
    assert line.endswith("; trying again")


def test_wrong_bytes_are_thrown_away_and_downloaded_anew(hub: HubServer, tmp_path: Path) -> None:
    hub.corrupt = 2
    folder = load(remote(hub, file="model.safetensors"), tmp_path, "chat", Progress(), pause=at_once)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert [offset for _, offset in hub.ranges] == [0, 0, 0]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_bytes_that_stay_wrong_are_never_given_to_an_engine(hub: HubServer, tmp_path: Path, name: str) -> None:
    hub.corrupt = 1000
    with pytest.raises(LoadError, match=f"`{name}` came 3 times with other bytes than (sha256|git-sha1):"):
        load(remote(hub, file=name), tmp_path, "chat", Progress(), pause=at_once)
    assert not (tmp_path / "chat").exists()


def test_one_file_of_several_shards_brings_the_others(tmp_path: Path) -> None:
    shards = {f"q4-0000{number}-of-00002.gguf": bytes([number]) for number in (1, 2)}
    with serving(HubServer({**shards, "q8-00001-of-00002.gguf": b"other"})) as hub:
        folder = load(remote(hub, file="q4-00001-of-00002.gguf"), tmp_path, "chat", Progress(), pause=at_once)
    assert names(folder) == shards.keys()


@pytest.mark.parametrize(
    ("token", "revision", "file", "kind", "words"),
    [
        ("wrong", "main", None, LoadFailure.REFUSED, "`acme/chat` at revision `main` on .*: HTTP 401"),
        ("right", "v2", None, LoadFailure.NOT_FOUND, "at revision `v2` on .*HTTP 404"),
        ("right", COMMIT, "absent.gguf", LoadFailure.NOT_FOUND, "has no file `absent.gguf`"),
    ],
)
def test_what_trying_again_cannot_help_says_what_to_change(
    hub: HubServer, tmp_path: Path, token: str, revision: str, file: str | None, kind: LoadFailure, words: str
) -> None:
    hub.token = "right"
    with pytest.raises(LoadError, match=words) as refused:
        load(remote(hub, revision=revision, file=file, token=token), tmp_path, "chat", Progress(), pause=at_once)
    assert refused.value.kind is kind


def test_a_token_whose_secret_ends_with_a_line_is_that_token_and_one_of_other_characters_is_never_told(
    hub: HubServer, tmp_path: Path
) -> None:
    hub.token = "right"
    assert load(remote(hub, token="right\n"), tmp_path, "chat", Progress(), pause=at_once).is_dir()
    for wrong in ("ri\nght", "ri ght", "ri\0ght", "ríght"):
        with pytest.raises(LoadError, match="the token has a character that none has") as refused:
            remote(hub, token=wrong)
        assert refused.value.kind is LoadFailure.REFUSED
        assert "ght" not in str(refused.value)


def test_a_file_that_would_leave_its_folder_is_refused(tmp_path: Path) -> None:
    with serving(HubServer({"../evil": b"x"})) as hub, pytest.raises(LoadError, match=r"named `\.\./evil`"):
        load(remote(hub, file="../evil"), tmp_path, "chat", Progress(), pause=at_once)


def started(hub: HubServer, volume: Path, port: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tomoul", "load", "hf", str(volume), "chat", "--repo", REPO, "--revision", "main"]
    command += ["--port", str(port)] if port else []
    env = {**os.environ, "HF_ENDPOINT": hub.url}
    return subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_the_command_says_of_a_token_that_is_none_so_and_never_what_it_is(hub: HubServer, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tomoul", "load", "hf", str(tmp_path), "chat", "--repo", REPO, "--revision=main"]
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_first\nhf_second"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == LoadFailure.REFUSED
    assert done.stderr.startswith("error: the token has a character that none has")
    assert "hf_" not in done.stdout + done.stderr


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_loader_that_is_killed_leaves_its_bytes_to_the_next(
    hub: HubServer, tmp_path: Path, end: signal.Signals
) -> None:
    hub.hold = threading.Event()
    first = started(hub, tmp_path)
    until(lambda: any(name == "model.safetensors" for name, _ in hub.ranges), "the download begins")
    first.send_signal(end)
    first.communicate(timeout=60)
    assert first.returncode != 0
    (tmp_path / ".chat.loading" / "model.safetensors.part").write_bytes(WEIGHTS[:1_234_567])
    hub.hold.set()
    hub.ranges.clear()
    second = started(hub, tmp_path)
    out, err = second.communicate(timeout=60)
    assert second.returncode == 0, err
    assert "chat is there: 3000008 bytes" in out
    assert ("model.safetensors", 1_234_567) in hub.ranges
    assert (tmp_path / "chat" / "model.safetensors").read_bytes() == WEIGHTS


def test_a_loader_that_fails_ends_at_once_and_writes_no_more_of_its_other_files(hub: HubServer, tmp_path: Path) -> None:
    """Its lock is open by then: two loaders that write one file would spoil it for each other."""
    hub.hold = threading.Event()
    hub.files["vocab.json"] = b"{}"
    (tmp_path / ".chat.loading" / "vocab.json.part").mkdir(parents=True)
    loader = started(hub, tmp_path)
    try:
        _, err = loader.communicate(timeout=20)
    finally:
        loader.kill()
    assert loader.returncode == 1
    assert "IsADirectoryError" in err.splitlines()[-1]


@pytest.mark.parametrize("name", ["model.safetensors.part", "model.safetensors"])
def test_a_loader_that_is_killed_between_download_and_end_leaves_nothing_to_download(
    hub: HubServer, tmp_path: Path, name: str
) -> None:
    (tmp_path / ".chat.loading").mkdir()
    (tmp_path / ".chat.loading" / name).write_bytes(WEIGHTS)
    (tmp_path / ".chat.loading" / "config.json").write_bytes(FILES["config.json"])
    folder = load(remote(hub), tmp_path, "chat", Progress(), pause=at_once)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.ranges == []
    assert names(folder) == {"config.json", "model.safetensors"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("size=1m", "the volume is full: 3000008 bytes more are needed and"),
        ("ro", "the volume cannot be written: Read-only file system"),
        ("size=4m,nr_inodes=3", "the volume cannot be written: No space left on device"),
    ],
)
def test_a_volume_that_is_full_or_may_not_be_written_is_told_by_words_and_exit_code(
    hub: HubServer, tmp_path: Path, options: str, words: str
) -> None:
    """On a real volume of its own, which a namespace of mounts needs."""
    apart = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    mount = f"mount -t tmpfs -o {options} tmpfs {tmp_path}"
    if subprocess.run([*apart, "sh", "-c", mount], capture_output=True).returncode != 0:
        pytest.skip("nothing can be mounted here")
    command = f"{mount} && exec {sys.executable} -m tomoul load hf {tmp_path} chat --repo {REPO} --revision main"
    env = {**os.environ, "HF_ENDPOINT": hub.url}
    done = subprocess.run([*apart, "sh", "-c", command], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == LoadFailure.VOLUME, done.stderr
    assert f"error: {words}" in done.stderr.splitlines()[-1]


def test_a_volume_without_locks_is_told_as_that(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", none)
    with pytest.raises(LoadError, match="the volume takes no locks: No locks available") as refused:
        load(remote(hub), tmp_path, "chat", Progress(), pause=at_once)
    assert refused.value.kind is LoadFailure.VOLUME


def test_a_volume_that_others_fill_meanwhile_is_told_as_full(hub: HubServer, tmp_path: Path) -> None:
    apart = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    mount = f"mount -t tmpfs -o size=4m tmpfs {tmp_path}"
    if subprocess.run([*apart, "sh", "-c", mount], capture_output=True).returncode != 0:
        pytest.skip("nothing can be mounted here")
    hub.hold = threading.Event()
    # Once the hub has begun, the other one is told to fill the volume.
    other = f"(read line <&3 && head -c 3000000 /dev/zero >{tmp_path}/other; echo filled) &"
    command = f"exec 3<&0; {mount} && {{ {other} }} && exec {sys.executable} -m tomoul load hf {tmp_path} chat"
    command += f" --repo {REPO} --revision main"
    loader = subprocess.Popen(
        [*apart, "sh", "-c", command],
        env={**os.environ, "HF_ENDPOINT": hub.url},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        until(lambda: any(name == "model.safetensors" for name, _ in hub.ranges), "the download begins")
        assert loader.stdin is not None
        assert loader.stdout is not None
        loader.stdin.write("now\n")
        loader.stdin.flush()
        assert loader.stdout.readline() == "filled\n"
        hub.hold.set()
        _, err = loader.communicate(timeout=60)
    finally:
        loader.kill()
    assert loader.returncode == LoadFailure.VOLUME, err
    assert "error: the volume is full" in err.splitlines()[-1]


def test_of_two_loaders_for_one_folder_one_downloads_and_both_tell_how_far_it_is(
    hub: HubServer, tmp_path: Path
) -> None:
    hub.hold = threading.Event()
    ports = [free_port(), free_port()]
    loaders = [started(hub, tmp_path, port) for port in ports]
    until(
        lambda: sorted(str(report(port).get("state")) for port in ports) == ["Downloading", "Waiting"],
        "one downloads, the other waits",
    )
    assert all(report(port)["total"] == 3_000_008 for port in ports)
    (error,) = {str(report(port)["error"]) for port in ports} - {""}
    assert error.startswith("another loader has the lock of `.chat.lock`")
    hub.hold.set()
    for loader in loaders:
        loader.communicate(timeout=60)
        assert loader.returncode == 0
    assert sorted(hub.ranges) == [("config.json", 0), ("model.safetensors", 0)]


def test_a_loader_that_has_lost_its_lock_and_goes_on_spoils_nothing_for_the_one_that_has_it(
    hub: HubServer, tmp_path: Path
) -> None:
    """As on a node that was cut off from an NFS server and is back. Within one process these locks exclude nobody."""
    hub.cut_after = 1_000_000
    others = []

    def loses_it(_seconds: float) -> None:
        if not others:
            others.append(load(remote(hub), tmp_path, "chat", Progress(), pause=at_once))

    class Slow(Hub):
        def read(self, file: RemoteFile, offset: int) -> Iterator[bytes]:
            for piece in super().read(file, offset):
                yield piece
                if file.path == "model.safetensors":
                    loses_it(0)

    first = Slow(REPO, "main", None, endpoint=hub.url, token=None)
    with contextlib.suppress(OSError):  # Its folder has been moved.
        load(first, tmp_path, "chat", Progress(), pause=at_once)
    assert others
    assert (tmp_path / "chat" / "model.safetensors").read_bytes() == WEIGHTS


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def report(port: int) -> dict[str, object]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/progress", timeout=5) as answer:
            found: dict[str, object] = json.loads(answer.read())
            return found
    except OSError:
        return {}
