"""Engines and gateways that are gone, slow or full, and Envoy's own errors."""

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.gateway.conftest import Chat
from tests.gateway.harness import Gateway, eventually
from tests.gateway.tables import model, table
from tests.gateway.two_regions import ISOLATED, Platform, pools
from tests.gateway.wire import COMPLETION, FakeEngine, Reply, call, chunk, reply, send, stream

BODY = {"model": "acme/both", "messages": [{}]}


def dead_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture
def dead_engine() -> FakeEngine:
    """A pod that is in the EndpointSlice and refuses connections."""
    return FakeEngine("dead", port=dead_port())


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    engine = FakeEngine("alive")
    engine.start()
    yield engine
    engine.stop()


def test_a_dead_pod_is_passed_over_and_no_call_fails(
    gateway: Gateway, dead_engine: FakeEngine, engine: FakeEngine
) -> None:
    gateway.publish([table([model("acme/both", pools=pools("both"))])], {"both": [dead_engine, engine]})
    answers = [call(gateway.port, body=BODY, headers=[("x-tomoul-region", "eu-west")]) for _ in range(30)]
    assert [answer.status for answer in answers] == [200] * 30


def test_an_engine_that_closes_connections_unannounced_gets_one_for_each_call(
    gateway: Gateway, engine: FakeEngine
) -> None:
    routes = [
        model("acme/closes", pools=pools("closes"), reuseConnections=False),
        model("acme/keeps", pools=pools("keeps")),
    ]
    other = FakeEngine("keeps")
    other.start()
    gateway.publish([table(routes)], {"closes": [engine], "keeps": [other]})
    for body in [{"messages": [{}], "model": name, "stream": True} for name in ("acme/closes", "acme/keeps")] * 8:
        assert call(gateway.port, body=body).status == 200
    other.stop()
    assert engine.connections == 8
    assert other.connections < 8


def test_a_call_goes_to_the_fallback_when_all_pods_here_refuse_connections(
    platform: Platform, gateway: Gateway, dead_engine: FakeEngine
) -> None:
    gateways = [{"region": "us-east", "url": f"http://127.0.0.1:{platform.us.port}"}]
    route = model("acme/both", fallback=["us-east"], pools=pools("both"))
    gateway.publish([table([route], remoteGateways=gateways)], {"both": [dead_engine]})
    assert call(gateway.port, body=BODY).header("x-tomoul-region") == "us-east"
    pinned = call(gateway.port, body=BODY, headers=[("x-tomoul-region", "eu-west")])
    assert (pinned.status, pinned.error["code"]) == (503, "region_capacity_unavailable")
    assert pinned.header("retry-after") == "30"


def test_a_full_engine_sends_calls_without_a_region_to_the_fallback_and_pinned_ones_get_503(
    platform: Platform, chat: Chat
) -> None:
    platform.engines["both"].behave = lambda request: reply(503, b'{"error":{"message":"full","code":503}}')
    assert chat().header("x-tomoul-region") == "us-east"
    pinned = chat(region="eu-west")
    assert (pinned.status, pinned.error["code"], pinned.error["message"]) == (
        503,
        "region_capacity_unavailable",
        "full",
    )
    assert len(platform.engines["us-both"].received) == 1


def test_a_regions_503_goes_on_to_the_next_fallback(platform: Platform, gateway: Gateway, engine: FakeEngine) -> None:
    engine.behave = lambda request: reply(503, b"{}", headers=[("x-tomoul-region", "ap-south")])
    gateways = [
        {"region": "ap-south", "url": f"http://127.0.0.1:{engine.port}"},
        {"region": "us-east", "url": f"http://127.0.0.1:{platform.us.port}"},
    ]
    route = model("acme/both", fallback=["ap-south", "us-east"], pools=pools("both"), cache=ISOLATED)
    gateway.publish([table([route], remoteGateways=gateways)], {})
    answer = call(gateway.port, body=BODY)
    assert (answer.status, answer.header("x-tomoul-region")) == (200, "us-east")
    assert [request.header("x-tomoul-region") for request in engine.received] == ["ap-south"]
    assert platform.engines["us-both"].received[0].header("x-tomoul-region") == "us-east"


def test_a_call_that_every_region_refuses_is_at_most_three_calls_to_engines(platform: Platform, chat: Chat) -> None:
    here, there = platform.engines["both"], platform.engines["us-both"]
    for engine in (here, there):
        engine.behave = lambda request: reply(503, b'{"error":{"message":"full"}}')
    assert chat().status == 503
    assert (len(here.received), len(there.received)) == (2, 1)
    # A call that is for the other region has all tries there.
    assert chat(region="us-east").status == 503
    assert len(there.received) == 1 + 3


