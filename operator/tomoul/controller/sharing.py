"""Sharing: parts of parsed resources that are equal become one object.

The operator keeps each ModelDeployment and each RoutingTable parsed. Of 1,500 models most conditions, timeouts and
capabilities are the same, and so are the sets in which pydantic remembers which fields were given: unshared they were
two thirds of what a model takes. All is immutable, so nobody can tell.
"""

from typing import TypeVar

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)

_MOST = 4096
"""Parts that are remembered; when there are more, all are forgotten. What is shared already stays so."""
_parts: dict[BaseModel, BaseModel] = {}
_given: dict[frozenset[str], set[str]] = {}


def shared(resource: M) -> M:
    """The resource itself, which was just parsed and which nobody else has, with its parts replaced by equal ones."""
    _share(resource)
    return resource


def _share(model: BaseModel) -> BaseModel:
    fields, is_leaf = model.__dict__, True
    for name, value in fields.items():
        if isinstance(value, BaseModel):
            fields[name], is_leaf = _share(value), False
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            fields[name], is_leaf = tuple(_share(each) for each in value), False
    given = model.__pydantic_fields_set__
    object.__setattr__(model, "__pydantic_fields_set__", _given.setdefault(frozenset(given), given))
    if not is_leaf:
        return model
    if len(_parts) >= _MOST:
        _parts.clear()
    try:
        return _parts.setdefault(model, model)
    except TypeError:  # it has a mapping, and so no hash
        return model
