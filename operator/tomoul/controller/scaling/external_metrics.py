"""External metrics: the answers to `external.metrics.k8s.io`, of which HorizontalPodAutoscalers ask.

Only the API server is answered, by its own client certificate: it has authenticated and authorized whoever asks it.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from aiohttp import web

from tomoul.controller.scaling.sampler import Sampler
from tomoul.plan.scaling import METRIC, METRIC_LABEL
from tomoul.plan.world import Key

GROUP_VERSION = "external.metrics.k8s.io/v1beta1"
_ROOT = f"/apis/{GROUP_VERSION}"


def external_metrics(
    sampler: Sampler, now: Callable[[], datetime], is_api_server: Callable[[str], bool]
) -> web.Application:
    """The application; `is_api_server` judges the common name of the caller's certificate, which TLS has verified."""

    @web.middleware
    async def api_server_only(request: web.Request, handler: Any) -> web.StreamResponse:
        if not is_api_server(_common_name(request)):
            return _failure(403, "Forbidden", "only the API server may ask here")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def discover(request: web.Request) -> web.Response:
        resource = {
            "name": METRIC,
            "singularName": "",
            "namespaced": True,
            "kind": "ExternalMetricValueList",
            "verbs": ["get"],
        }
        return _answer(
            {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP_VERSION, "resources": [resource]}
        )

    async def value(request: web.Request) -> web.Response:
        namespace, metric = request.match_info["namespace"], request.match_info["metric"]
        selector = request.query.get("labelSelector", "")
        label, equals, name = selector.partition("=")
        if metric != METRIC:
            return _failure(404, "NotFound", f"there is no metric `{metric}`; there is `{METRIC}`")
        if label != METRIC_LABEL or not equals or "," in name:
            message = f"labelSelector: must be `{METRIC_LABEL}=NAME`, the Deployment of a pool, and is `{selector}`"
            return _failure(400, "BadRequest", message)
        try:
            calls = sampler.requests_in_flight(Key(namespace, name.removeprefix("=")))
        except KeyError:
            return _failure(404, "NotFound", f"Deployment `{name}` in namespace `{namespace}` is no pool that scales")
        if calls is None:
            return _failure(503, "ServiceUnavailable", "not all live gateways of the region tell their calls in flight")
        found = {
            "metricName": METRIC,
            "metricLabels": {METRIC_LABEL: name},
            "timestamp": f"{now():%Y-%m-%dT%H:%M:%SZ}",
            "value": str(calls),
        }
        return _answer(
            {"kind": "ExternalMetricValueList", "apiVersion": GROUP_VERSION, "metadata": {}, "items": [found]}
        )

    application = web.Application(middlewares=[api_server_only])
    application.router.add_get(_ROOT, discover)
    application.router.add_get(f"{_ROOT}/namespaces/{{namespace}}/{{metric}}", value)
    return application


def _common_name(request: web.Request) -> str:
    certificate = request.transport.get_extra_info("peercert") if request.transport is not None else None
    subject = [pair for part in (certificate or {}).get("subject", ()) for pair in part]
    return next((value for name, value in subject if name == "commonName"), "")


def _answer(body: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(status=status, text=json.dumps(body), content_type="application/json")


def _failure(code: int, reason: str, message: str) -> web.Response:
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason}
    return _answer({**status, "message": message, "code": code}, code)
