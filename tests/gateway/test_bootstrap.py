"""What an Envoy serves beside calls, and what it does when something in it is wrong."""

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.gateway.harness import Gateway, eventually
from tests.gateway.tables import model, table
from tests.gateway.two_regions import pools
from tests.gateway.wire import Answer, FakeEngine, call, stream
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


@pytest.fixture
def faulty() -> Iterator[Gateway]:
    """A gateway whose filter has bugs that calls can ask for."""
    gateway = Gateway(faults=True)
    yield gateway
    gateway.stop()


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    engine = FakeEngine("both")
    engine.start()
    yield engine
    engine.stop()


@pytest.mark.parametrize("hook", ["request headers", "request body"])
def test_a_bug_in_the_filter_is_a_500_and_never_lets_a_call_pass(
    faulty: Gateway, engine: FakeEngine, hook: str
) -> None:
    faulty.publish([table([model("acme/both", pools=pools("both"))])], {"both": [engine]})
    body = {"model": "acme/both", "messages": [{}]}
    answer = call(faulty.port, body=body, headers=[("x-tomoul-fault", hook)])
    assert (answer.status, answer.error["code"], answer.error["type"]) == (500, "internal_error", "server_error")
    assert answer.header("x-tomoul-region") == "eu-west"
    assert engine.received == []
    assert faulty.access_log(answer.header("x-request-id") or "")["code"] == "internal_error"
    eventually(lambda: f"tomoul: bug in {hook}: index out of bounds" in faulty.log())
    assert call(faulty.port, body=body).status == 200, "only that call fails"


@pytest.mark.parametrize("hook", ["response headers", "response body"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_bug_after_the_engine_has_answered_is_never_a_clean_end(
    faulty: Gateway, engine: FakeEngine, hook: str, stream: bool
) -> None:
    faulty.publish([table([model("acme/both", pools=pools("both"))])], {"both": [engine]})
    body = {"model": "acme/both", "messages": [{}], "stream": stream}
    with contextlib.suppress(ConnectionError):  # not even headers
        assert not call(faulty.port, body=body, headers=[("x-tomoul-fault", hook)]).whole
    eventually(lambda: f"tomoul: bug in {hook}: index out of bounds" in faulty.log())
    assert call(faulty.port, body=body).whole, "only that call fails"


@pytest.mark.parametrize("hook", ["rewrite", "rewritten chunk"])
def test_what_a_bug_left_in_a_workers_memory_reaches_no_other_call(
    faulty: Gateway, engine: FakeEngine, hook: str
) -> None:
    faulty.publish([table([model("acme/both", aliases=["both"], pools=pools("both"))])], {"both": [engine]})
    engine.behave = lambda request: stream(b'data: {"id":"1","choices":[]}\n\n', b"data: [DONE]\n\n")

    def ask(content: str, *headers: tuple[str, str]) -> Answer:
        messages = [{"role": "user", "content": content}]
        return call(faulty.port, body={"model": "both", "messages": messages, "stream": True}, headers=headers)

    with contextlib.suppress(ConnectionError):
        ask("theirs", ("x-tomoul-fault", hook))
    eventually(lambda: "tomoul: bug in re" in faulty.log())
    answer = ask("mine")
    assert b"theirs" not in engine.received[-1].body
    assert engine.received[-1].json()["messages"] == [{"role": "user", "content": "mine"}]
    assert (len(answer.events()), answer.events()[-1]) == (2, "[DONE]")


def test_a_document_that_the_filter_does_not_know_is_refused_and_the_old_one_goes_on(
    gateway: Gateway, engine: FakeEngine
) -> None:
    resources = gateway.publish([table([model("acme/both", pools=pools("both"))])], {"both": [engine]})
    extension: dict[str, Any] = json.loads(json.dumps(resources.extensions["tomoul"]))
    extension["typed_config"]["filter_config"]["value"] = '{"regoin":1}'
    refused = gateway.refused(replace(resources, extensions={"tomoul": extension}))
    assert "Failed to initialize dynamic module" in refused
    assert "in the log of the gateway's Envoy" in refused
    assert "tomoul: the document is refused: UnknownField at byte 9 of 12" in gateway.log()
    assert call(gateway.port, body={"model": "acme/both", "messages": [{}]}).status == 200