def test_an_unreachable_regions_gateway_is_503_when_pinned_and_never_another_region(
    platform: Platform, chat: Chat
) -> None:
    platform.publish_eu(us_port=dead_port())
    started = time.monotonic()
    answer = chat(region="us-east")
    assert (answer.status, answer.error["code"]) == (503, "region_capacity_unavailable")
    assert answer.header("retry-after") == "30"
    assert time.monotonic() - started < 5
    assert platform.served_by() == []


@pytest.mark.parametrize(
    "replies",
    [
        reply(502, b"<html>Bad Gateway</html>", "text/html", headers=[("set-cookie", "a=b"), ("server", "ingress")]),
        reply(404, b'{"error":{"message":"default backend","code":"not_found"}}'),
        reply(302, b"", headers=[("location", "https://login.example.com/")]),
        reply(200, COMPLETION),
        reply(200, COMPLETION, headers=[("content-encoding", "gzip")]),
        stream(f"data: {chunk('c-1', 'a')}\n\n".encode(), b"data: [DONE]\n\n"),
        [b"HTTP/1.1 204 No Content\r\n\r\n"],
    ],
    ids=["502", "404", "302", "200", "200 compressed", "200 stream", "204"],
)
def test_an_answer_in_another_regions_place_is_503_and_never_passes_for_the_regions(
    gateway: Gateway, engine: FakeEngine, replies: list[Reply]
) -> None:
    """A load balancer in front of the other region speaks for itself, not for the region."""
    engine.behave = lambda request: replies
    gateways = [{"region": "us-east", "url": f"http://127.0.0.1:{engine.port}"}]
    route = model("acme/both", fallback=["us-east"], pools=pools("both"))
    gateway.publish([table([route], remoteGateways=gateways)], {})
    for headers in ([("x-tomoul-region", "us-east")], []):
        answer = call(gateway.port, body=BODY, headers=headers)
        assert (answer.status, answer.header("x-tomoul-region"), answer.whole) == (503, "eu-west", True)
        assert answer.header("content-type") == "application/json"
        assert answer.header("retry-after") == "30"
        status = replies[0][9:12].decode() if isinstance(replies[0], bytes) else ""
        assert answer.error == {
            "message": f"What answers at the other region's endpoint is not its gateway; it answered {status}",
            "type": "server_error",
            "param": None,
            "code": "region_capacity_unavailable",
        }
        for name in ("set-cookie", "location", "content-encoding"):
            assert answer.header(name) is None
        assert gateway.access_log(answer.header("x-request-id") or "")["code"] == "region_capacity_unavailable"


def test_a_call_that_the_engine_has_begun_is_never_sent_twice(platform: Platform, chat: Chat) -> None:
    platform.engines["pinned"].behave = lambda request: []
    answer = chat("acme/pinned", region="eu-west")
    assert (answer.status, answer.error["code"]) == (502, "engine_failed")
    assert len(platform.engines["pinned"].received) == 1


def test_an_engine_that_is_too_slow_is_504(platform: Platform, chat: Chat) -> None:
    slow: list[Reply] = [3.0]
    platform.engines["quick"].behave = platform.engines["idle"].behave = lambda request: slow
    for name in ("acme/quick", "acme/idle"):
        started = time.monotonic()
        answer = chat(name)
        assert (answer.status, answer.error["code"]) == (504, "timeout")
        assert 0.5 < time.monotonic() - started < 2.5
        assert answer.header("x-tomoul-region") == "eu-west"


def test_a_models_timeouts_are_not_a_clients_to_set(platform: Platform) -> None:
    platform.engines["both"].behave = lambda request: [0.3, *reply(200, COMPLETION)]
    headers = [
        ("x-envoy-upstream-rq-timeout-ms", "50"),
        ("x-envoy-upstream-rq-per-try-timeout-ms", "50"),
        ("x-envoy-max-retries", "9"),
        ("x-tomoul-route", "model/acme/quick"),
    ]
    assert call(platform.eu.port, body=BODY, headers=headers).status == 200
    assert len(platform.engines["both"].received) == 1


