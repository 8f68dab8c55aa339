"""RegionTarget: how much of a model runs in one region."""

from pydantic import Field

from tomoul.api.meta import ApiModel
from tomoul.api.names import ObjectName, RegionName
from tomoul.api.rules import rule
from tomoul.api.scaling import Scaling


class RegionTarget(ApiModel):
    """One region that serves the model."""

    name: RegionName = Field(description="Region name")
    replicas: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="Engine pods; leave it out for `scaling`, or where an autoscaler of your own sets the scale",
    )
    scaling: Scaling | None = Field(default=None, description="Engine pods by the calls in flight")
    weights_claim: ObjectName | None = Field(
        default=None,
        description="ReadWriteMany PersistentVolumeClaim that keeps what is downloaded, for all pods of the region; "
        "without it each pod downloads for itself",
    )
    no_store_replicas: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="Engine pods of the pool without a cache, which `noStore: NotStored` makes; 1 if left out",
    )
    no_store_scaling: Scaling | None = Field(
        default=None, description="Engine pods of the pool without a cache, by its own calls in flight"
    )

    @rule(
        "!has(self.replicas) || !has(self.scaling)",
        field="replicas",
        message="must be left out beside `scaling`, which sets it",
    )
    def _one_thing_sets_the_replicas(self) -> bool:
        return self.replicas is None or self.scaling is None

    @rule(
        "!has(self.noStoreReplicas) || !has(self.noStoreScaling)",
        field="noStoreReplicas",
        message="must be left out beside `noStoreScaling`, which sets it",
    )
    def _one_thing_sets_the_replicas_without_a_cache(self) -> bool:
        return self.no_store_replicas is None or self.no_store_scaling is None
