"""The YAML files that local mode serves: read as a whole, and again whenever one of them changes."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from watchfiles import Change, awatch

from tomoul.kube.manifests import ENDINGS


async def changes(paths: Sequence[Path]) -> AsyncIterator[None]:
    """An item after each change of the files, or of the YAML files in the folders, `paths`.

    And one in any case once they are watched: nobody else hears of a change between the first reading and that.
    """
    folders = {path for path in paths if path.is_dir()}
    files = {path.resolve() for path in paths if not path.is_dir()}

    def concerns(_change: Change, changed: str) -> bool:
        path = Path(changed)
        return path.resolve() in files or (path.suffix in ENDINGS and any(f.resolve() in path.parents for f in folders))

    # A file's folder is watched in its place: an editor that saves by renaming would take the watch away.
    roots = folders | {path.parent for path in files}
    begun = False
    async for found in awatch(
        *roots, watch_filter=concerns, debounce=50, step=10, rust_timeout=500, yield_on_timeout=True
    ):
        if found or not begun:
            yield
        begun = True
