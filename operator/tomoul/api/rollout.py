"""Rollout: how a new revision of a model takes over, and what can be said of one that does."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tomoul.api.meta import ApiModel, StatusModel
from tomoul.api.rules import INT64

Word = Annotated[str, Field(max_length=63)]
"""A value of one of the enumerations below: an older operator must be able to read what a newer one adds."""


class RolloutStrategy(StrEnum):
    """Which pod goes first.

    Surge starts a new pod before it stops an old one. Replace stops first, which needs no spare GPU. Auto surges where
    a whole replica fits on a node of the region when the rollout begins, and else replaces.
    """

    AUTO = "Auto"
    SURGE = "Surge"
    REPLACE = "Replace"


class RolloutReason(StrEnum):
    """Why a rollout has its strategy."""

    REQUESTED = "Requested"
    NOTHING_TO_REPLACE = "NothingToReplace"
    REPLICA_FITS = "ReplicaFits"
    NO_ROOM = "NoRoom"
    SURGE_UNSCHEDULABLE = "SurgeUnschedulable"
    NOT_BEGUN = "NotBegun"
    UNRECORDED = "Unrecorded"


class RolloutPhase(StrEnum):
    """How far the newest revision has come."""

    PROGRESSING = "Progressing"
    CANARY = "Canary"
    COMPLETE = "Complete"
    STALLED = "Stalled"
    ROLLED_BACK = "RolledBack"


class CanaryVerdict(StrEnum):
    """What became of a canary; Pending while it is not known."""

    PENDING = "Pending"
    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"


class Canary(ApiModel):
    """A new revision first takes a share of the calls with one pod, beside the old pods, and is judged by them."""

    weight: int = Field(default=5, ge=1, le=50, description="Share of the region's calls, in percent")
    duration_seconds: int = Field(default=600, ge=10, le=86400, description="How long it is watched at least")
    min_calls: int = Field(default=100, ge=1, le=1_000_000, description="Calls that it must have answered")
    max_error_percent: int = Field(
        default=2, ge=0, le=100, description="By how many percentage points its share of failed calls may be the higher"
    )
    max_ttft_percent: int = Field(
        default=150,
        ge=100,
        le=10_000,
        description="Its mean time to first token in streams, in percent of the old pods', at most",
    )


class Rollout(ApiModel):
    """How a new revision takes over."""

    strategy: RolloutStrategy = Field(default=RolloutStrategy.AUTO, description="Which pod goes first")
    drain_seconds: int = Field(
        default=60, ge=1, le=3600, description="Time for streams to finish before a pod is stopped"
    )
    deadline_seconds: int = Field(
        default=4200,
        ge=10,
        le=86400,
        description="How long a rollout may go without a new pod becoming ready, until its condition says so",
    )
    canary: Canary | None = Field(default=None, description="Try a new revision on a share of the calls first")


class CallStatistics(StatusModel):
    """What gateways counted of the calls that pods of one revision took."""

    calls: Annotated[int, INT64] = Field(default=0, ge=0, description="Calls that were answered")
    errors: Annotated[int, INT64] = Field(
        default=0, ge=0, description="Those of them that failed by the engine's fault"
    )
    ttft_milliseconds: Annotated[int, INT64] = Field(
        default=0, ge=0, description="Mean time to first token of streams; 0 without any"
    )


class CanaryStatus(StatusModel):
    """A canary and what it is judged by."""

    deployment: str = Field(default="", max_length=63, description="Deployment name")
    ready: bool = Field(default=False, description="Whether it takes calls")
    verdict: Word = Field(default=CanaryVerdict.PENDING.value, description="What became of it")
    message: str = Field(default="", max_length=1024, description="Why, or what it still waits for")
    canary: CallStatistics = Field(default_factory=CallStatistics, description="Calls that it took")
    stable: CallStatistics = Field(default_factory=CallStatistics, description="Calls that the old pods took meanwhile")


class RolloutStatus(StatusModel):
    """The newest revision in a region, and how it takes over."""

    revision: str = Field(default="", max_length=63, description="Newest revision, as its pods' label has it")
    serving_revision: str = Field(
        default="", max_length=63, description="Revision of the pods that go on serving while a canary is tried"
    )
    phase: Word = Field(default=RolloutPhase.PROGRESSING.value, description="How far it has come")
    strategy: Word = Field(default=RolloutStrategy.REPLACE.value, description="Surge or Replace, as chosen")
    reason: Word = Field(default=RolloutReason.UNRECORDED.value, description="Why, in one word")
    message: str = Field(default="", max_length=1024, description="Why, for a person")
    updated: int = Field(default=0, description="Pods of the newest revision in the pool `default`")
    canary: CanaryStatus | None = Field(default=None, description="The canary, where one is or was tried")
