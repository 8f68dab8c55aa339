"""Where a model's file is on this machine."""

import hashlib
import os
from importlib.metadata import distribution
from pathlib import Path

TINY = "tiny.gguf"
"""The file name for which the tiny model is made."""


class NotLocalError(Exception):
    """Something cannot run on this machine; the message says why, for a person."""


def models_folder() -> Path:
    """Folder of this user's local models: `$XDG_CACHE_HOME/tomoul/models`, by default below `~/.cache`."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "tomoul" / "models"


def local_file(path: str, folder: Path) -> Path:
    """The file for `source.file.path`: the path itself if it exists, else its last component in `folder`.

    Raises NotLocalError, naming what to put where. A missing `tiny.gguf` is made.
    """
    if Path(path).is_file():
        return Path(path)
    placed = folder / Path(path).name
    if placed.is_file():
        return placed
    if placed.name == TINY:
        return _tiny(folder)
    raise NotLocalError(f"`{path}` is not on this machine; put the file into {folder}")


def wheel_image() -> str:
    """The name of an image that would hold what engines run from here: llama.cpp's wheel, by a digest of its files."""
    files = distribution("xllamacpp").read_text("RECORD") or ""
    return f"xllamacpp@sha256:{hashlib.sha256(files.encode()).hexdigest()}"


def _tiny(folder: Path) -> Path:
    # Another version of its maker makes another model.
    version = hashlib.sha256((Path(__file__).parent / "tiny_gguf.py").read_bytes()).hexdigest()[:12]
    made = folder / f"tiny-{version}.gguf"
    if not made.is_file():
        from tomoul.local.tiny_gguf import write_tiny_gguf  # numpy is slow to import, and rarely needed

        write_tiny_gguf(made)
    return made
