"""CustomResourceDefinitions made from the models.

pydantic emits JSON Schema; Kubernetes takes structural schemas, which have no `$ref`, `title`, `const`, `anyOf` with
null or `additionalProperties: false`. Optional fields become absent ones, and defaults go into the spec only, so that
what is stored shows the policy that holds. Inside lists they are only told: who compares what is stored with a manifest
compares lists as a whole (`kubectl apply`, Argo CD), and of what the API server adds there would see a change for ever.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import yaml

from tomoul.api.meta import GROUP, VERSION, ApiModel
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.region import Region
from tomoul.api.routingtable import RoutingTable
from tomoul.api.tenant import Tenant

Schema = dict[str, Any]
Defaults = Literal["kept", "told", "none"]

KEPT = (
    "type", "format", "enum", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-validations",
)  # fmt: skip
"""Keys that mean the same in both; anything else that pydantic emits is handled or an error."""
HANDLED = {"$ref", "title", "description", "default", "anyOf", "const", "properties", "required", "items"}
HANDLED |= {"additionalProperties"}


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`; those of priority 1 only show with `-o wide`.

    The others fit into 120 characters beside the longest name that a kind allows.
    """

    name: str
    path: str
    type: Literal["string", "integer", "date"] = "string"
    description: str = ""
    priority: int = 0


@dataclass(frozen=True)
class Kind:
    """What a CRD says beyond its schema."""

    model: type[ApiModel]
    plural: str
    short_name: str
    scope: Literal["Namespaced", "Cluster"]
    columns: Sequence[Column]

    @property
    def name(self) -> str:
        """Kind name."""
        return self.model.__name__

    @property
    def crd_name(self) -> str:
        """Name of the CRD."""
        return f"{self.plural}.{GROUP}"


def _condition(kind: str, field: str = "status") -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


AGE = Column("Age", ".metadata.creationTimestamp", "date")

KINDS: Sequence[Kind] = (
    Kind(
        ModelDeployment, "modeldeployments", "tmd", "Namespaced",
        (
            Column("Regions", ".status.readyRegions", description="Ready and wanted regions"),
            Column("Ready", _condition("Ready"), description="Whether every region serves it"),
            Column("Reason", ".status.reason", description="Why it is not ready"),
            AGE,
            Column("Model", ".spec.model.id", description="Id that calls name", priority=1),
            Column("Engine", ".spec.engine.type", description="Inference server", priority=1),
            Column("Cache", ".spec.cache.mode", description="Who shares the prompt cache", priority=1),
            Column("No-Store", ".spec.cache.noStore", description="What no-store gets", priority=1),
        ),
    ),
    Kind(
        Region, "regions", "tregion", "Cluster",
        (
            Column("Jurisdiction", ".spec.jurisdiction", description="Legal area"),
            Column("State", ".spec.state", description="Whether it takes calls"),
            Column("Models", ".status.models", description="Ready and desired models"),
            Column("Ready", _condition("Ready"), description="Whether its gateways serve"),
            Column("Reason", _condition("Ready", "reason"), description="Why it is not ready"),
            AGE,
            Column("Generation", ".status.routingGeneration", "integer", "Generation of its RoutingTable", 1),
        ),
    ),
    Kind(
        Tenant, "tenants", "ttenant", "Namespaced",
        (
            Column("Secret", ".spec.apiKeys.secretName", description="Secret with its API keys"),
            Column("Accepted", _condition("Accepted"), description="Whether all that it names exists"),
            Column("Enforced", _condition("Enforced"), description="Whether the gateways enforce it"),
            Column("Reason", ".status.reason", description="Why it is not enforced"),
            AGE,
        ),
    ),
    Kind(
        RoutingTable, "routingtables", "trt", "Cluster",
        (
            Column("Region", ".spec.region", description="Region whose gateways serve it"),
            Column("Generation", ".metadata.generation", "integer", "Generation of what should be served"),
            AGE,
        ),
    ),
)  # fmt: skip


