"""Download: how far the weights of a model are on their way to a region, as its status tells it."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from tomoul.api.meta import StatusModel
from tomoul.api.rules import INT64


class DownloadStatus(StatusModel):
    """The download of the pod that is furthest; absent while no pod downloads."""

    pod: str = Field(max_length=253, description="Pod that this is said of")
    pods: int = Field(default=1, description="Pods of the region whose loaders run")
    state: str = Field(
        max_length=32,
        description="Listing, Downloading, Verifying, or Waiting for another loader that brings the same",
    )
    bytes: Annotated[int, INT64] = Field(default=0, ge=0, description="Bytes on the volume")
    total: Annotated[int, INT64] = Field(default=0, ge=0, description="Bytes in all; 0 until the source was listed")
    bytes_per_second: Annotated[int, INT64] = Field(default=0, ge=0, description="Over the last half minute")
    seconds_left: Annotated[int, INT64] | None = Field(
        default=None, description="At this speed; absent while nothing comes"
    )
    updated: datetime = Field(description="When the operator asked; while it changes, about twice a minute")
