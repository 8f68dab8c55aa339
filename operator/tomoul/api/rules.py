"""Rules on what people write, each said twice: in CEL for the API server, in Python for everything offline.

A rule on one value is a `Check` beside its type; a rule on several fields is a method with the decorator `rule`.
Both end up in the CRD as `x-kubernetes-validations`, and pydantic calls their Python half. tests/api/cases/ holds the
two halves together: every case goes to both.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any, TypeVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

VALIDATIONS = "x-kubernetes-validations"
Method = TypeVar("Method", bound=Callable[[Any], bool])


@dataclass(frozen=True)
class Rule:
    """A rule on several fields of one object."""

    cel: str
    message: str
    field: str
    """Path from the object to the field at fault, in the outside spelling, such as `routing.fallback`."""
    holds: Callable[[Any], bool]
    given: str | None = None
    """Path to the list of texts that is at fault, which the message then repeats.

    Only for what the schema bounds: of numbers, and of what an expression picks out, the API server takes the text for
    one without end, whose cost it refuses.
    """

    def told(self, model: object) -> str:
        """What to say of an object that breaks it."""
        if self.given is None:
            return self.message
        return f"{self.message}; given: `{', '.join(reduce(getattr, self.given.split('.'), model))}`"  # type: ignore[arg-type]

    def as_validation(self) -> Mapping[str, str]:
        """The entry of `x-kubernetes-validations`."""
        if self.field.startswith("metadata."):
            # The API server allows no path into metadata, so the message has to name the field.
            return {"rule": self.cel, "message": f"`{self.field}` {self.message}"}
        path = {"fieldPath": f".{self.field}"} if self.field else {}
        if self.given is not None:
            words = json.dumps(f"{self.message}; given: `")
            path["messageExpression"] = f"{words} + self.{self.given}.join(', ') + '`'"
        return {"rule": self.cel, "message": self.message, **path}


def rule(cel: str, *, field: str, message: str, given: str | None = None) -> Callable[[Method], Method]:
    """Make a method that returns whether the object is right the twin of a CEL rule; `given` as in Rule."""

    def mark(method: Method) -> Method:
        setattr(method, "__rule__", Rule(cel, message, field, method, given))  # noqa: B010
        return method

    return mark


@cache
def rules_of(model: type) -> tuple[Rule, ...]:
    """The rules of a class and its bases, in the order in which they are written."""
    members = [member for cls in reversed(model.__mro__) for member in vars(cls).values()]
    found = [getattr(member, "__rule__", None) for member in members]
    return tuple(each for each in found if isinstance(each, Rule))


def broken_rules(model: object, rules: tuple[Rule, ...]) -> PydanticCustomError | None:
    """An error whose context `violations` lists (field, message) of every rule that does not hold, or None."""
    violations = [(each.field, each.told(model)) for each in rules if not each.holds(model)]
    if not violations:
        return None
    text = "; ".join(f"{field}: {message}" for field, message in violations)
    return PydanticCustomError("rules", "{text}", {"text": text, "violations": violations})


@dataclass(frozen=True)
class Check:
    """A rule on one value, put beside its type with Annotated."""

    cel: str
    message: str
    holds: Callable[[Any], bool]

    def __get_pydantic_core_schema__(self, source: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate by `holds` after the type's own validation."""

        def validate(value: object) -> object:
            if not self.holds(value):
                raise PydanticCustomError("check", "{message}", {"message": self.message})
            return value

        return core_schema.no_info_after_validator_function(validate, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Add the CEL rule to the type's schema."""
        schema = dict(handler(core))
        return {**schema, VALIDATIONS: [*schema.get(VALIDATIONS, ()), {"rule": self.cel, "message": self.message}]}


def form(pattern: str, message: str) -> Check:
    """The whole string matches `pattern`, which Python's and RE2's syntax have in common and which has no quote."""
    compiled = re.compile(pattern)
    return Check(f"self.matches(r'^(?:{pattern})$')", message, lambda value: compiled.fullmatch(value) is not None)


@dataclass(frozen=True, eq=False)
class Schema:
    """Keys added to the type's schema in the CRD that have no meaning offline."""

    keys: Mapping[str, Any]

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Add the keys; lists of validations are joined."""
        schema = dict(handler(core))
        joined = [*schema.get(VALIDATIONS, ()), *self.keys.get(VALIDATIONS, ())]
        return {**schema, **self.keys, **({VALIDATIONS: joined} if joined else {})}


INT64 = Schema({"format": "int64"})


_IMMUTABLE = "self == oldSelf"


def immutable(message: str) -> Schema:
    """The value cannot change once the object exists."""
    return Schema({VALIDATIONS: [{"rule": _IMMUTABLE, "message": message}]})


def is_immutable(validation: Mapping[str, str]) -> bool:
    """Whether an entry of `x-kubernetes-validations` is that of `immutable`."""
    return validation["rule"] == _IMMUTABLE


@dataclass(frozen=True)
class ListBy:
    """A list of objects that is a map by `key`: keys are unique, and server-side apply merges by them."""

    key: str

    def __get_pydantic_core_schema__(self, source: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Refuse two entries with the same key."""
        return core_schema.no_info_after_validator_function(self._validate, handler(source))

    def _validate(self, entries: tuple[object, ...]) -> tuple[object, ...]:
        _refuse_repeated([getattr(entry, self.key) for entry in entries], self.key)
        return entries

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Add the list type."""
        return {**handler(core), "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [self.key]}


@dataclass(frozen=True)
class ListSet:
    """A list of scalars whose order means nothing and which are unique."""

    def __get_pydantic_core_schema__(self, source: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Refuse repeated values."""
        return core_schema.no_info_after_validator_function(self._validate, handler(source))

    def _validate(self, entries: tuple[object, ...]) -> tuple[object, ...]:
        _refuse_repeated(list(entries), "")
        return entries

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Add the list type."""
        return {**handler(core), "x-kubernetes-list-type": "set"}


def _refuse_repeated(values: list[Any], key: str) -> None:
    for index, value in enumerate(values):
        if value in values[:index]:
            field = f"[{index}]"
            what = f'Duplicate value: {key + " " if key else ""}"{value}"; each may be listed once'
            raise PydanticCustomError("repeated", "{text}", {"text": what, "violations": [(field, what)]})
