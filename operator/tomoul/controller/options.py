"""Options: what an operator is started with."""

import socket
import uuid
from dataclasses import dataclass, field

from tomoul.controller.scaling.demand import REFUSED_SECONDS
from tomoul.controller.scaling.sampler import SAMPLE_SECONDS
from tomoul.plan.settings import Settings


def _identity() -> str:
    """Another one for each start: a pod that is restarted is not the leader that it was."""
    return f"{socket.gethostname()}_{uuid.uuid4()}"


@dataclass(frozen=True)
class OperatorOptions:
    """What an operator is started with."""

    settings: Settings = field(default_factory=Settings)
    workers: int = 32
    """Each waits for one answer of the API server at a time: with eight, two cores were busy for three quarters."""
    health_port: int = 8081
    metrics_port: int = 9090
    lease_name: str = "tomoul-operator"
    resync_seconds: float = 90.0
    """With the time that the lists and what follows take, less than the two minutes of docs/faults.md."""
    external_metrics_service: str = ""
    """Service by which the API server reaches this operator for external metrics; they are not served if empty."""
    external_metrics_port: int = 8443
    sample_seconds: float = SAMPLE_SECONDS
    refused_seconds: float = REFUSED_SECONDS
    identity: str = field(default_factory=_identity)
