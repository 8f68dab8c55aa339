"""A gateway where pods have addresses of IPv6: it takes calls, answers scrapes and reaches engines by them."""

import json
import socket
from collections.abc import Iterator

import pytest

from tests.gateway.harness import Gateway, eventually
from tests.gateway.tables import NAMESPACE, model, table
from tests.gateway.wire import FakeEngine, receive
from tomoul.gateway.compile.compiler import compile_gateway
from tomoul.gateway.compile.resources import Endpoint, PoolKey
from tomoul.plan.listening import ALL


@pytest.fixture
def metrics_port() -> int:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
            port: int = server.getsockname()[1]
            return port
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")


@pytest.fixture
def gateway(metrics_port: int) -> Iterator[Gateway]:
    gateway = Gateway(metrics_port=metrics_port, listen_address=ALL)
    yield gateway
    gateway.stop()


@pytest.fixture
def engine(metrics_port: int) -> Iterator[FakeEngine]:
    engine = FakeEngine("both", address="::1")
    engine.start()
    yield engine
    engine.stop()


def status(address: str, port: int, method: str, path: str, body: bytes = b"") -> int:
    """Of one call to that address."""
    head = f"{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n"
    with socket.create_connection((address, port), timeout=20) as connection:
        connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        return receive(connection).status


def test_calls_and_scrapes_come_by_either_family_and_engines_and_regions_are_reached_by_ipv6(
    gateway: Gateway, engine: FakeEngine, metrics_port: int
) -> None:
    pools = {PoolKey(NAMESPACE, "acme-both"): [Endpoint("::1", engine.port)]}
    elsewhere = [{"region": "us-east", "url": f"http://[::1]:{engine.port}"}]
    tables = [table([model("acme/both")], remoteGateways=elsewhere)]
    gateway.publish_resources(compile_gateway(tables, pools, gateway.options, ()))
    body = json.dumps({"model": "acme/both", "messages": [{"role": "user", "content": "Hi"}]}).encode()
    eventually(lambda: status("::1", gateway.port, "GET", "/-/ready") == 200)
    for address in ("::1", "127.0.0.1"):
        assert status(address, gateway.port, "POST", "/v1/chat/completions", body) == 200
        assert status(address, metrics_port, "GET", "/stats/prometheus?usedonly") == 200
    assert len(engine.received) == 2
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nconnection: close\r\nX-Tomoul-Region: us-east\r\n"
    with socket.create_connection(("::1", gateway.port), timeout=20) as connection:
        connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        # It comes from no gateway, and so does not count; but it came.
        assert b"it answered 200" in receive(connection).body
    assert engine.received[2].header("x-tomoul-region") == "us-east"
