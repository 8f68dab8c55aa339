"""Where the filter's shared library is; compiled once per version of its sources where no image brought it.

The compiler is a package like any other (`ziglang`), so that a machine needs no compiler of its own.
"""

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARY = "libtomoul.so"
SOURCES = Path(__file__).parent

# The oldest glibc that Envoy's own binaries run on.
_TARGETS = {"x86_64": "x86_64-linux-gnu.2.28", "aarch64": "aarch64-linux-gnu.2.28", "arm64": "aarch64-linux-gnu.2.28"}

_POLL_SECONDS = 0.1


class BuildError(Exception):
    """The library cannot be compiled here; says why."""


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)  # noqa: T201 - of a wait that nobody expects


def filter_folder(
    report: Callable[[str], None] = _say, *, faults: bool = False, stop: threading.Event | None = None
) -> Path:
    """The folder that holds the library: this one in an image, else one in the user's cache.

    `report` is told of the wait where it has to be compiled, which `stop` ends. With `faults` it has bugs that tests
    can call for. Raises BuildError.
    """
    if (SOURCES / LIBRARY).exists() and not faults:
        return SOURCES
    folder = _cache() / _key(faults=faults)
    if not (folder / LIBRARY).exists():
        report("compiling the gateway's filter, once (a quarter of a minute)")
        started = time.monotonic()
        compile_filter(folder, faults=faults, stop=stop)
        report(f"compiled it in {time.monotonic() - started:.0f} s")
    return folder


def compile_filter(folder: Path, *, faults: bool = False, stop: threading.Event | None = None) -> None:
    """Compile the library into `folder`, at once: another process sees the whole file or none. Raises BuildError.

    Once `stop` is set the compiler is ended.
    """
    target = _TARGETS.get(platform.machine())
    if target is None:
        raise BuildError(f"the filter is for x86_64 and arm64, and this machine is {platform.machine()}")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        options = Path(temporary) / "options.zig"
        options.write_text(f"pub const faults = {str(faults).lower()};\n")
        made = Path(temporary) / LIBRARY
        command = [
            *(sys.executable, "-m", "ziglang", "build-lib", "-dynamic", "-OReleaseSafe", "-fstrip", "-lc"),
            *("-target", target, f"-femit-bin={made}", "--name", "tomoul", str(SOURCES / "guard.c")),
            *("--dep", "options", f"-Mroot={SOURCES / 'module.zig'}", f"-Moptions={options}"),
            *("--cache-dir", temporary),
        ]
        # A group of its own: a terminal's Ctrl-C is not the compiler's, which would tell of it as of an error.
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=temporary, process_group=0
        ) as compiler:
            said = _said(compiler, stop or threading.Event())
        if compiler.returncode:
            raise BuildError(f"the filter does not compile:\n{said}")
        made.chmod(0o755)
        made.replace(folder / LIBRARY)


def _said(compiler: subprocess.Popen[str], stop: threading.Event) -> str:
    """What a compiler has said, once it has ended."""
    try:
        while not stop.is_set():
            try:
                return compiler.communicate(timeout=_POLL_SECONDS)[0]
            except subprocess.TimeoutExpired:
                continue
        return ""
    finally:
        # Of one that has ended this does nothing.
        compiler.kill()


def install_filter(folder: Path) -> None:
    """Put the library into `folder`, where another container's Envoy finds it. Raises BuildError and OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{LIBRARY}.{os.getpid()}"
    shutil.copyfile(filter_folder() / LIBRARY, temporary)
    temporary.chmod(0o755)
    temporary.replace(folder / LIBRARY)


def _key(*, faults: bool) -> str:
    """Of what the library is made of."""
    try:
        compiler = version("ziglang")
    except PackageNotFoundError as error:
        raise BuildError("`ziglang` is missing; install `tomoul-operator[local]`") from error
    digest = hashlib.sha256(f"{compiler} {platform.machine()} {faults}".encode())
    for source in sorted((*SOURCES.glob("*.zig"), *SOURCES.glob("*.c"), Path(__file__))):
        digest.update(f"\0{source.name}\0".encode() + source.read_bytes())
    return digest.hexdigest()[:16]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tomoul" / "filter"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Compile the filter into a folder.")
    parser.add_argument("folder", type=Path)
    compile_filter(parser.parse_args().folder.resolve())
