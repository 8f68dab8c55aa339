"""What KEDA's `metrics-api` trigger reads: a pool's calls in flight as JSON, beside the operator's own metrics."""

from collections.abc import Mapping

from aiohttp import web

from tomoul.controller.scaling.sampler import Sampler
from tomoul.kube.probes import Handler
from tomoul.plan.world import Key


def metrics_for_keda(sampler: Sampler) -> Mapping[str, Handler]:
    """Handlers by path. `plan/scaling.py` writes the path and the field into ScaledObjects."""

    async def value(request: web.Request) -> web.Response:
        key = Key(request.match_info["namespace"], request.match_info["deployment"])
        try:
            calls = sampler.requests_in_flight(key)
        except KeyError:
            return web.json_response({"error": f"{key.namespace}/{key.name} is no pool that scales"}, status=404)
        if calls is None:
            message = "not all live gateways of the region tell their calls in flight"
            return web.json_response({"error": message}, status=503)
        return web.json_response({"requestsInFlight": calls})

    return {"/scaling/{namespace}/{deployment}": value}
