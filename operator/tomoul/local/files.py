"""Files of local mode: those that it serves, again whenever one of them changes, and where its own are."""

import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from watchfiles import Change, awatch

from tomoul.kube.manifests import ENDINGS

_LONGEST_FOLDER = 80
"""Characters: a Unix socket's path has 107 at most, and the names of those in it are short."""


def watches(paths: Sequence[Path]) -> list[AsyncIterator[None]]:
    """One for the folders in `paths` with all that is in them, one for its files; each has an item after a change."""
    folders = {path for path in paths if path.is_dir()}
    files = {path.resolve() for path in paths if not path.is_dir()}

    def is_named(_change: Change, changed: str) -> bool:
        return Path(changed).resolve() in files

    def is_manifest(_change: Change, changed: str) -> bool:
        return Path(changed).suffix in ENDINGS

    # A file's folder is watched in its place: an editor that saves by renaming would take the watch away. Not what is
    # in that folder's folders: it may be a home.
    found = [_changes(folders, is_manifest, recursive=True)] if folders else []
    return found + ([_changes({path.parent for path in files}, is_named, recursive=False)] if files else [])


async def _changes(
    roots: set[Path], concerns: Callable[[Change, str], bool], *, recursive: bool
) -> AsyncIterator[None]:
    """An item after each change that concerns, and one once they are watched, in any case.

    Nobody else hears of a change between the first reading and that.
    """
    begun = False
    async for found in awatch(
        *roots,
        watch_filter=concerns,
        debounce=50,
        step=10,
        rust_timeout=500,
        yield_on_timeout=True,
        recursive=recursive,
    ):
        if found or not begun:
            yield
        begun = True


def socket_folder() -> Path:
    """A new folder for logs and sockets, in `/tmp` where that of temporary files is too long for a socket's path."""
    found = Path(tempfile.mkdtemp(prefix="tomoul-"))
    if len(str(found)) <= _LONGEST_FOLDER:
        return found
    found.rmdir()
    return Path(tempfile.mkdtemp(prefix="tomoul-", dir="/tmp"))
