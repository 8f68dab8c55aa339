"""What all resources share: the group, the base model, object metadata and conditions."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

from tomoul.api.names import ANNOTATION_KEYS, LABEL_KEYS, LabelValue, Namespace
from tomoul.api.rules import INT64, VALIDATIONS, ListBy, broken_rules, rules_of

GROUP = "tomoul.ai"
VERSION = "v1alpha1"
API_VERSION: Literal["tomoul.ai/v1alpha1"] = "tomoul.ai/v1alpha1"

# Labels that the operator sets on everything it creates. Selectors and watches go by these and by nothing else.
LABEL_REGION = f"{GROUP}/region"
LABEL_MODEL_DEPLOYMENT = f"{GROUP}/model-deployment"
LABEL_POOL = f"{GROUP}/pool"
LABEL_SHARD = f"{GROUP}/shard"
"""On RoutingTables that hold a part of a region's models: which part."""
LABEL_PROMPT_CACHE = f"{GROUP}/prompt-cache"
"""On engine pods alone, and in no selector: what their engine does with prompts, which a rollout may change."""
ANNOTATION_ADAPTERS = f"{GROUP}/adapters"
"""On engine pods: JSON, by adapter id the body fields by which their engine knows it."""
LABEL_REVISION = f"{GROUP}/revision"
"""On engine pods, and in no selector: hash of the template that they were made from."""
LABEL_JURISDICTIONS = f"{GROUP}/jurisdictions"
"""On namespaces, by whoever runs the cluster: where the models of the namespace may run, such as `EU_CH`."""
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_NAME = "app.kubernetes.io/name"
MANAGED_BY = "tomoul"
COMPONENT_ENGINE = "engine"
COMPONENT_WORKER = "engine-worker"
"""Pods that are a part of a replica and take no calls themselves, so that no Service selects them."""
COMPONENT_GATEWAY = "gateway"
COMPONENT_OPERATOR = "operator"


class ApiModel(BaseModel):
    """Base of everything a person writes: camelCase outside, snake_case inside, unknown fields refused, immutable."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="forbid", frozen=True
    )

    @model_validator(mode="after")
    def _obey_rules(self) -> Self:
        error = broken_rules(self, rules_of(type(self)))
        if error is not None:
            raise error
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Add the class's rules to its schema."""
        schema = handler.resolve_ref_schema(handler(core))
        if rules_of(cls):
            schema[VALIDATIONS] = [each.as_validation() for each in rules_of(cls)]
        return schema


class StatusModel(ApiModel):
    """Base of what the operator writes; unknown fields are dropped, so that an older operator reads a newer status."""

    model_config = ConfigDict(extra="ignore")


METADATA_FIELDS = (
    "name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "generation", "creationTimestamp",
    "deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations", "ownerReferences", "finalizers",
    "managedFields",
)  # fmt: skip
"""All fields of Kubernetes' ObjectMeta."""


class ObjectMeta(StatusModel):
    """The part of Kubernetes' ObjectMeta that Tomoul reads; the rest is left alone.

    The forms are the API server's own, for files that it has not seen.
    """

    name: str
    namespace: Namespace = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    labels: Annotated[Mapping[str, LabelValue], LABEL_KEYS] = Field(default_factory=dict)
    annotations: Annotated[Mapping[str, str], ANNOTATION_KEYS] = Field(default_factory=dict)
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None


class Condition(StatusModel):
    """One aspect of an object's state, as Kubernetes' metav1.Condition."""

    type: str = Field(description="Aspect that this condition speaks of", max_length=63)
    status: Literal["True", "False", "Unknown"] = Field(description="Whether the aspect holds")
    reason: str = Field(description="Why, as one word from the documented list", max_length=63)
    message: str = Field(default="", description="Why, for a person", max_length=4096)
    observed_generation: Annotated[int, INT64] = Field(
        default=0, description="The metadata.generation that this was judged by", ge=0
    )
    last_transition_time: datetime | None = Field(default=None, description="When the status last changed")


Conditions = Annotated[tuple[Condition, ...], ListBy("type")]
