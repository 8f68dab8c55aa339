"""Revision: a short hash by which the pods of one pod template are told from those of another."""

import hashlib
import json
from typing import Any

from tomoul.api.meta import LABEL_REVISION
from tomoul.plan.world import Manifest

_LENGTH = 10


def stamped(template: Manifest) -> dict[str, Any]:
    """A pod template with its revision as a label."""
    text = json.dumps(template, sort_keys=True, separators=(",", ":"))
    revision = hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]
    metadata = template["metadata"]
    return {**template, "metadata": {**metadata, "labels": {**metadata["labels"], LABEL_REVISION: revision}}}


def revision_of(template: Manifest) -> str:
    """The revision that a template carries; empty if it has none."""
    return str(template.get("metadata", {}).get("labels", {}).get(LABEL_REVISION, ""))
