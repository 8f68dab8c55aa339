"""What an Envoy serves beside calls, and what it does when something in it is wrong."""

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.gateway.harness import Gateway, eventually
from tests.gateway.tables import model, table
from tests.gateway.wire import call
from tomoul.gateway.compile.names import LUA_FILTER
from tomoul.plan.envoy_bootstrap import envoy_bootstrap


@pytest.fixture
def metrics_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture
def measured(metrics_port: int) -> Iterator[Gateway]:
    gateway = Gateway(metrics_port=metrics_port)
    yield gateway
    gateway.stop()


def test_metrics_and_readiness_are_served_to_the_network_and_nothing_else_of_the_admin_interface(
    measured: Gateway, metrics_port: int
) -> None:
    measured.publish([table([model("acme/both")])], {})
    metrics = eventually(lambda: call(metrics_port, "/stats/prometheus?usedonly"))
    assert metrics.status == 200
    assert b"envoy_cluster_manager" in metrics.body
    assert call(metrics_port, "/ready").status == 200
    for path in ("/", "/config_dump", "/stats", "/clusters", "/stats/prometheus/../../config_dump", "/server_info"):
        assert call(metrics_port, path).status == 404
    for path in ("/quitquitquit", "/ready", "/stats/prometheus", "/healthcheck/fail"):
        assert call(metrics_port, path, method="POST").status == 404


def test_a_bootstrap_without_a_metrics_port_has_no_listener_of_its_own() -> None:
    bootstrap = envoy_bootstrap(ads_socket="/run/ads.sock", admin_socket="/run/admin.sock", metrics_port=0)
    assert "listeners" not in bootstrap["static_resources"]
    assert [cluster["name"] for cluster in bootstrap["static_resources"]["clusters"]] == ["ads"]


def test_a_bug_in_the_script_is_a_500_and_never_lets_a_call_pass(gateway: Gateway) -> None:
    resources = gateway.publish([table([model("acme/both")])], {})
    routes: dict[str, Any] = json.loads(json.dumps(dict(resources.routes)))
    entries = routes["gateway"]["virtual_hosts"][0]["metadata"]["filter_metadata"][LUA_FILTER]
    entries["gateway"]["max_body_bytes"] = "many"
    gateway.publish_resources(replace(resources, routes=routes))
    answer = call(gateway.port, body={"model": "acme/both", "messages": []})
    assert (answer.status, answer.error["code"], answer.error["type"]) == (500, "internal_error", "server_error")
    assert answer.header("x-tomoul-region") == "eu-west"
    eventually(lambda: "chat.lua: " in gateway.log())
