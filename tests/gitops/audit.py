"""What the operator has asked the API server to change, by the API server's own audit log."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

LOG = "audit.log"
WRITES = ("create", "update", "patch", "delete", "deletecollection")
POLICY: Mapping[str, object] = {
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "verbs": list(WRITES)}, {"level": "None"}],
}
"""Every write, with who, what and which object."""


@dataclass(frozen=True)
class Write:
    """One request that changes something, or tries to."""

    verb: str
    resource: str
    """With its subresource, such as `regions/status`."""
    namespace: str
    name: str
    status: int


def audit_flags(folder: Path) -> tuple[str, ...]:
    """Flags by which an API server writes every write into `folder`, before its answer is sent."""
    policy = folder / "policy.yaml"
    policy.write_text(yaml.safe_dump({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", **POLICY}))
    return f"--audit-policy-file={policy}", f"--audit-log-path={folder / LOG}", "--audit-log-mode=blocking"


class Audit:
    """The writes of one user, but for those that renew a Lease."""

    def __init__(self, folder: Path, user: str) -> None:
        self._log, self._user = folder / LOG, user

    def now(self) -> int:
        """A moment: pass it to `since`."""
        return self._log.stat().st_size

    def since(self, moment: int) -> list[Write]:
        """Writes that were answered after that moment."""
        with self._log.open("rb") as file:
            file.seek(moment)
            entries = [json.loads(line) for line in file.read().splitlines()]
        return [_write(entry) for entry in entries if self._counts(entry)]

    def _counts(self, entry: Mapping[str, Any]) -> bool:
        return entry["user"]["username"] == self._user and entry["objectRef"]["resource"] != "leases"


def _write(entry: Mapping[str, Any]) -> Write:
    target = entry["objectRef"]
    resource = "/".join(filter(None, (target["resource"], target.get("subresource", ""))))
    status = entry.get("responseStatus", {}).get("code", 0)
    return Write(entry["verb"], resource, target.get("namespace", ""), target.get("name", ""), status)
