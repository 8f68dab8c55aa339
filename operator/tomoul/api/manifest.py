"""Manifests → resources: what a file, or the API server, says of Regions, ModelDeployments and Tenants.

Pure, and as strict as the API server: unknown fields and wrong types are refused, and every refusal names the field in
the outside spelling, such as `spec.regions[1].name`. Of what the API server returns, unknown fields are ignored: it has
checked them already, by CRDs that may be newer than this program.
"""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tomoul.api.fielderror import FieldError, but_not, field_errors, suggestion, unknown_nulls
from tomoul.api.meta import API_VERSION, GROUP, METADATA_FIELDS, ObjectMeta
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.region import Region
from tomoul.api.tenant import Tenant
from tomoul.api.yamltext import YamlError, documents

Resource = Region | ModelDeployment | Tenant
KINDS: Mapping[str, type[Region] | type[ModelDeployment] | type[Tenant]] = {
    "Region": Region,
    "ModelDeployment": ModelDeployment,
    "Tenant": Tenant,
}


class InvalidResource(Exception):  # noqa: N818 - a state of the object, not a fault of ours
    """An object that is none of the resources, with all its errors."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(map(str, errors)))
        self.errors = tuple(errors)


@dataclass(frozen=True)
class ManifestError:
    """One thing that is wrong with a file."""

    origin: str
    """File, as the reader named it."""
    document: int
    """Number of the YAML document in the file, from 1; 0 for the file as a whole."""
    resource: str
    """Kind and name, such as `ModelDeployment models/phi-4`; empty where the document is no object."""
    field: str
    message: str

    def __str__(self) -> str:
        where = [self.origin, f"document {self.document}" if self.document else "", self.resource, self.field]
        return ": ".join([part for part in where if part] + [self.message])


@dataclass(frozen=True)
class Parsed:
    """What manifests hold."""

    resources: tuple[Resource, ...] = ()
    errors: tuple[ManifestError, ...] = ()
    ignored: tuple[str, ...] = ()
    """Objects of other groups, such as `examples/tiny.yaml: ConfigMap notes`."""
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Labels of Namespaces, by name, from all declarations: one label says where models may run."""

    def __add__(self, other: "Parsed") -> "Parsed":
        return Parsed(
            self.resources + other.resources,
            self.errors + other.errors,
            self.ignored + other.ignored,
            {
                name: {**self.namespaces.get(name, {}), **other.namespaces.get(name, {})}
                for name in {**self.namespaces, **other.namespaces}
            },
        )


def parse_manifests(text: str, origin: str, *, stored: bool = False) -> Parsed:
    """Resources, errors and ignored objects of a text with any number of YAML documents.

    With `stored`, what an API server has stored may have fields that are not known here.
    """
    parsed = Parsed()
    number = 0
    try:
        for number, document in enumerate(documents(text), 1):
            parsed += _parse_document(document, origin, number, stored)
    except YamlError as error:
        return parsed + Parsed(errors=(ManifestError(origin, number + 1, "", "", str(error)),))
    except RecursionError:
        message = "contains itself, by an alias such as `*name`, or is nested too deep"
        return parsed + Parsed(errors=(ManifestError(origin, number, "", "", message),))
    return parsed


def _parse_document(document: object, origin: str, number: int, stored: bool) -> Parsed:
    if document is None:
        return Parsed()
    if not isinstance(document, dict):
        message = "must be an object with `apiVersion`, `kind`, `metadata` and `spec`"
        return Parsed(errors=(ManifestError(origin, number, "", "", message),))
    if str(document.get("kind")).endswith("List") and isinstance(document.get("items"), list):
        parsed = Parsed()
        for item in document["items"]:
            parsed += _parse_document(item, origin, number, stored)
        return parsed
    meta = document.get("metadata")
    names = [meta.get("namespace"), meta.get("name")] if isinstance(meta, dict) else []
    title = f"{document.get('kind', '')} {'/'.join(str(each) for each in names if each)}".strip()
    group = str(document.get("apiVersion", "")).partition("/")[0]
    # What is nearly our group is a slip, and not passed over as somebody else's.
    if "apiVersion" in document and "kind" in document and not difflib.get_close_matches(group, [GROUP], 1, 0.8):
        if (document["apiVersion"], document["kind"]) == ("v1", "Namespace"):
            return Parsed(namespaces=_namespace(document))
        return Parsed(ignored=(f"{origin}: {title}",))
    try:
        seen = stored and isinstance(meta, dict) and "resourceVersion" in meta
        return Parsed(resources=(parse_resource(document, ignore_unknown=seen),))
    except InvalidResource as error:
        return Parsed(errors=tuple(ManifestError(origin, number, title, *each) for each in error.errors))


def _namespace(document: Mapping[str, Any]) -> Mapping[str, Mapping[str, str]]:
    try:
        meta = ObjectMeta.model_validate(_without_nulls(document.get("metadata")))
    except ValidationError:
        return {}  # the API server's to judge
    return {meta.name: meta.labels}


def parse_resource(obj: Mapping[str, Any], *, ignore_unknown: bool = False) -> Resource:
    """The resource that an object is. Raises InvalidResource with all that is wrong.

    A status may hold more than is known here, with `ignore_unknown` the rest too; a status that cannot be read at all
    counts as empty.
    """
    extra: Literal["ignore"] | None = "ignore" if ignore_unknown else None
    if obj.get("apiVersion") != API_VERSION:
        raise InvalidResource([FieldError("apiVersion", f"must be `{API_VERSION}`{but_not(obj.get('apiVersion'))}")])
    kind = obj.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        close = difflib.get_close_matches(str(kind), list(KINDS), 1)
        hint = f"; did you mean `{close[0]}`?" if close else ""
        if kind == "RoutingTable":
            hint = "; RoutingTables are written by the operator"
        message = f"must be Region, ModelDeployment or Tenant{but_not(kind)}{hint}"
        raise InvalidResource([FieldError("kind", message)])
    pruned = _without_nulls(obj)
    unknown = [] if ignore_unknown else [*_unknown_metadata(pruned.get("metadata")), *unknown_nulls(KINDS[kind], obj)]
    errors: list[ErrorDetails] = []
    for candidate in (pruned, {key: value for key, value in pruned.items() if key != "status"}):
        try:
            # The API server neither converts types nor knows the Python names of the fields.
            resource = KINDS[kind].model_validate_json(
                json.dumps(candidate), strict=True, extra=extra, by_alias=True, by_name=False
            )
            if not unknown:
                return resource
            errors = []
        except ValidationError as error:
            errors = error.errors(include_url=False)
    fields = [each for details in errors for each in field_errors(KINDS[kind], details)]
    if "generateName" in (pruned.get("metadata") or {}):
        # kubectl says the same.
        fields = [
            each._replace(message=f"{each.message}: `generateName` cannot be applied, only created")
            if each == ("metadata.name", "is required")
            else each
            for each in fields
        ]
    raise InvalidResource(sorted([*unknown, *fields]))


def _unknown_metadata(metadata: object) -> Iterator[FieldError]:
    """Fields of no Kubernetes object's metadata; those that are not read here are the API server's to judge."""
    for name in metadata if isinstance(metadata, Mapping) else ():
        if name not in METADATA_FIELDS:
            yield FieldError(f"metadata.{name}", f"is unknown;{suggestion(name, METADATA_FIELDS)}")


def _without_nulls(value: Any) -> Any:
    """What the API server sees: a field that is null counts as absent."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value
