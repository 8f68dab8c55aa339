"""The last state that Envoy accepted, on disk: what a restarted gateway serves while there is no API server.

Tables and endpoints are kept, not Envoy's resources: those hold the cache salts, which do not belong on a disk, and an
agent of another version must make its own of them.
"""

import json
import logging
import os
from pathlib import Path
from typing import Any

from tomoul.api.routingtable import RoutingTable
from tomoul.gateway.agent.state import GatewayState
from tomoul.gateway.compile.keys import KeyHash, SecretKeys, SecretRef
from tomoul.gateway.compile.resources import Endpoint, PoolKey

logger = logging.getLogger(__name__)

FILE_NAME = "snapshot.json"


def save_snapshot(folder: Path, region: str, state: GatewayState) -> None:
    """Replace the snapshot in `folder` at once: a crash leaves the old one or the new one. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{FILE_NAME}.{os.getpid()}"
    with temporary.open("w") as file:
        json.dump(_document(region, state), file, separators=(",", ":"))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / FILE_NAME)
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def load_snapshot(folder: Path, region: str) -> GatewayState | None:
    """The snapshot of `region` in `folder`; None, and a line in the log, if there is none that can be read."""
    path = folder / FILE_NAME
    try:
        document = json.loads(path.read_bytes())
        if document["region"] != region:
            logger.warning("snapshot `%s` is of region `%s`, not of `%s`; ignored", path, document["region"], region)
            return None
        return _state(document)
    except FileNotFoundError:
        logger.info("no snapshot at `%s`", path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("snapshot `%s` cannot be read and is ignored: %s: %s", path, type(error).__name__, error)
    return None


def _document(region: str, state: GatewayState) -> dict[str, Any]:
    return {
        "region": region,
        "tables": [table.model_dump(mode="json", by_alias=True, exclude={"status"}) for table in state.tables.values()],
        # Hashes; of keys that are refused when they are short enough to be guessed.
        "keys": [
            {"namespace": ref.namespace, "secret": ref.name, "sha256": dict(keys.hashes)}
            for ref, keys in state.keys.items()
        ],
        "endpoints": [
            {"namespace": pool.namespace, "service": pool.service, "endpoints": list(endpoints)}
            for pool, endpoints in state.endpoints.items()
        ],
    }


def _state(document: dict[str, Any]) -> GatewayState:
    tables = [RoutingTable.model_validate(table) for table in document["tables"]]
    return GatewayState(
        {table.metadata.name: table for table in tables},
        {
            PoolKey(pool["namespace"], pool["service"]): tuple(
                Endpoint(str(address), int(port)) for address, port in pool["endpoints"]
            )
            for pool in document["endpoints"]
        },
        {
            SecretRef(secret["namespace"], secret["secret"]): SecretKeys(
                tuple(KeyHash(str(entry), str(sha256)) for entry, sha256 in secret["sha256"].items())
            )
            for secret in document.get("keys", ())
        },
    )
