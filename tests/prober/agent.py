"""`tomoul agent`, whose peers are on this machine: `$PEERS` has their URLs by region, in the place of names."""

import json
import os
from collections.abc import Sequence
from typing import Any

from tomoul.api.routingtable import RemoteGateway, RoutingTable
from tomoul.cli.main import main
from tomoul.gateway.agent import run

compile_gateway = run.compile_gateway


def compile_with_peers(tables: Sequence[RoutingTable], *rest: Any) -> Any:
    peers = json.loads(os.environ["PEERS"])

    def placed(table: RoutingTable) -> RoutingTable:
        gateways = tuple(
            RemoteGateway(region=gateway.region, url=peers[gateway.region]) for gateway in table.spec.remote_gateways
        )
        return table.model_copy(update={"spec": table.spec.model_copy(update={"remote_gateways": gateways})})

    return compile_gateway(tuple(placed(table) for table in tables), *rest)


if __name__ == "__main__":
    run.compile_gateway = compile_with_peers  # type: ignore[attr-defined, assignment]
    main(prog_name="tomoul")
