"""Context: what every reconcile works with."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tomoul.controller.canary_watch import CanaryWatch
from tomoul.controller.download_watch import DownloadWatch
from tomoul.controller.keys import WorkKey
from tomoul.controller.metrics import Metrics
from tomoul.controller.observed import Observed
from tomoul.controller.patience import Patience
from tomoul.controller.recorder import Recorder
from tomoul.controller.triggers import Triggers
from tomoul.controller.writer import Writer
from tomoul.kube.client import KubeClient


@dataclass(frozen=True)
class Context:
    """The parts of one operator."""

    observed: Observed
    writer: Writer
    client: KubeClient
    triggers: Triggers
    recorder: Recorder
    canaries: CanaryWatch
    downloads: DownloadWatch
    metrics: Metrics
    patience: Patience
    attempts: Callable[[WorkKey], int]
    """How often in a row a key was worked on in vain."""
    now: Callable[[], datetime]
    """Wall-clock time with a time zone, for the conditions' transition times."""
