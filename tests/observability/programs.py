"""Where Prometheus and promtool come from, without root.

Looked for in this order: PATH; a cache outside the repository; the package `prometheus` of this machine's Debian or
Ubuntu, which is downloaded and unpacked into that cache, not installed (20 MB, a few seconds).
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

NAMES = ("prometheus", "promtool")


class MissingProgramError(Exception):
    """Neither PATH nor the cache has Prometheus, and no package could be had."""


def cache_folder() -> Path:
    """Folder of the programs, outside the repository."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tomoul" / "prometheus"


def program(name: str) -> Path:
    """Path of `prometheus` or `promtool`, fetched if need be. Raises MissingProgramError."""
    assert name in NAMES, name
    if found := _found(name):
        return found
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _found(name):
            _unpack(cache)
    found = _found(name)
    assert found, name
    return found


def _found(name: str) -> Path | None:
    on_path = shutil.which(name)
    if on_path:
        return Path(on_path)
    cached = cache_folder() / name
    return cached if os.access(cached, os.X_OK) else None


def _unpack(cache: Path) -> None:
    """Download the distribution's package and keep its two programs."""
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        try:
            _download(Path(folder))
            (package,) = Path(folder).glob("prometheus_*.deb")
            subprocess.run(["dpkg-deb", "-x", package, Path(folder, "root")], check=True, capture_output=True)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", b"") or b""
            raise MissingProgramError(
                "Prometheus is neither on PATH nor to be had as a package of this system "
                f"({error} {said.decode(errors='replace').strip()}): install `prometheus` and `promtool`"
            ) from error
        for name in NAMES:
            Path(folder, "root", "usr", "bin", name).rename(cache / name)


def _download(folder: Path) -> None:
    try:
        subprocess.run(["apt-get", "download", "prometheus"], cwd=folder, check=True, capture_output=True)
    except subprocess.CalledProcessError:
        # A fresh machine has no package lists, and only root may fetch them to where they belong.
        for name in ("lists/partial", "archives/partial"):
            (folder / name).mkdir(parents=True)
        places = [f"-oDir::State::Lists={folder / 'lists'}", f"-oDir::Cache={folder}", "-oAPT::Sandbox::User="]
        subprocess.run(["apt-get", "update", *places], cwd=folder, check=True, capture_output=True)
        subprocess.run(["apt-get", "download", "prometheus", *places], cwd=folder, check=True, capture_output=True)
