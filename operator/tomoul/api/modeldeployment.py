"""ModelDeployment: one model, the engine that runs it, and the regions that serve it."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from tomoul.api.adapter import MAX_ADAPTERS, Adapter
from tomoul.api.cache import Cache, CacheMode, NoStore
from tomoul.api.capabilities import Capabilities
from tomoul.api.engine import Engine, in_cel, in_words
from tomoul.api.enginetype import LOADS_ONE_FILE, NEVER_ISOLATES, PARSES_TOOLS
from tomoul.api.meta import API_VERSION, ApiModel, ObjectMeta
from tomoul.api.modelstatus import ModelDeploymentStatus
from tomoul.api.names import (
    DEPLOYMENT_NAME_FORM,
    DEPLOYMENT_NAME_PATTERN,
    ModelId,
    is_deployment_name,
)
from tomoul.api.regiontarget import RegionTarget
from tomoul.api.resources import Resources
from tomoul.api.rollout import Rollout
from tomoul.api.routing import Routing
from tomoul.api.rules import ListBy, ListSet, immutable, rule
from tomoul.api.source import Source


class Ownership(StrEnum):
    """Exclusive models are Tomoul's own; ThirdParty ones are published by others."""

    EXCLUSIVE = "Exclusive"
    THIRD_PARTY = "ThirdParty"


class Model(ApiModel):
    """What clients call the model."""

    id: Annotated[ModelId, immutable("cannot be changed: another id is another model, for another ModelDeployment")] = (
        Field(description="Id that calls name, such as `microsoft/phi-4`")
    )
    aliases: Annotated[tuple[ModelId, ...], ListSet()] = Field(
        default=(), max_length=16, description="Other ids for it"
    )
    ownership: Ownership = Field(default=Ownership.THIRD_PARTY, description="Whose model it is")

    @rule(
        "!has(self.aliases) || !(self.id in self.aliases)",
        field="aliases",
        message="must not list the id itself, which needs no alias",
    )
    def _no_alias_is_the_id(self) -> bool:
        return self.id not in self.aliases


