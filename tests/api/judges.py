"""The API server as a judge of objects: nothing is stored."""

import re

from tests.api.cases import Object, collection
from tests.controlplane.api import ApiError
from tests.controlplane.harness import ControlPlane


def create(control_plane: ControlPlane, obj: Object) -> Object:
    return control_plane.api.create(collection(obj), obj, dryRun="All", fieldValidation="Strict")


def causes(refusal: ApiError) -> list[tuple[str, str]]:
    """Field and message of everything that the API server found wrong."""
    found = []
    for cause in refusal.body.get("details", {}).get("causes", ()):
        # A rule on metadata names its field in the message: the API server has no path for it.
        named = re.search(r"`(metadata\.\w+)`", cause["message"])
        found.append((named[1] if named else cause["field"], cause["message"]))
    found += [(field, f"{what} field") for what, field in re.findall(r'(\w+) field "([^"]+)"', refusal.body["message"])]
    return found
