"""Adapter: another model that a ModelDeployment's engine serves, by small weights on top of the model's own."""

from pydantic import Field

from tomoul.api.meta import ApiModel
from tomoul.api.names import ModelId
from tomoul.api.source import Source

MAX_ADAPTERS = 16


class Adapter(ApiModel):
    """A LoRA adapter, which clients call as a model of its own."""

    id: ModelId = Field(description="Id that calls name, such as `acme/phi-4-legal`")
    source: Source = Field(description="Where its weights come from")
    rank: int = Field(
        default=16,
        ge=1,
        le=512,
        description="Rank of its matrices; VLLM keeps room for the highest one of all adapters",
    )
