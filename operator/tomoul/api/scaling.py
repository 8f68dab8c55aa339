"""Scaling: how many engine pods a pool may have, and what decides how many it has."""

from pydantic import Field

from tomoul.api.meta import ApiModel
from tomoul.api.rules import rule


class Scaling(ApiModel):
    """Replicas by the calls in flight, as a HorizontalPodAutoscaler sets them."""

    min_replicas: int = Field(
        default=1,
        ge=0,
        le=1000,
        description="Fewest engine pods; at 0 the last one goes when nobody calls, and the next call is refused with "
        "`Retry-After` while one starts",
    )
    max_replicas: int = Field(ge=1, le=1000, description="Most engine pods")
    target_in_flight: int = Field(
        ge=1, le=100_000, description="Calls in flight per engine pod, waiting ones included, that are aimed at"
    )
    scale_down_seconds: int = Field(
        default=300, ge=10, le=3600, description="How long fewer calls must have lasted before engine pods go"
    )

    @rule(
        "!has(self.minReplicas) || self.minReplicas <= self.maxReplicas",
        field="minReplicas",
        message="must not be more than `maxReplicas`",
    )
    def _the_least_is_not_more_than_the_most(self) -> bool:
        return self.min_replicas <= self.max_replicas
