"""Environment of engines: what the operator sets, and what a user may not."""

from collections.abc import Mapping

from tomoul.api.conditions import Reason
from tomoul.api.modeldeployment import ModelDeploymentSpec
from tomoul.plan.engines.base import Refusal

_FOLDERS = "the image's own folders belong to root, so the operator says where to write"
_TOKEN = "`spec.source.hf.token` names the Secret"  # noqa: S105
_RESERVED = {
    "HOME": _FOLDERS,
    "USER": _FOLDERS,
    "HF_HOME": _FOLDERS,
    "HF_TOKEN": _TOKEN,
    "HUGGING_FACE_HUB_TOKEN": _TOKEN,
    "HF_HUB_OFFLINE": "the weights of `spec.source` are there when the engine starts",
}


def reserved_variable(spec: ModelDeploymentSpec, reserved: Mapping[str, str]) -> Refusal | None:
    """The first of `spec.engine.env` that sets what a promise rests on.

    `reserved` maps names, or their beginnings with a `*` behind, to who sets them.
    """
    everywhere = dict(_RESERVED) | dict(reserved)
    for index, variable in enumerate(spec.engine.env):
        owner = everywhere.get(variable.name) or next(
            (why for name, why in everywhere.items() if name.endswith("*") and variable.name.startswith(name[:-1])), ""
        )
        if owner:
            message = f"`{variable.name}` is not allowed: {owner}; remove it"
            return Refusal(Reason.UNSUPPORTED_BY_ENGINE, f"spec.engine.env[{index}].name", message)
    return None
