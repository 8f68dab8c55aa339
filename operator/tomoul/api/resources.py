"""Resources: what one replica of a model needs."""

from pydantic import Field

from tomoul.api.meta import ApiModel
from tomoul.api.names import AcceleratorName, Cpu, Memory
from tomoul.api.rules import rule


class Resources(ApiModel):
    """What one replica needs."""

    accelerator: AcceleratorName | None = Field(
        default=None, description="Accelerator name of the Region; none for CPU only"
    )
    count: int = Field(default=1, ge=1, le=16, description="GPUs of the accelerator per pod")
    nodes: int = Field(
        default=1,
        ge=1,
        le=16,
        description="Pods that one replica is made of, each with `count` GPUs; more than 1 need LeaderWorkerSet",
    )
    pipeline: int = Field(
        default=1,
        ge=1,
        le=16,
        description="Stages that a replica's GPUs form, each with a part of the layers; 1: each layer on all",
    )
    cpu: Cpu | None = Field(default=None, description="CPU request of each pod, such as `4` or `500m`")
    memory: Memory | None = Field(default=None, description="Memory request and limit of each pod, such as `16Gi`")

    @property
    def gpus(self) -> int:
        """GPUs that work together on one replica."""
        return self.count * self.nodes

    @rule(
        "!has(self.count) || self.count == 1 || has(self.accelerator)",
        field="count",
        message="counts GPUs: name their `accelerator`, or leave `count` out",
    )
    def _only_accelerators_are_counted(self) -> bool:
        return self.count == 1 or self.accelerator is not None

    @rule(
        "!has(self.nodes) || self.nodes == 1 || has(self.accelerator)",
        field="nodes",
        message="joins the GPUs of several nodes: name their `accelerator`, or leave `nodes` out",
    )
    def _only_accelerators_are_joined(self) -> bool:
        return self.nodes == 1 or self.accelerator is not None

    @rule(
        "!has(self.pipeline) || self.pipeline == 1 "
        "|| ((has(self.count) ? self.count : 1) * (has(self.nodes) ? self.nodes : 1)) % self.pipeline == 0",
        field="pipeline",
        message="must divide the replica's GPUs, `count` times `nodes`: each stage has as many as the others",
    )
    def _stages_are_equal(self) -> bool:
        return self.gpus % self.pipeline == 0
