"""A bare client: applies objects that were made beforehand, as fast as the API server answers. Run as a process.

python -m benchmarks.operator.bare KUBECONFIG FILE.jsonl CONNECTIONS VALIDATION   # prints objects, seconds, CPU seconds

VALIDATION is the `fieldValidation` of its requests: `Strict`, what kubectl asks for, or `Ignore`, as the operator's do.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import kopf
import yaml

from tomoul.kube.resources import key_of, resource_of

Write = tuple[str, bytes]


async def apply_all(config: dict[str, Any], writes: list[Write], connections: int, validation: str) -> float:
    """Seconds that it took. Raises RuntimeError for the first refusal."""
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    tls = kopf.ConnectionInfo(server=cluster["server"], ca_path=cluster["certificate-authority"]).as_ssl_context()
    headers = {"Authorization": f"Bearer {user['token']}", "Content-Type": "application/apply-patch+yaml"}
    left: Iterator[Write] = iter(writes)

    async def worker(session: aiohttp.ClientSession) -> None:
        for path, body in left:
            url = f"{cluster['server']}{path}?fieldManager=bare&force=true&fieldValidation={validation}"
            async with session.patch(url, data=body, headers=headers) as answer:
                text = await answer.read()
                if answer.status >= 400:
                    raise RuntimeError(text.decode())

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, ssl=tls)) as session:
        began = time.monotonic()
        await asyncio.gather(*(worker(session) for _ in range(connections)))
        return time.monotonic() - began


def main() -> None:
    """Apply what the file has."""
    config, file, connections = yaml.safe_load(Path(sys.argv[1]).read_text()), Path(sys.argv[2]), int(sys.argv[3])
    validation = sys.argv[4]
    manifests = [json.loads(line) for line in file.read_text().splitlines()]
    writes = [(resource_of(each).path(key_of(each)), json.dumps(each).encode()) for each in manifests]
    began = time.process_time()
    seconds = asyncio.run(apply_all(config, writes, connections, validation))
    print(json.dumps({"objects": len(writes), "seconds": seconds, "cpu_seconds": time.process_time() - began}))


if __name__ == "__main__":
    main()