def crd(kind: Kind) -> Schema:
    """The CustomResourceDefinition of a kind."""
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": root_schema(kind.model)},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_printer_column(column) for column in kind.columns],
    }
    names = {
        "kind": kind.name,
        "listKind": f"{kind.name}List",
        "plural": kind.plural,
        "singular": kind.name.lower(),
        "shortNames": [kind.short_name],
        "categories": ["tomoul"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name},
        "spec": {"group": GROUP, "names": names, "scope": kind.scope, "versions": [version]},
    }


def crd_files() -> Mapping[str, str]:
    """Text of each CRD by file name."""
    head = "# Generated from operator/tomoul/api by `make generate`; do not edit.\n"
    return {
        f"{GROUP}_{kind.plural}.yaml": head + yaml.safe_dump(crd(kind), sort_keys=False, width=120, allow_unicode=True)
        for kind in KINDS
    }


def _printer_column(column: Column) -> Schema:
    entry: Schema = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.description:
        entry["description"] = column.description
    if column.priority:
        entry["priority"] = column.priority
    return entry


@cache
def root_schema(model: type[ApiModel]) -> Schema:
    """Structural schema of a kind; it is made once, and not to be changed."""
    source = model.model_json_schema(by_alias=True)
    definitions = source["$defs"]
    properties = source["properties"]
    return {
        "description": source["description"],
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": _structural(properties["spec"], definitions, defaults="kept"),
            "status": _structural(properties["status"], definitions, defaults="none"),
        },
        **{key: source[key] for key in ("x-kubernetes-validations",) if key in source},
    }


def _structural(node: Schema, definitions: Mapping[str, Schema], *, defaults: Defaults) -> Schema:
    node = _resolved(node, definitions)
    unknown = set(node) - set(KEPT) - HANDLED
    assert not unknown, f"no structural form is known for {unknown}"
    schema: Schema = {}
    default = node.get("default")
    if "description" in node:
        schema["description"] = node["description"]
        if defaults != "none" and default not in (None, "") and isinstance(default, str | int):
            # `kubectl explain` shows no default of a schema.
            told = default if isinstance(default, str) else json.dumps(default)
            schema["description"] = f"{schema['description'].removesuffix('.')}. Default: {told}"
    schema |= {key: node[key] for key in KEPT if key in node}
    if "const" in node:
        schema |= {"type": "string", "enum": [node["const"]]}
    if node["type"] == "integer" and "format" not in schema:
        schema["format"] = "int32"
    if defaults == "kept" and default not in (None, "", []):
        schema["default"] = default
    if "items" in node:
        inside: Defaults = "none" if defaults == "none" else "told"
        schema["items"] = _structural(node["items"], definitions, defaults=inside)
        schema.setdefault("x-kubernetes-list-type", "atomic")
    if isinstance(node.get("additionalProperties"), dict):
        schema["additionalProperties"] = _structural(node["additionalProperties"], definitions, defaults=defaults)
        schema["x-kubernetes-map-type"] = "atomic"
    if "properties" in node:
        if "required" in node:
            schema["required"] = node["required"]
        fields = {
            name: _structural(field, definitions, defaults=defaults) for name, field in node["properties"].items()
        }
        for name, field in node["properties"].items():
            # Defaults within an object only take effect where the object itself is there.
            always_there = name not in node.get("required", ()) and "anyOf" not in field
            if always_there and any("default" in inner for inner in fields[name].get("properties", {}).values()):
                fields[name]["default"] = {}
        schema["properties"] = fields
    return schema


def _resolved(node: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """A node without `$ref` and without null as an alternative. What stands beside a reference wins over its target."""
    if "anyOf" in node:
        (only,) = [choice for choice in node["anyOf"] if choice != {"type": "null"}]
        beside = {key: value for key, value in node.items() if key != "anyOf"}
        return _resolved({**only, **beside}, definitions)
    if "$ref" not in node:
        return node
    target = definitions[node["$ref"].removeprefix("#/$defs/")]
    beside = {key: value for key, value in node.items() if key != "$ref"}
    if "enum" in target and "description" in beside:
        # An enum's docstring says what its values mean.
        meaning = " ".join(target["description"].split())
        said = beside["description"]
        beside["description"] = meaning if meaning.startswith(f"{said}.") else f"{said}. {meaning}"
    return _resolved({**target, **beside}, definitions)
