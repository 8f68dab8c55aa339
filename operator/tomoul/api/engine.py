"""Engine: the inference server of a ModelDeployment, and how it is started."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tomoul.api.addresses import HttpPath, Image
from tomoul.api.enginetype import VERSIONED, EngineType
from tomoul.api.meta import ApiModel
from tomoul.api.names import EngineVersion, EnvironmentName, JsonField
from tomoul.api.rules import ListBy, ListSet, rule
from tomoul.api.secret import SecretKeyRef

Argument = Annotated[str, Field(max_length=2048)]


def in_cel(types: Iterable[EngineType]) -> str:
    """A list in CEL."""
    return f"[{', '.join(repr(each.value) for each in types)}]"


def in_words(types: Sequence[EngineType]) -> str:
    """`SGLang and VLLM`."""
    return " and ".join(filter(None, (", ".join(types[:-1]), *types[-1:])))


class PromptCaching(StrEnum):
    """What a Custom engine does with prompts.

    None: it keeps nothing of a call. Salted: it keeps those of each salt apart. Shared: any call may get what another
    one left.
    """

    NONE = "None"
    SALTED = "Salted"
    SHARED = "Shared"


class SeedWorth(StrEnum):
    """What a call's `seed` is worth.

    Deterministic: equal calls with equal seeds get equal answers, whatever else runs. BestEffort: they may. Ignored:
    the engine does not look at it.
    """

    DETERMINISTIC = "Deterministic"
    BEST_EFFORT = "BestEffort"
    IGNORED = "Ignored"


class EnvironmentVariable(ApiModel):
    """One variable of the engine's environment."""

    name: EnvironmentName = Field(description="Variable name")
    value: str | None = Field(default=None, max_length=4096, description="Its value, taken as it is")
    secret: SecretKeyRef | None = Field(default=None, description="Key of a Secret that holds its value")

    @rule(
        "has(self.value) != has(self.secret)",
        field="",
        message="must have exactly one of `value` and `secret`",
    )
    def _the_value_comes_from_one_place(self) -> bool:
        return (self.value is None) != (self.secret is None)


class CustomEngine(ApiModel):
    """What Tomoul cannot know of a Custom engine; its cache policy is as true as what is declared here."""

    command: Annotated[tuple[Argument, ...], Field(max_length=16)] = Field(
        default=(), description="Command in the place of the image's entrypoint; `args` follow it"
    )
    health_path: HttpPath = Field(default="/health", description="Path that answers 200 while the server can be called")
    bash: bool = Field(
        default=True,
        description="Whether the image has bash: without, `healthPath` stands for a first call, and a pod that ends "
        "waits for all of `rollout.drainSeconds`",
    )
    prompt_cache: PromptCaching = Field(
        default=PromptCaching.SHARED, description="What the engine does with prompts, started with `args` alone"
    )
    salt_field: JsonField | None = Field(
        default=None, description="Top-level body field that carries the cache salt; a client's own is removed"
    )
    no_cache_args: Annotated[tuple[Argument, ...], Field(max_length=16)] = Field(
        default=(), description="Arguments that turn the prompt cache off, for mode Disabled and noStore NotStored"
    )
    remove_fields: Annotated[tuple[JsonField, ...], ListSet()] = Field(
        default=(), max_length=15, description="Top-level body fields that a client must not control"
    )

    seed: SeedWorth = Field(
        default=SeedWorth.BEST_EFFORT, description="What `seed` is worth, in every pool and started with `args`"
    )

    @rule(
        "has(self.saltField) == (self.promptCache == 'Salted')",
        field="saltField",
        message="must be named where `promptCache` is Salted, and left out otherwise",
    )
    def _only_what_is_salted_has_a_field_for_it(self) -> bool:
        return (self.salt_field is not None) == (self.prompt_cache is PromptCaching.SALTED)


class Engine(ApiModel):
    """The inference server and how it is started."""

    type: EngineType = Field(description="Which inference server")
    version: EngineVersion | None = Field(
        default=None,
        description="Version, such as `0.32.0`: of the engine's own image, or, if `image` is named, of what is in that",
    )
    image: Image | None = Field(default=None, description="Container image in the place of the engine's default")
    args: tuple[Argument, ...] = Field(
        default=(), max_length=64, description="Further arguments; those that a promise rests on are refused"
    )
    env: Annotated[tuple[EnvironmentVariable, ...], ListBy("name")] = Field(
        default=(), max_length=64, description="Further environment; what a promise rests on is refused"
    )
    custom: CustomEngine | None = Field(default=None, description="What Tomoul must be told of a Custom engine")

    @rule(
        "self.type != 'Custom' || has(self.image)",
        field="image",
        message="must be named for Custom, which has no default",
    )
    def _custom_names_its_image(self) -> bool:
        return self.type is not EngineType.CUSTOM or self.image is not None

    @rule(
        "self.type == 'Custom' || !has(self.custom)",
        field="custom",
        message="must be left out: Tomoul knows this engine; `type: Custom` runs another",
    )
    def _only_custom_is_described(self) -> bool:
        return self.type is EngineType.CUSTOM or self.custom is None

    @rule(
        f"self.type in {in_cel(VERSIONED)} || !has(self.version)",
        field="version",
        message=f"must be left out: only what is promised of {in_words(VERSIONED)} depends on their version; "
        "name an `image`",
    )
    def _versions_that_matter_are_named(self) -> bool:
        return self.type in VERSIONED or self.version is None