class ModelDeploymentSpec(ApiModel):
    """What to run, where, and for whom."""

    model: Model = Field(description="What clients call it")
    source: Source = Field(description="Where the weights come from")
    engine: Engine = Field(description="What runs it")
    capabilities: Capabilities = Field(default_factory=Capabilities, description="What it can do")
    resources: Resources = Field(default_factory=Resources, description="What one replica needs")
    regions: Annotated[tuple[RegionTarget, ...], ListBy("name")] = Field(
        min_length=1, max_length=16, description="Regions that serve it"
    )
    routing: Routing = Field(default_factory=Routing, description="Which regions may answer")
    cache: Cache = Field(default_factory=Cache, description="The prompt cache")
    rollout: Rollout = Field(default_factory=Rollout, description="How a new revision takes over")
    adapters: Annotated[tuple[Adapter, ...], ListBy("id")] = Field(
        default=(), max_length=MAX_ADAPTERS, description="LoRA adapters, each a model of its own to those who call"
    )

    @rule(
        "!has(self.adapters) || self.adapters.all(adapter, adapter.id != self.model.id "
        "&& (!has(self.model.aliases) || !(adapter.id in self.model.aliases)))",
        field="adapters",
        message="must each have an id that is neither the model's nor one of its aliases",
    )
    def _adapters_have_ids_of_their_own(self) -> bool:
        return not {adapter.id for adapter in self.adapters} & {self.model.id, *self.model.aliases}

    @rule(
        f"!(self.engine.type in {in_cel(LOADS_ONE_FILE)}) || !has(self.adapters) || self.adapters.all(adapter, "
        "(!has(adapter.source.hf) || has(adapter.source.hf.file)) "
        "&& (!has(adapter.source.s3) || has(adapter.source.s3.file)) "
        "&& (!has(adapter.source.oci) || has(adapter.source.oci.file)))",
        field="adapters",
        message="must each name the file of their `source`, such as `legal.gguf`: "
        f"with {in_words(LOADS_ONE_FILE)} an adapter is a single file",
    )
    def _llama_cpp_loads_one_file_of_each_adapter(self) -> bool:
        found = [adapter.source.download for adapter in self.adapters]
        return self.engine.type not in LOADS_ONE_FILE or all(each is None or each.file for each in found)

    @rule(
        f"!(self.engine.type in {in_cel(LOADS_ONE_FILE)}) || !has(self.source.hf) || has(self.source.hf.file)",
        field="source.hf.file",
        message="must name the file, such as `phi-4-Q4_K_M.gguf`: "
        f"with {in_words(LOADS_ONE_FILE)} a model is one file of a repository",
    )
    def _llama_cpp_loads_one_file(self) -> bool:
        return self.engine.type not in LOADS_ONE_FILE or not self.source.hf or self.source.hf.file is not None

    @rule(
        f"!(self.engine.type in {in_cel(LOADS_ONE_FILE)}) || !has(self.source.s3) || has(self.source.s3.file)",
        field="source.s3.file",
        message="must name the file, such as `phi-4-Q4_K_M.gguf`: "
        f"with {in_words(LOADS_ONE_FILE)} a model is one file of a folder",
    )
    def _llama_cpp_loads_one_file_of_a_bucket(self) -> bool:
        return self.engine.type not in LOADS_ONE_FILE or not self.source.s3 or self.source.s3.file is not None

    @rule(
        f"!(self.engine.type in {in_cel(LOADS_ONE_FILE)}) || !has(self.source.oci) || has(self.source.oci.file)",
        field="source.oci.file",
        message="must name the file, such as `phi-4-Q4_K_M.gguf`: "
        f"with {in_words(LOADS_ONE_FILE)} a model is one file of an artifact",
    )
    def _llama_cpp_loads_one_file_of_an_artifact(self) -> bool:
        return self.engine.type not in LOADS_ONE_FILE or not self.source.oci or self.source.oci.file is not None

    @rule(
        "has(self.source.hf) || has(self.source.s3) || has(self.source.oci) "
        "|| self.regions.all(region, !has(region.weightsClaim)) "
        "|| (has(self.adapters) && self.adapters.exists(adapter, "
        "has(adapter.source.hf) || has(adapter.source.s3) || has(adapter.source.oci)))",
        field="regions",
        message="must have no `weightsClaim` unless `source` is `hf`, `s3` or `oci`, which alone are downloaded",
    )
    def _only_downloads_are_kept(self) -> bool:
        sources = (self.source, *(adapter.source for adapter in self.adapters))
        downloaded = any(source.download is not None for source in sources)
        return downloaded or all(target.weights_claim is None for target in self.regions)

    @rule(
        f"!(self.engine.type in {in_cel(PARSES_TOOLS)}) "
        "|| !has(self.capabilities.tools) || has(self.capabilities.tools.parser)",
        field="capabilities.tools",
        message=f"must have a `parser` (such as `hermes`), which {in_words(PARSES_TOOLS)} need to recognise tool calls",
    )
    def _tool_calls_have_a_parser(self) -> bool:
        tools = self.capabilities.tools
        parsed = self.engine.type in PARSES_TOOLS
        return not parsed or tools is None or tools.parser is not None

    @rule(
        f"!(self.engine.type in {in_cel(NEVER_ISOLATES)}) "
        "|| self.cache.mode == 'Disabled' || self.cache.noStore != 'Isolated'",
        field="cache.noStore",
        message="must be NotStored or Refuse: "
        f"there is no cache salt in {in_words(NEVER_ISOLATES)} to isolate one call by",
    )
    def _isolation_needs_a_salt(self) -> bool:
        unsalted = self.engine.type in NEVER_ISOLATES and self.cache.mode != CacheMode.DISABLED
        return not unsalted or self.cache.no_store != NoStore.ISOLATED

    @rule(
        "!has(self.cache.offload) || (has(self.resources.accelerator) && has(self.resources.memory))",
        field="cache.offload",
        message="must stand beside `resources.accelerator`, whose memory it adds to, and `resources.memory`, "
        "of which it is a part",
    )
    def _what_is_offloaded_has_a_place(self) -> bool:
        resources = self.resources
        return self.cache.offload is None or (resources.accelerator is not None and resources.memory is not None)

    @rule(
        "self.cache.noStore == 'NotStored' "
        "|| self.regions.all(region, !has(region.noStoreReplicas) && !has(region.noStoreScaling))",
        field="regions",
        message="must have no `noStoreReplicas` or `noStoreScaling` unless `cache.noStore` is NotStored, "
        "which alone makes a second pool",
    )
    def _replicas_have_a_pool(self) -> bool:
        second = self.cache.no_store == NoStore.NOT_STORED
        return second or all(
            target.no_store_replicas is None and target.no_store_scaling is None for target in self.regions
        )

    @rule(
        "!has(self.routing.fallback) "
        "|| self.routing.fallback.all(name, self.regions.exists(region, region.name == name))",
        field="routing.fallback",
        message="must name only regions that `regions` lists, since no other has the model",
        given="routing.fallback",
    )
    def _fallbacks_have_the_model(self) -> bool:
        return set(self.routing.fallback) <= {target.name for target in self.regions}


class ModelDeployment(ApiModel):
    """One model, the engine that runs it, and the regions that serve it."""

    api_version: Literal["tomoul.ai/v1alpha1"] = API_VERSION
    kind: Literal["ModelDeployment"] = "ModelDeployment"
    metadata: ObjectMeta
    spec: ModelDeploymentSpec
    status: ModelDeploymentStatus = Field(default_factory=ModelDeploymentStatus)

    @rule(
        f"size(self.metadata.name) <= 63 && self.metadata.name.matches(r'^{DEPLOYMENT_NAME_PATTERN}$')",
        field="metadata.name",
        message=DEPLOYMENT_NAME_FORM,
    )
    def _name_begins_service_names(self) -> bool:
        return is_deployment_name(self.metadata.name)


def region_target(spec: ModelDeploymentSpec, region: str) -> RegionTarget | None:
    """The entry of `spec.regions` for `region`, or None."""
    by_name: Mapping[str, RegionTarget] = {target.name: target for target in spec.regions}
    return by_name.get(region)
