"""Field errors: what pydantic found wrong, in the words and by the paths of the API server."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic_core import ErrorDetails

from tomoul.api.crd import root_schema
from tomoul.api.meta import ApiModel
from tomoul.api.rules import VALIDATIONS, is_immutable


class FieldError(NamedTuple):
    """One thing that is wrong with an object."""

    field: str
    """Path such as `spec.regions[1].name`; empty for the object as a whole."""
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


def field_errors(model: type[ApiModel], details: ErrorDetails) -> Iterator[FieldError]:
    """What one error says of which field of the model; nothing if another error says it better."""
    path, node = _follow(root_schema(model), details["loc"])
    kind, given = details["type"], details["input"]
    violations = details.get("ctx", {}).get("violations")
    if violations is not None:
        for field, message in violations:
            yield FieldError(path + field if field.startswith("[") else ".".join(filter(None, (path, field))), message)
    elif kind == "missing":
        yield FieldError(path, "is required")
    elif kind == "extra_forbidden":
        known = list(node.get("properties", {}))
        yield FieldError(path, f"is unknown;{suggestion(details['loc'][-1], known)}".removesuffix(";"))
    elif kind == "model_type":
        # The value is not repeated: where a Secret's name belongs somebody may have put the secret.
        fields = ", ".join(f"`{name}`" for name in node.get("properties", {}))
        yield FieldError(path, f"must be an object{f' with fields out of {fields}' if fields else ''}")
    elif kind in ("too_short", "too_long", "string_too_short", "string_too_long"):
        if (size := _wrong_size(given, details["ctx"])) is not None:
            yield FieldError(path, size)
    else:
        message = details["msg"].replace("Input should be", "must be", 1)
        yield FieldError(path, f"{message}{but_not(given) if kind != 'check' else ''}{_hint(given, kind, node)}")


def unknown_nulls(model: type[ApiModel], obj: Mapping[str, Any]) -> Iterator[FieldError]:
    """Fields of `spec` that are null and unknown: only a known one counts as absent."""
    locations = list(_nulls(obj.get("spec"), ("spec",)))
    schema = root_schema(model) if locations else {}
    for location in locations:
        _, node = _follow(schema, location[:-1])
        known = node.get("properties")
        if known is not None and location[-1] not in known:
            path, _ = _follow(schema, location)
            yield FieldError(path, f"is unknown;{suggestion(location[-1], known)}")


def _nulls(value: object, location: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if value is None:
        yield location
    entries = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in entries:
        yield from _nulls(inner, (*location, name))


def _wrong_size(given: Any, limits: Mapping[str, Any]) -> str | None:
    """What is wrong with the length of a text or a list; None where entries lack that have errors of their own."""
    what = "character" if isinstance(given, str) else "item"
    bound, limit = ("least", limits["min_length"]) if "min_length" in limits else ("most", limits["max_length"])
    if bound == "least" and len(given) >= limit:
        return None
    return f"must have at {bound} {limit} {what}{'' if limit == 1 else 's'}, not {len(given)}"


def _follow(node: Mapping[str, Any], location: Sequence[str | int]) -> tuple[str, Mapping[str, Any]]:
    """The path of a location as the API server writes it, and the schema of the last object on it that is known."""
    path = ""
    for part in location:
        is_map = "additionalProperties" in node
        path += f"[{part}]" if isinstance(part, int) or is_map else f".{part}"
        inner = node.get("additionalProperties") or node.get("items") or node.get("properties", {}).get(part)
        node = inner or node
    return path.removeprefix("."), node


def suggestion(given: object, known: Sequence[str] | Mapping[str, object]) -> str:
    """Which of the known names was meant, or all of them."""
    close = difflib.get_close_matches(str(given), list(known), 1)
    return f" did you mean `{close[0]}`?" if close else f" known are {', '.join(f'`{name}`' for name in known)}"


def but_not(given: object) -> str:
    """The value that was given, if it is a short one."""
    return "" if given is None or isinstance(given, dict | list) else f", not {json.dumps(given)[:200]}"


def _hint(given: object, kind: str, node: Mapping[str, Any]) -> str:
    """What YAML made of a word without quotes, and which form the field has."""
    if isinstance(given, bool) and kind in ("enum", "string_type", "literal_error"):
        return ": YAML reads Off, On, No, N, Yes and Y as booleans unless they are in quotes"
    if isinstance(given, int | float) and kind == "string_type":
        forms = [each["message"] for each in node.get(VALIDATIONS, ()) if not is_immutable(each)]
        return "; ".join([": YAML reads it as a number unless it is in quotes", *forms])
    return ""
