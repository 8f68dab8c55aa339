"""Capabilities: what a model can do, and what a seed is worth to its calls."""

from enum import StrEnum

from pydantic import Field

from tomoul.api.engine import SeedWorth, in_words
from tomoul.api.enginetype import PARSES_TOOLS
from tomoul.api.meta import ApiModel, StatusModel


class Tools(ApiModel):
    """Tool calling."""

    parser: str | None = Field(
        default=None,
        min_length=1,
        max_length=63,
        description=f"Tool-call parser, which {in_words(PARSES_TOOLS)} need",
    )


class SeedPromise(StrEnum):
    """Deterministic: equal seeds are to give equal answers, at the cost of speed. BestEffort: they may."""

    DETERMINISTIC = "Deterministic"
    BEST_EFFORT = "BestEffort"


class Capabilities(ApiModel):
    """What the model can do; calls that ask for more are refused."""

    tools: Tools | None = Field(default=None, description="Present if the model calls tools")
    structured_output: bool = Field(default=False, description="Whether `response_format: json_schema` is enforced")
    json_mode: bool = Field(default=False, description="Whether `response_format: json_object` is enforced")
    seed: SeedPromise | None = Field(
        default=None,
        description="Whether equal seeds are to give equal answers; if left out, Exclusive models do so in regions "
        "where all that it takes is there",
    )
    context_window: int | None = Field(default=None, ge=256, le=16_777_216, description="Longest context, in tokens")


class SeedStatus(StatusModel):
    """What a call's `seed` is worth in the region."""

    worth: SeedWorth = Field(description="What it is worth now")
    message: str = Field(default="", max_length=1024, description="Why it is not Deterministic, where it should be")
