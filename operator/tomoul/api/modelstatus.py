"""Model status: what the operator tells of a ModelDeployment, region by region."""

from typing import Annotated

from pydantic import Field

from tomoul.api.cache import CachePolicyStatus
from tomoul.api.capabilities import SeedStatus
from tomoul.api.download import DownloadStatus
from tomoul.api.meta import Conditions, StatusModel
from tomoul.api.rollout import RolloutStatus
from tomoul.api.rules import INT64, ListBy


class PoolStatus(StatusModel):
    """One Deployment of engine pods, or one LeaderWorkerSet of groups of them."""

    name: str = Field(max_length=32, description="Pool name: `default` or `no-store`")
    deployment: str = Field(default="", max_length=63, description="Name of its Deployment and Service")
    leader_worker_set: str | None = Field(
        default=None,
        max_length=63,
        description="Name of its LeaderWorkerSet, in the place of a Deployment, if a replica is several pods",
    )
    replicas: int = Field(default=0, description="Replicas wanted")
    ready: int = Field(default=0, description="Replicas ready")


class RegionModelStatus(StatusModel):
    """The model in one region: one row of the region × condition matrix."""

    name: str = Field(max_length=32, description="Region name")
    conditions: Conditions = Field(default=(), description="Conditions by type")
    pools: Annotated[tuple[PoolStatus, ...], ListBy("name")] = Field(default=(), description="The region's pools")
    rollout: RolloutStatus | None = Field(default=None, description="The newest revision, and how it takes over")
    cache_policy: CachePolicyStatus | None = Field(
        default=None, description="The cache policy that calls get; absent until the model is accepted"
    )
    seed: SeedStatus | None = Field(
        default=None, description="What `seed` is worth; absent until the model is accepted"
    )
    download: DownloadStatus | None = Field(default=None, description="How far the weights are on their way")
    waiting_for: str = Field(default="", max_length=1024, description="What the region still waits for")
    gpus_needed: int | None = Field(
        default=None, description="GPUs that pods without a node need together; absent while all have one"
    )
    gpus_free: int | None = Field(
        default=None, description="GPUs that would do, on the region's ready nodes, and that no pod of Tomoul requests"
    )
    programmed_route: str = Field(
        default="", max_length=64, description="Hash of the route that every live gateway has acknowledged"
    )


class ModelDeploymentStatus(StatusModel):
    """What the operators see; each writes the regions that it hosts."""

    observed_generation: Annotated[int, INT64] = Field(
        default=0, ge=0, description="The metadata.generation that this was judged by"
    )
    conditions: Conditions = Field(default=(), description="Conditions by type, over all regions hosted here")
    # No map by name: all rows have one writer, and to keep who owns which field of which row was a fifth of a write.
    regions: tuple[RegionModelStatus, ...] = Field(default=(), description="Conditions by region")
    ready_regions: str = Field(default="", max_length=32, description="Ready and wanted regions, such as `1/2`")
    reason: str = Field(default="", max_length=63, description="Why it is not ready, in one word")
