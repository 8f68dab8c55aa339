"""What a person chooses of local mode, and why it cannot start or go on."""

from dataclasses import dataclass, field
from pathlib import Path

from tomoul.api.routingtable import GatewayAuth
from tomoul.local.models import models_folder

DEFAULT_PORT = 8080


class LocalError(Exception):
    """Local mode cannot start or go on; the message says why and what to do, for a person."""


@dataclass(frozen=True)
class LocalOptions:
    """What a person chooses."""

    port: int | None = None
    """Loopback port of the first region's gateway; 0 for any free one, None for DEFAULT_PORT or, if taken, any."""
    models: Path = field(default_factory=models_folder)
    """Folder in which models' files are looked up."""
    auth: GatewayAuth = GatewayAuth.NONE
    """Whether calls need a key of one of the files' Tenants."""
