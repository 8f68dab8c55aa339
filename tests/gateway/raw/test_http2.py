"""HTTP/2 from a client that breaks its rules: it loses a stream, never its neighbours on the connection theirs."""

import json
from dataclasses import dataclass

import pytest

from tests.gateway.raw.cases import HERE, REFUSED, THERE, told_of
from tests.gateway.raw.connection import chat_body
from tests.gateway.raw.http2 import RESET, Http2Headers, exchange, head
from tests.gateway.two_regions import Platform

NO_REGION = "400 invalid_region"
PIN = ("x-tomoul-region", "us-east")


@dataclass(frozen=True)
class Case:
    headers: Http2Headers
    outcome: str
    trailers: Http2Headers = ()


def with_header(name: str, value: str, outcome: str) -> Case:
    return Case(head((name, value)), outcome)


def with_pseudo(outcome: str, **fields: str | None) -> Case:
    """The pseudo headers of a call with `fields` in the place of theirs; None leaves one out."""
    pseudo = {name: value for name, value in head() if name.startswith(":")}
    changed = pseudo | {f":{name}": value for name, value in fields.items()}
    kept = [(name, value) for name, value in changed.items() if value is not None]
    return Case([*kept, ("content-type", "application/json")], outcome)


CASES = {
    "a call": Case(head(), HERE),
    "a pin": with_header(*PIN, THERE),
    "two pins": Case(head(PIN, ("x-tomoul-region", "eu-west")), NO_REGION),
    "an empty pin": with_header("x-tomoul-region", "", NO_REGION),
    "a pin with spaces, which HTTP/2 keeps": with_header("x-tomoul-region", " us-east ", NO_REGION),
    "a pin past ASCII": with_header("x-tomoul-region", "us-\xe9", NO_REGION),
    "a pin with a NUL": with_header("x-tomoul-region", "us-east\0", RESET),
    "a pin with a line feed": with_header("x-tomoul-region", "us-east\n", RESET),
    "a pin with a header in it": with_header("x-tomoul-region", "us-east\r\nx-a: b", RESET),
    "a pin with capitals in its name": with_header("X-Tomoul-Region", "us-east", RESET),
    "a pin with underscores in its name": with_header("x_tomoul_region", "us-east", RESET),
    "a pin as a trailer": Case(head(), HERE, trailers=[PIN]),
    "a pin that the connection header names": Case(head(("connection", "x-tomoul-region"), PIN), RESET),
    "connection": with_header("connection", "close", RESET),
    "transfer-encoding": with_header("transfer-encoding", "chunked", RESET),
    "keep-alive": with_header("keep-alive", "5", RESET),
    "proxy-connection": with_header("proxy-connection", "close", RESET),
    "upgrade": with_header("upgrade", "h2c", RESET),
    "te but trailers": with_header("te", "gzip", RESET),
    "te trailers": with_header("te", "trailers", HERE),
    "a host beside the authority": with_header("host", "us-east", HERE),
    "a length that is too small": with_header("content-length", "3", RESET),
    "a length that is too large": with_header("content-length", "99999", RESET),
    "a length with a sign": with_header("content-length", "+40", RESET),
    "two lengths": Case(head(("content-length", "3"), ("content-length", "40")), RESET),
    "a name with a space": with_header("x tomoul", "a", RESET),
    "no name": with_header("", "a", RESET),
    "a header of 100 kB": with_header("x-long", "a" * 100_000, RESET),
    "150 headers": Case(head(*[(f"x-{number}", "a") for number in range(150)]), RESET),
    "a pseudo header that nobody knows": with_header(":x", "a", RESET),
    "a pseudo header behind another header": with_header(":scheme", "http", RESET),
    "two paths": Case([*head()[:4], (":path", "/v1/models"), *head()[4:]], RESET),
    "a pseudo header as a trailer": Case(head(), RESET, trailers=[(":path", "/v1/models")]),
    "no path": with_pseudo(RESET, path=None),
    "an empty path": with_pseudo(RESET, path=""),
    "a path without a slash": with_pseudo(RESET, path="v1/chat/completions"),
    "an absolute path": with_pseudo(RESET, path="http://us-east/v1/chat/completions"),
    "a path with a NUL": with_pseudo(RESET, path="/v1/chat/completions\0"),
    "a path with a fragment": with_pseudo(REFUSED, path="/v1/chat/completions#x"),
    "a path with dots": with_pseudo(HERE, path="/v1/x/../chat/completions"),
    "an asterisk": with_pseudo("404 not_found", path="*", method="OPTIONS"),
    "no method": with_pseudo(RESET, method=None),
    "a method in lower case": with_pseudo("405 method_not_allowed", method="post"),
    "a tunnel": with_pseudo(RESET, method="CONNECT"),
    "a web socket": with_pseudo(RESET, method="CONNECT", protocol="websocket"),
    "no scheme": with_pseudo(RESET, scheme=None),
    "another scheme": with_pseudo(HERE, scheme="https"),
    "no authority": with_pseudo(RESET, authority=None),
    "an authority with a user": with_pseudo(RESET, authority="us-east@us-east"),
    "a call behind all of these": Case(head(PIN), THERE),
}


@pytest.fixture(scope="module")
def outcomes(shared_platform: Platform) -> dict[str, tuple[str, list[str]]]:
    """By case: the answer in two words, and the regions whose engines got it. All are streams of one connection."""
    shared_platform.restore()
    calls = [(case.headers, chat_body(name), case.trailers) for name, case in CASES.items()]
    answers = exchange(shared_platform.eu.port, calls)
    served: dict[str, list[str]] = {name: [] for name in CASES}
    for engine, region in (("both", "eu-west"), ("us-both", "us-east")):
        for received in shared_platform.engines[engine].received:
            served[json.loads(received.body)["user"]].append(f"200 {region}")
    told = [answer if isinstance(answer, str) else told_of(answer) for answer in answers]
    return {name: (word, served[name]) for name, word in zip(CASES, told, strict=True)}


@pytest.mark.parametrize("name", CASES)
def test_a_stream_that_breaks_http2s_rules_is_reset_and_its_neighbours_are_answered(
    outcomes: dict[str, tuple[str, list[str]]], name: str
) -> None:
    told, served = outcomes[name]
    assert told == CASES[name].outcome
    assert served == [told] * (told in (HERE, THERE))
