"""Selection: which files of a source an engine needs."""

import re
from collections.abc import Sequence

from tomoul.loader.remote import LoadError
from tomoul.plan.loading import LoadFailure

_SHARD = re.compile(r"(?P<stem>.*)-\d{5}-of-(?P<count>\d{5})(?P<end>\.[a-z]+)")
# The same weights in other formats, which no engine reads where there are safetensors.
_OTHER_FORMATS = (".bin", ".pt", ".pth", ".h5", ".msgpack", ".ot", ".onnx", ".gguf", ".tflite")


def nothing_wanted(what: str, file: str | None, else_what: str = "weights") -> LoadError:
    """The error of a source in which `wanted` finds nothing."""
    return LoadError(f"{what} has no {f'file `{file}`' if file else else_what}", LoadFailure.NOT_FOUND)


def wanted(names: Sequence[str], file: str | None) -> tuple[str, ...]:
    """Of all files those to download: one with its sibling shards, or all that an engine may read."""
    if file is not None:
        shard = _SHARD.fullmatch(file)
        if shard is None:
            return (file,) if file in names else ()
        form = re.compile(rf"{re.escape(shard['stem'])}-\d{{5}}-of-{shard['count']}{re.escape(shard['end'])}")
        found = tuple(sorted(name for name in names if form.fullmatch(name)))
        return found if file in found else ()
    plain = [name for name in names if not any(part.startswith(".") for part in name.split("/"))]
    if any(name.endswith(".safetensors") for name in plain):
        plain = [name for name in plain if not name.endswith(_OTHER_FORMATS)]
    return tuple(sorted(plain))
