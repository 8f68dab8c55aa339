"""Environments of clients that must not meet ours: made from locks with hashes, in a cache outside the repository."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

LOCKS = Path(__file__).parents[2] / "requirements" / "clients"
BIN = Path(sys.executable).parent


def python(name: str) -> Path:
    """The Python of an environment with exactly what `requirements/clients/<name>.txt` holds."""
    lock = LOCKS / f"{name}.txt"

    def install(folder: Path) -> None:
        _run(BIN / "uv", "venv", "--clear", "--python", sys.executable, folder / "venv")
        _run(BIN / "uv", "pip", "sync", "--no-build", "--require-hashes", "--python", folder / "venv/bin/python", lock)

    return _made(name, lock.read_bytes(), install) / "venv/bin/python"


def node() -> Path:
    """Node from PyPI. Skips the test where there is none for this machine."""
    try:
        return python("nodejs").parent / "node"
    except subprocess.CalledProcessError as error:
        if "wheel" in error.stderr:
            pytest.skip("PyPI has no Node for this machine")
        raise


def node_packages(name: str) -> Path:
    """A folder with the packages of `requirements/clients/<name>/package-lock.json`."""
    source, programs = LOCKS / name, node().parent

    def install(folder: Path) -> None:
        for file in ("package.json", "package-lock.json"):
            shutil.copy(source / file, folder)
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        command = [programs / "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        _run(*command, cwd=folder, env={**os.environ, "PATH": path})

    return _made(name, (source / "package-lock.json").read_bytes(), install)


def _made(name: str, lock: bytes, install: Callable[[Path], None]) -> Path:
    """The folder that `install` fills, once for each lock and Python."""
    key = hashlib.sha256(lock + sys.version.encode()).hexdigest()[:12]
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tomoul" / "clients"
    folder = base / f"{name}-{key}"
    base.mkdir(parents=True, exist_ok=True)
    with (base / f"{name}.lock").open("w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        if not (folder / "installed").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            install(folder)
            (folder / "installed").touch()
    return folder


def _run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    try:
        subprocess.run(command, cwd=cwd, env=env, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        error.add_note(f"{error.stdout}\n{error.stderr}")
        raise
