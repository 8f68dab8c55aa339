"""The files that `tomoul plan` compares: what each side holds, and what is wrong with it as a whole."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from tomoul.api.manifest import Parsed, Resource
from tomoul.kube.manifests import ENDINGS, STANDARD_INPUT, files_of, read_files
from tomoul.plan.gather import gather
from tomoul.plan.settings import Settings
from tomoul.plan.world import Key, World

_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml")


class Files(NamedTuple):
    """What a set of files holds."""

    world: World
    origins: Mapping[tuple[str, Key], str]
    """File by kind and key."""
    errors: tuple[str, ...]
    ignored: tuple[str, ...]
    """Objects of other API groups."""
    empty: bool
    """Whether there is no object at all."""


def read(paths: Sequence[Path], settings: Settings, *, stored: bool = False) -> Files:
    """Read one side; `stored`, it may be what an API server has. Raises ClickException for what cannot be read."""
    try:
        files = read_files(paths, stored=stored)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error
    origins = {(str(each.kind), key_of(each)): origin for origin, parsed in files for each in parsed.resources}
    parsed = sum((each for _, each in files), Parsed())
    world = gather(parsed.resources, settings, parsed.namespaces)
    errors = tuple(map(str, parsed.errors))
    empty = not (parsed.resources or parsed.ignored or parsed.namespaces or errors)
    return Files(world, origins, errors, parsed.ignored, empty)


def key_of(resource: Resource) -> Key:
    """The key of a resource in its World."""
    return Key(resource.metadata.namespace, resource.metadata.name)


def without_objects(paths: Sequence[Path], files: Files) -> list[str]:
    """What holds nothing: a slip that would otherwise look like nothing to do, or like all to be removed."""
    endings = ", ".join(f"`{ending}`" for ending in ENDINGS)
    folders = [f"{path}: holds no file that ends in {endings}" for path in paths if not any(files_of([path]))]
    if folders or not files.empty:
        return folders
    names = ", ".join("standard input" if path == STANDARD_INPUT else str(path) for path in paths)
    return [f"{names}: there is no object in it; has what writes it failed?"]


def unrendered(paths: Sequence[Path]) -> list[str]:
    """Folders that Kustomize would change before they are applied, which is not done here."""
    found = [file for file in files_of(paths) if file.name in _KUSTOMIZATIONS]
    return [
        f"{file}: is not looked at, and what it changes is not planned: "
        f"`kubectl kustomize {file.parent} | tomoul plan -` is"
        for file in found
    ]
