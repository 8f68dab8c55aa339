"""Version of an engine: what a promise is judged by."""

import re
from functools import lru_cache
from typing import NamedTuple

from tomoul.api.modeldeployment import ModelDeploymentSpec

_FORM = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?:[.-]?(a|b|rc|dev)\d)?")


class Version(NamedTuple):
    """Three numbers; one before its release, such as `0.9.0rc1`, is older than `0.9.0`."""

    major: int
    minor: int
    patch: int
    released: bool = True

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}{'' if self.released else ' (before its release)'}"


def engine_version(spec: ModelDeploymentSpec, default: str) -> Version | None:
    """The version that the spec says, else its image's tag, else `default`; None for an image without either."""
    engine = spec.engine
    if engine.version is not None:
        return parsed(engine.version)
    return parsed(default) if engine.image is None else image_version(engine.image)


def contradiction(spec: ModelDeploymentSpec) -> str:
    """What to tell of a spec whose image's tag names another version than it says; empty where nothing contradicts.

    What the spec says counts all the same: a tag may number somebody's own builds.
    """
    engine = spec.engine
    if engine.version is None or engine.image is None:
        return ""
    said, tagged = parsed(engine.version), image_version(engine.image)
    if tagged is None or tagged == said:
        return ""
    return (
        f"spec.engine.version: promises go by `{engine.version}`, and the tag of `spec.engine.image` names {tagged}: "
        "if that is what runs, leave `version` out"
    )


def image_version(image: str) -> Version | None:
    """Version that an image's tag names, such as 0.5.23 for `…:v0.5.23-cu129`, or None if it names none."""
    return parsed(image.rsplit("/", maxsplit=1)[-1].partition("@")[0].partition(":")[2])


@lru_cache(maxsize=256)
def parsed(text: str) -> Version | None:
    """The version that `text` begins with, or None."""
    found = _FORM.match(text)
    return Version(int(found[1]), int(found[2]), int(found[3]), found[4] is None) if found else None
