"""Leftovers: what an earlier loader left of a download, of which only files stay that the source has now.

A branch, a tag or a folder of a bucket may have moved since: files of two revisions are no model, though each had its
checksum once.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tomoul.loader.checksum import matches
from tomoul.loader.remote import RemoteFile

PART = ".part"
"""Ending of a file that is not whole yet."""


def keep_only(files: Sequence[RemoteFile], folder: Path, record: Path) -> None:
    """Remove from `folder` what is of none of `files`; `record` keeps which they are, for the next loader.

    Whole files of which no record says what they are have to have their checksums. Raises OSError.
    """
    now = {file.path: file.checksum for file in files}
    before = _recorded(record)
    if before == now:
        return
    for path in [each for each in folder.rglob("*") if each.is_file()]:
        name, whole = path.relative_to(folder).as_posix(), not path.name.endswith(PART)
        wanted, had = now.get(name.removesuffix(PART)), before.get(name.removesuffix(PART))
        if wanted is None or (had != wanted and (had is not None or (whole and not matches(path, wanted)))):
            path.unlink()
    temporary = record.with_name(record.name + PART)
    temporary.write_text(json.dumps(now))
    temporary.replace(record)


def _recorded(record: Path) -> Mapping[str, object]:
    try:
        found = json.loads(record.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
