"""Strings with a form: names, versions, quantities. Each message says what would be right."""

import re
from typing import Annotated

from pydantic import Field

from tomoul.api.rules import Check, form

_LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_DOMAIN = rf"{_LABEL}(\.{_LABEL})*"
WORD = "[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
_NAME = "[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"


REGION_NAME_FORM = "must be at most 32 lower-case letters, digits and inner hyphens, such as `eu-west`"
REGION_NAME_PATTERN = _LABEL
DEPLOYMENT_NAME_FORM = (
    "must be at most 63 lower-case letters, digits and inner hyphens, the first a letter, such as `phi-4`"
)
DEPLOYMENT_NAME_PATTERN = "[a-z]([a-z0-9-]*[a-z0-9])?"


def is_region_name(name: str) -> bool:
    """Whether a Region may have that name."""
    return len(name) <= 32 and re.fullmatch(REGION_NAME_PATTERN, name) is not None


def is_deployment_name(name: str) -> bool:
    """Whether a ModelDeployment may have that name: it is a label, and Services' names begin with it."""
    return len(name) <= 63 and re.fullmatch(DEPLOYMENT_NAME_PATTERN, name) is not None


RegionName = Annotated[str, Field(min_length=1, max_length=32), form(_LABEL, REGION_NAME_FORM)]

ModelId = Annotated[
    str,
    Field(min_length=1, max_length=128),
    form(
        "[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*",
        "must be letters, digits, `.`, `_` and `-` in parts joined by `/`, each part beginning with a letter or digit, "
        "such as `microsoft/phi-4`",
    ),
]

HuggingFaceRepository = Annotated[
    str,
    Field(min_length=1, max_length=256),
    form(f"({WORD}/)?{WORD}", "must be a repository, such as `microsoft/phi-4`"),
]

Revision = Annotated[
    str,
    Field(min_length=1, max_length=128),
    form("[A-Za-z0-9][A-Za-z0-9._/-]*", "must be a commit, tag or branch, such as `main`"),
]

ObjectName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    form(_DOMAIN, "must be the name of a Kubernetes object: lower-case letters, digits, inner `-` and `.`"),
]

SecretKey = Annotated[
    str,
    Field(min_length=1, max_length=253),
    form("[A-Za-z0-9._-]+", "must be letters, digits, `.`, `_` and `-`, such as `token`"),
]

EnvironmentName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    form("[A-Za-z_][A-Za-z0-9_]*", "must be letters, digits and `_`, the first no digit, such as `OMP_NUM_THREADS`"),
]

EngineVersion = Annotated[
    str,
    Field(min_length=1, max_length=32),
    form(
        r"[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}(\.?(a|b|rc|dev|post)[0-9]{1,4})?",
        "must be a version of three numbers, such as `0.32.0` or `0.5.10.post1`",
    ),
]

JsonField = Annotated[
    str,
    Field(min_length=1, max_length=63),
    form("[A-Za-z_][A-Za-z0-9_]*", "must be the name of a body's field, such as `cache_salt`"),
]

AcceleratorName = Annotated[
    str,
    Field(min_length=1, max_length=63),
    form(WORD, "must be letters, digits and inner `.`, `_`, `-`, such as `nvidia-h100`"),
]

ExtendedResource = Annotated[
    str,
    Field(max_length=317),
    form(f"{_DOMAIN}/{_NAME}", "must be an extended resource with its domain, such as `nvidia.com/gpu`"),
]

LabelValue = Annotated[
    str,
    Field(max_length=63),
    form(f"({WORD})?", "must be a label value: letters, digits and inner `.`, `_`, `-`"),
]

Namespace = Annotated[
    str,
    Field(max_length=63),
    form(f"({_LABEL})?", "must be a namespace: at most 63 lower-case letters, digits and inner hyphens"),
]

_LABEL_KEY = re.compile(f"({_DOMAIN}/)?{_NAME}")
_LABEL_KEY_FORM = "a name of at most 63 letters, digits and inner `.`, `_`, `-`, perhaps after a domain and `/`"
LabelKey = Annotated[
    str,
    Field(max_length=317),
    form(_LABEL_KEY.pattern, f"must be {_LABEL_KEY_FORM}, such as `nvidia.com/gpu`"),
]
_ANNOTATION_KEY = re.compile(_LABEL_KEY.pattern, re.IGNORECASE)
LABEL_KEYS = Check(
    f"self.all(key, key.matches(r'^{_LABEL_KEY.pattern}$'))",
    f"keys must each be {_LABEL_KEY_FORM}, such as `topology.kubernetes.io/region`",
    lambda labels: all(_LABEL_KEY.fullmatch(key) for key in labels),
)
ANNOTATION_KEYS = Check(
    "true",  # metadata, which the API server judges by itself
    f"keys must each be {_LABEL_KEY_FORM}, such as `example.com/owner`",
    lambda annotations: all(_ANNOTATION_KEY.fullmatch(key) for key in annotations),
)

Jurisdiction = Annotated[
    str,
    Field(max_length=63),
    form(
        "([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)?",
        "must be letters, digits and inner hyphens, such as `EU`: the label `tomoul.ai/jurisdictions` of namespaces "
        "lists several with `_` between them",
    ),
]

Cpu = Annotated[
    str,
    Field(max_length=32),
    form(
        r"0\.[0-9]{1,3}|[1-9][0-9]{0,6}(\.[0-9]{1,3})?|[1-9][0-9]{0,9}m",
        "must be a quoted number of cores such as `4`, `0.5` or `500m`",
    ),
]

Memory = Annotated[
    str,
    Field(max_length=32),
    form(
        r"[1-9][0-9]{6,17}|[1-9][0-9]{0,17}(\.[0-9]{1,3})?(Ki|Mi|Gi|Ti|k|M|G|T)",
        "must be a number of bytes with a unit such as `16Gi` or `512Mi`",
    ),
]
