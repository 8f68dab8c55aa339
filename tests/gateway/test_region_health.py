"""Another region that is not there costs the calls that could go there nothing."""

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.gateway.harness import Gateway, eventually
from tests.gateway.tables import model, table
from tests.gateway.two_regions import Platform
from tests.gateway.wire import Answer, FakeEngine, call, reply
from tomoul.gateway.compile.compiler import compile_gateway

FALLBACK = ["ap-south", "us-east"]


class Silent:
    """A region's address at which connections are taken and nothing is ever said."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]

    def stop(self) -> None:
        self._listener.close()


@pytest.fixture
def south() -> Iterator[FakeEngine]:
    engine = FakeEngine("ap-south")
    engine.start()
    yield engine
    engine.stop()


def publish(gateway: Gateway, platform: Platform, south: int) -> None:
    """With regions that are asked ten times as often as others, and given a quarter of the time."""
    remote = [
        {"region": "ap-south", "url": f"http://127.0.0.1:{south}"},
        {"region": "us-east", "url": f"http://127.0.0.1:{platform.us.port}"},
    ]
    far = model("acme/far", regions=FALLBACK, fallback=FALLBACK, pools=[])
    resources = compile_gateway([table([far], remoteGateways=remote)], {}, gateway.options)
    often = {"timeout": "0.5s", "interval": "0.3s", "no_traffic_interval": "0.3s"}
    clusters = {
        name: {**cluster, "health_checks": [{**check, **often} for check in cluster["health_checks"]]}
        for name, cluster in resources.clusters.items()
    }
    gateway.publish_resources(replace(resources, clusters=clusters))


def chat(gateway: Gateway, pin: str | None = None) -> Answer:
    headers = [("x-tomoul-region", pin)] if pin else []
    return call(gateway.port, body={"model": "acme/far", "messages": [{}]}, headers=headers)


def test_a_region_that_takes_connections_and_says_nothing_is_passed_over(platform: Platform, gateway: Gateway) -> None:
    silent = Silent()
    try:
        publish(gateway, platform, silent.port)
        eventually(lambda: gateway.stat("cluster.region/ap-south.health_check.failure") >= 3)
        answer = eventually(lambda: chat(gateway))
        assert (answer.status, answer.header("x-tomoul-region")) == (200, "us-east")
        pinned = chat(gateway, "ap-south")
        assert (pinned.status, pinned.error["code"]) == (503, "region_capacity_unavailable")
    finally:
        silent.stop()


def test_a_region_that_goes_and_comes_back_is_passed_over_meanwhile(
    platform: Platform, gateway: Gateway, south: FakeEngine
) -> None:
    answers = reply(200, b"{}", headers=[("x-tomoul-region", "ap-south")])
    south.behave = lambda _: answers
    publish(gateway, platform, south.port)
    assert eventually(lambda: chat(gateway).header("x-tomoul-region") == "ap-south")
    there, south.health = south.health, reply(503, b"")
    assert chat(gateway).header("x-tomoul-region") == "ap-south", "one answer of 503 may be that of one gateway of many"
    assert eventually(lambda: chat(gateway).header("x-tomoul-region") == "us-east")
    assert chat(gateway, "ap-south").status == 503
    south.health = there
    assert eventually(lambda: chat(gateway, "ap-south").status == 200)


def test_a_region_whose_front_hides_the_path_of_the_check_is_there(
    platform: Platform, gateway: Gateway, south: FakeEngine
) -> None:
    answers = reply(200, b"{}", headers=[("x-tomoul-region", "ap-south")])
    south.behave, south.health = (lambda _: answers), reply(404, b"")
    publish(gateway, platform, south.port)
    assert eventually(lambda: chat(gateway).header("x-tomoul-region") == "ap-south")
    eventually(lambda: gateway.stat("cluster.region/ap-south.health_check.success") >= 2)
    assert chat(gateway).header("x-tomoul-region") == "ap-south"
