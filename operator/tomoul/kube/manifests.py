"""Files → resources: what `tomoul plan` and `tomoul local` read in the place of an API server."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tomoul.api.manifest import ManifestError, Parsed, Resource, parse_manifests
from tomoul.api.region import Region

ENDINGS = (".yaml", ".yml", ".json")
"""Of the files that are read in folders, as kubectl does."""
DEFAULT_NAMESPACE = "default"


def read_manifests(paths: Sequence[Path]) -> Parsed:
    """All resources in the files, and in those of the folders, `paths`. OSError if one cannot be read."""
    parsed = Parsed()
    for _, found in read_files(paths):
        parsed += found
    return parsed


def read_files(paths: Sequence[Path]) -> tuple[tuple[str, Parsed], ...]:
    """What each file holds, by its name; a resource that a second file declares again is an error there.

    A namespaced resource without a namespace is taken for one of `default`, as kubectl does.
    """
    seen: dict[tuple[str, str, str], str] = {}
    found: list[tuple[str, Parsed]] = []
    for path in files_of(paths):
        origin = str(path)
        try:
            parsed = parse_manifests(path.read_text(encoding="utf-8"), origin)
        except UnicodeDecodeError as error:
            message = f"is not UTF-8: {error.reason} at byte {error.start}"
            found.append((origin, Parsed(errors=(ManifestError(origin, 1, "", "", message),))))
            continue
        resources: list[Resource] = []
        repeated: list[ManifestError] = []
        for resource in map(_in_namespace, parsed.resources):
            identity = (resource.kind, resource.metadata.namespace, resource.metadata.name)
            if identity in seen:
                title = f"{resource.kind} {resource.metadata.name}"
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
    """The files in `paths`, and those of its folders that end as manifests do, each once."""
    for path in dict.fromkeys(paths):
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.suffix in ENDINGS and file.is_file())
        else:
            yield path