def test_a_stream_that_goes_silent_is_cut_after_the_models_idle_time(platform: Platform, chat: Chat) -> None:
    first = f"data: {chunk('c-1', 'a')}\n\n".encode()
    platform.engines["idle"].behave = lambda request: stream(first, 3.0)
    answer = chat("acme/idle", stream=True)
    assert not answer.whole


@pytest.mark.parametrize(
    "head",
    [
        b"GARBAGE\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-a: \x00\r\n\r\n",
    ],
)
def test_what_is_no_http_is_400_in_openais_shape(platform: Platform, head: bytes) -> None:
    answer = send(platform.eu.port, head)
    assert (answer.status, answer.error["code"]) == (400, "invalid_request")
    assert answer.error["type"] == "invalid_request_error"
    assert answer.header("x-tomoul-region") == "eu-west"


def test_headers_that_are_too_large_are_431_in_openais_shape(platform: Platform) -> None:
    answer = call(platform.eu.port, body=BODY, headers=[("x-large", "x" * 100_000)])
    assert (answer.status, answer.error["code"]) == (431, "request_too_large")
    assert answer.header("x-tomoul-region") == "eu-west"


def test_a_draining_gateway_says_so_to_the_kubelet_and_still_answers_calls(
    gateway: Gateway, engine: FakeEngine
) -> None:
    gateway.publish([table([model("acme/both", pools=pools("both"))])], {"both": [engine]})
    assert call(gateway.port, "/-/ready").status == 200
    gateway.admin("/healthcheck/fail", "POST")
    assert call(gateway.port, "/-/ready").status == 503
    assert call(gateway.port, body=BODY).status == 200


def test_a_stream_in_flight_survives_changed_tables_and_endpoints(gateway: Gateway, engine: FakeEngine) -> None:
    route = model("acme/both", pools=pools("both"))
    gateway.publish([table([route])], {"both": [engine]})
    data = f"data: {chunk('c-1', 'a')}\n\n".encode()
    engine.behave = lambda request: stream(data, 1.0, data, b"data: [DONE]\n\n")
    with ThreadPoolExecutor(1) as executor:
        streaming = executor.submit(call, gateway.port, body={**BODY, "stream": True})
        eventually(lambda: engine.received)
        for number in range(1, 4):
            gateway.publish([table([route, *(model(f"acme/new-{index}") for index in range(number))])], {})
        answer = streaming.result()
    assert answer.events()[-1] == "[DONE]"
    assert answer.whole
    assert call(gateway.port, body=BODY).status == 503, "its endpoint is gone by now"


def test_a_removed_model_is_unknown_at_once(gateway: Gateway, engine: FakeEngine) -> None:
    route = model("acme/both", pools=pools("both"))
    gateway.publish([table([route])], {"both": [engine]})
    assert call(gateway.port, body=BODY).status == 200
    gateway.publish([table([])], {})
    assert call(gateway.port, body=BODY).error["code"] == "model_not_found"


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """`ca.pem`, and `leaf.pem` with `leaf.key` for the name localhost."""
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificates for this test")
    for arguments in (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test",
        (
            "req -newkey rsa:2048 -nodes -keyout leaf.key -out leaf.csr -subj /CN=leaf"
            " -addext subjectAltName=DNS:localhost"
        ),
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out leaf.pem -days 2 -copy_extensions copy",
    ):
        subprocess.run(["openssl", *arguments.split()], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


def test_another_region_is_reached_over_tls_only_if_its_certificate_is_trusted_and_names_it(
    gateway: Gateway, certificates: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "leaf.pem", certificates / "leaf.key")
    other = FakeEngine("other gateway", tls=context)
    other.behave = lambda request: reply(200, COMPLETION, headers=[("x-tomoul-region", "us-east")])
    other.start()
    trusted = (certificates / "ca.pem").read_text()

    def answer(host: str, ca_bundle: str | None) -> tuple[int, str | None]:
        remote = {"region": "us-east", "url": f"https://{host}:{other.port}", "caBundle": ca_bundle}
        gateway.publish([table([], remoteGateways=[remote])], {})
        answer = call(gateway.port, body=BODY, headers=[("x-tomoul-region", "us-east")])
        return answer.status, answer.header("x-tomoul-region")

    assert eventually(lambda: answer("localhost", trusted) == (200, "us-east"))
    assert other.received[0].header("host") == f"localhost:{other.port}"
    seen = len(other.received)
    assert answer("localhost", None) == (503, "eu-west")
    assert answer("127.0.0.1", trusted) == (503, "eu-west")
    assert len(other.received) == seen
    other.stop()
