"""Files → resources: what `tomoul plan` and `tomoul local` read in the place of an API server."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tomoul.api.manifest import ManifestError, Parsed, Resource, parse_manifests
from tomoul.api.region import Region

ENDINGS = (".yaml", ".yml", ".json")
"""Of the files that are read in folders, as kubectl does."""
DEFAULT_NAMESPACE = "default"
STANDARD_INPUT = Path("-")


def read_manifests(paths: Sequence[Path]) -> Parsed:
    """All resources in the files, and in those of the folders, `paths`. OSError if one cannot be read."""
    parsed = Parsed()
    for _, found in read_files(paths):
        parsed += found
    return parsed


def read_files(paths: Sequence[Path], *, stored: bool = False) -> tuple[tuple[str, Parsed], ...]:
    """What each file holds, by its name; a resource that a second file declares again is an error there.

    A namespaced resource without a namespace is taken for one of `default`, as kubectl does. With `stored`, what an API
    server has stored may have fields that are not known here. OSError if one cannot be read.
    """
    seen: dict[tuple[str, str, str], str] = {}
    found: list[tuple[str, Parsed]] = []
    for path in files_of(paths):
        origin = "standard input" if path == STANDARD_INPUT else str(path)
        try:
            parsed = parse_manifests(text_of(path), origin, stored=stored)
        except UnicodeDecodeError as error:
            message = f"is not UTF-8: {error.reason} at byte {error.start}"
            found.append((origin, Parsed(errors=(ManifestError(origin, 1, "", "", message),))))
            continue
        resources: list[Resource] = []
        repeated: list[ManifestError] = []
        for resource in map(_in_namespace, parsed.resources):
            identity = (resource.kind, resource.metadata.namespace, resource.metadata.name)
            if identity in seen:
                title = f"{resource.kind} {'/'.join(filter(None, identity[1:]))}"
                message = f"is declared twice, first in {seen[identity]}; remove one of them"
                repeated.append(ManifestError(origin, 0, title, "metadata.name", message))
            else:
                seen[identity] = origin
                resources.append(resource)
        errors = (*parsed.errors, *repeated)
        found.append((origin, replace(parsed, resources=tuple(resources), errors=errors)))
    return tuple(found)


def _in_namespace(resource: Resource) -> Resource:
    if isinstance(resource, Region) or resource.metadata.namespace:
        return resource
    metadata = resource.metadata.model_copy(update={"namespace": DEFAULT_NAMESPACE})
    return resource.model_copy(update={"metadata": metadata})


def files_of(paths: Sequence[Path]) -> Iterator[Path]:
    """The files in `paths`, and those of its folders that end as manifests do, each once.

    A link to what is not there counts as a file, so that reading it fails: nobody would else miss what it meant.
    """
    seen: set[Path] = set()
    for path in paths:
        found = sorted(filter(_is_manifest, path.rglob("*"))) if path.is_dir() else [path]
        yield from (file for file in found if file not in seen)
        seen.update(found)


def _is_manifest(file: Path) -> bool:
    return file.suffix in ENDINGS and (file.is_file() or not file.exists())


def text_of(path: Path) -> str:
    """A file's text, without the mark that some editors begin it with. OSError and UnicodeDecodeError."""
    content = sys.stdin.buffer.read() if path == STANDARD_INPUT else path.read_bytes()
    return content.decode("utf-8-sig")
