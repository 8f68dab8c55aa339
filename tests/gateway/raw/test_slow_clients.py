"""Clients that do not finish what they begin, or stop listening."""

import json
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress

import pytest

from tests.gateway.harness import Gateway, eventually
from tests.gateway.raw.cases import told_of
from tests.gateway.raw.conftest import Ended
from tests.gateway.raw.connection import Connection, chat_body, request
from tests.gateway.tables import model, table
from tests.gateway.two_regions import Platform
from tests.gateway.wire import FakeEngine, call, chunk, stream


def test_a_client_that_closes_its_side_has_gone_away_and_its_call_ends_at_the_engine(platform: Platform) -> None:
    event = f"data: {chunk('c-1', 'a')}\n\n".encode()
    platform.engines["both"].behave = lambda _: stream(*[part for _ in range(200) for part in (event, 0.02)])
    with Connection(platform.eu.port) as connection:
        connection.send(request(body=chat_body("u").replace(b"[{}]", b'[{}],"stream":true')))
        eventually(lambda: platform.engines["both"].received)
        connection.finish_sending()
        closed = time.monotonic()
        eventually(lambda: platform.engines["both"].disconnects)
    assert platform.engines["both"].disconnects[0] - closed < 1


def test_a_body_that_never_comes_whole_reaches_no_engine(platform: Platform) -> None:
    with Connection(platform.eu.port) as connection:
        connection.send(request("Content-Length: 100", body=chat_body("u")))
        connection.finish_sending()
        assert connection.answers() == []
    assert platform.served_by() == []


@pytest.mark.parametrize("drips", [True, False])
def test_a_body_that_drips_or_stops_is_408_when_its_time_is_over_and_reaches_no_engine(drips: bool) -> None:
    engine = FakeEngine()
    engine.start()
    gateway = Gateway(body_seconds=1)
    with ExitStack() as stack:
        stack.callback(engine.stop)
        stack.callback(gateway.stop)
        gateway.publish([table([model("acme/both")])], {"acme-both": [engine]})
        connection = stack.enter_context(Connection(gateway.port))
        started = time.monotonic()
        connection.send(request("Content-Length: 100000", body=chat_body("u")[:20]))
        answers = stack.enter_context(ThreadPoolExecutor(1)).submit(connection.answers)
        while drips and not answers.done():
            with suppress(OSError):
                connection.send(b" ")
            wait([answers], timeout=0.05)
        [answer] = answers.result()
        assert told_of(answer) == "408 request_timeout"
        assert 0.9 < time.monotonic() - started < 10
        assert engine.received == []
        assert call(gateway.port, body=json.loads(chat_body("u"))).status == 200, "others are served"


def test_a_head_that_does_not_end_is_408_within_ten_seconds(unfinished_head: Future[Ended]) -> None:
    ended = unfinished_head.result()
    assert [told_of(answer) for answer in ended.answers] == ["408 request_timeout"]
    assert 9 < ended.seconds < 20
