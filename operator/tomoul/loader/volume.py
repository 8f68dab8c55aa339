"""Volume: brings the files of a source to a folder once, however many loaders share it and die.

Files lie in `.<name>.loading` until all of them are there and have their checksums; then the folder becomes `<name>` in
one step. A lock keeps other loaders waiting. It is the kernel's, or the NFS server's, so it ends with the loader that
holds it.
"""

import errno
import fcntl
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TypeVar

from tomoul.loader.checksum import doubt, matches
from tomoul.loader.leftovers import PART, keep_only
from tomoul.loader.progress import Progress
from tomoul.loader.remote import LoadError, Remote, RemoteFile, TransientError
from tomoul.plan.loading import LoadFailure

T = TypeVar("T")
logger = logging.getLogger(__name__)

AT_ONCE = 4
"""Files that are downloaded at the same time."""
CORRUPT_TRIES = 3
_LONGEST_PAUSE = 30.0
# No room, no right, or mounted read-only: whoever starts the loader again finds it so again.
_UNUSABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def load(
    remote: Remote, volume: Path, name: str, progress: Progress, *, pause: Callable[[float], None] = time.sleep
) -> Path:
    """The folder `volume/name` with the source's files; LoadError if that cannot be, for as long as nothing changes."""
    try:
        return _load(remote, volume, name, progress, pause)
    except OSError as error:
        if error.errno in _UNUSABLE:
            raise LoadError(f"the volume cannot be written: {error.strerror}", LoadFailure.VOLUME) from error
        raise


def _load(remote: Remote, volume: Path, name: str, progress: Progress, pause: Callable[[float], None]) -> Path:
    done, loading, record = volume / name, volume / f".{name}.loading", volume / f".{name}.files"
    if done.is_dir():
        return _arrived(done, progress)
    files = _retried(lambda: _sound(remote.files()), progress, pause)
    total = sum(file.size for file in files)
    progress.begin(_present(loading, files), total)
    with _lock(volume / f".{name}.lock", lambda: progress.reach(_present(loading, files)), progress, pause):
        if done.is_dir():
            return _arrived(done, progress)
        loading.mkdir(exist_ok=True)
        with progress.verifying():
            keep_only(files, loading, record)
        present = _present(loading, files)
        progress.begin(present, total)
        free = shutil.disk_usage(volume).free
        if free < total - present:
            raise _full(total - present, free)
        progress.enter("Downloading")
        _bring_all(remote, files, loading, progress, pause)
        loading.rename(done)
        record.unlink(missing_ok=True)
        _sync(volume)
    return _arrived(done, progress)


def _bring_all(
    remote: Remote, files: Sequence[RemoteFile], folder: Path, progress: Progress, pause: Callable[[float], None]
) -> None:
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        for each in as_completed(pool.submit(_bring, remote, file, folder, progress, pause) for file in files):
            each.result()
    finally:
        # After an error nobody waits for the other files, which may take hours: what is there of them is kept.
        pool.shutdown(wait=False, cancel_futures=True)


def _bring(remote: Remote, file: RemoteFile, folder: Path, progress: Progress, pause: Callable[[float], None]) -> None:
    """Download one file, from where an earlier loader left off, until it has its checksum."""
    path = folder / file.path
    if path.exists():
        return
    part = path.with_name(path.name + PART)
    part.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(CORRUPT_TRIES):
        _retried(lambda: _append(remote, file, part, progress), progress, pause)
        with progress.verifying():
            right = matches(part, file.checksum)
        if right:
            part.rename(path)
            _sync(part.parent)
            return
        progress.add(-part.stat().st_size)
        part.unlink()
        progress.failed(f"`{file.path}` came with other bytes than {file.checksum}; it is downloaded anew")
    told = f"`{file.path}` came {CORRUPT_TRIES} times with other bytes than {file.checksum}{doubt(file.checksum)}"
    raise LoadError(told, LoadFailure.CORRUPT)


def _append(remote: Remote, file: RemoteFile, part: Path, progress: Progress) -> None:
    part.touch()
    # Not at the end, wherever that is by now: one that has lost its lock would write behind what another has brought.
    with part.open("r+b") as out:
        have = out.seek(0, os.SEEK_END)
        if have > file.size:
            progress.add(file.size - have)
            out.truncate(file.size)
            have = out.seek(file.size)
        try:
            if have < file.size:
                for piece in remote.read(file, have):
                    out.write(piece[: file.size - have])
                    progress.add(min(len(piece), file.size - have))
                    have = min(have + len(piece), file.size)
            out.flush()
            os.fsync(out.fileno())
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise _full(file.size - have, 0) from error
            raise
    if have < file.size:
        raise TransientError(f"`{file.path}`: the connection ended after {have} of {file.size} bytes")


def _sound(files: Sequence[RemoteFile]) -> Sequence[RemoteFile]:
    folders = {parent for file in files for parent in PurePosixPath(file.path).parents}
    for file in files:
        path = PurePosixPath(file.path)
        if path.is_absolute() or ".." in path.parts or not path.name or path.name.endswith(PART):
            raise LoadError(f"the source has a file named `{file.path}`, which does not stay in its folder; rename it")
        if path in folders:
            raise LoadError(f"the source has a file and a folder named `{file.path}`; rename one of them")
    return files


def _present(folder: Path, files: Sequence[RemoteFile]) -> int:
    """Bytes of the files that are there, whole or in part."""
    found = 0
    for file in files:
        path = folder / file.path
        for each in (path, path.with_name(path.name + PART)):
            try:
                found += min(each.stat().st_size, file.size)
                break
            except FileNotFoundError:
                continue
    return found


@contextmanager
def _lock(
    path: Path, meanwhile: Callable[[], None], progress: Progress, pause: Callable[[float], None]
) -> Iterator[None]:
    with path.open("w") as file:
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                    raise LoadError(f"the volume takes no locks: {error.strerror}", LoadFailure.VOLUME) from error
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise
            progress.enter("Waiting")
            meanwhile()
            progress.failed(f"another loader has the lock of `{path.name}`; if none runs, the volume's server keeps it")
            pause(1.0)
        progress.failed("")
        yield


def _retried(work: Callable[[], T], progress: Progress, pause: Callable[[float], None]) -> T:
    """Try for ever: whoever watches sees that it stalls, and why. The log has each cause once."""
    wait, told = 1.0, ""
    while True:
        before, asked = progress.report()["bytes"], 0.0
        try:
            return work()
        except TransientError as error:
            asked = error.after
            if progress.report()["bytes"] > before:
                wait = 1.0
            progress.failed(str(error))
            if str(error) != told:
                told = str(error)
                logger.warning("%s; trying again", told)
        pause(max(wait, asked))
        wait = min(wait * 2, _LONGEST_PAUSE)


def _arrived(folder: Path, progress: Progress) -> Path:
    progress.failed("")
    progress.enter("Done")
    return folder


def _full(needed: int, free: int) -> LoadError:
    return LoadError(f"the volume is full: {needed} bytes more are needed and {free} are free", LoadFailure.VOLUME)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
