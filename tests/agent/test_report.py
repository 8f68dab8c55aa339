"""What a gateway says of tables to an API server whose CRDs are older than it is."""

import asyncio
import contextlib
import copy
from pathlib import Path
from typing import Any

import yaml

from tests.agent.envoy import eventually
from tests.agent.tables import table_manifest
from tests.controlplane.harness import REPOSITORY, ControlPlane
from tomoul.gateway.agent.report import Reporter
from tomoul.gateway.agent.state import KnownTable, TableReader
from tomoul.kube.http_client import HttpKubeClient
from tomoul.kube.resources import ROUTING_TABLES
from tomoul.plan.world import Key

KEY = Key("", "eu-west")
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/routingtables.tomoul.ai"


def older(crd: dict[str, Any]) -> dict[str, Any]:
    """The CRD without what an entry has had since its first version."""
    found = copy.deepcopy(crd)
    status = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    del status["properties"]["gateways"]["items"]["properties"]["poolsWithoutEndpoints"]
    return found


async def test_crds_that_are_older_than_the_gateway_are_told_in_the_tables_status_until_they_are_upgraded(
    tmp_path: Path,
) -> None:
    crd = yaml.safe_load((REPOSITORY / "crds" / "tomoul.ai_routingtables.yaml").read_text())
    with ControlPlane(tmp_path, controllers=False) as control_plane:
        api = control_plane.api
        api.apply(CRD, older(crd))
        async with await HttpKubeClient.connect(str(control_plane.kubeconfig)) as client:
            written = await client.create(table_manifest())
            tables: dict[Key, KnownTable] = {KEY: TableReader("gateway-0")(written)}
            writes = 0

            def on_written(item: dict[str, Any]) -> None:
                nonlocal writes
                writes += 1
                tables[KEY] = TableReader("gateway-0")(item)

            reporter = Reporter(client, "gateway-0", tables, on_written)
            reporter.accepted({KEY.name: tables[KEY].version})
            reporting = asyncio.create_task(reporter.run())

            async def entry() -> dict[str, Any]:
                found = (await client.get(ROUTING_TABLES, KEY)).get("status", {}).get("gateways", [])
                return dict(found[0]) if found else {}

            async def told() -> bool:
                message = (await entry()).get("message", "")
                return "`routingtables.tomoul.ai` is older than this gateway" in message

            async def accepted() -> bool:
                return (await entry()).get("acceptedGeneration") == 1

            await eventually(told)
            assert not await accepted()
            api.apply(CRD, crd)
            await eventually(accepted)
            assert (await entry())["message"] == ""
            assert writes == 2, "each was written once"
            reporting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reporting
