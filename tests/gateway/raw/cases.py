"""Tables of what a client may write on a connection, and what comes of it.

All cases of a table run at once, each on a connection of its own: Envoy takes a second to close one that it refuses.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.gateway.raw.connection import Connection, chat_body, request
from tests.gateway.two_regions import Platform
from tests.gateway.wire import Answer

HERE, THERE = "200 eu-west", "200 us-east"
LISTED = "200 models"
REFUSED = "400 invalid_request"


@dataclass(frozen=True)
class Case:
    write: Callable[[bytes], bytes]
    """The bytes to send, from a call's body. Behind them goes one more call, which is pinned to us-east."""
    outcome: Sequence[str]
    """Each answer: 200 and the region that served, or an error's status and code. Where the second call is not among
    them, the gateway has closed the connection before it read that."""


@dataclass(frozen=True)
class Outcome:
    answers: Sequence[Answer]
    served: Sequence[str]
    """Regions whose engines got the call, in order, the one behind it included."""


def told_of(answer: Answer) -> str:
    """An answer in two words."""
    if answer.status >= 400:
        assert {"message", "type", "param", "code"} <= answer.error.keys()
        assert answer.header("x-tomoul-region") == "eu-west", "every error says who refused"
        assert answer.header("x-request-id"), "and in which line of the log"
        return f"{answer.status} {answer.error['code']}"
    if answer.status == 100:
        return "100"
    return f"200 {answer.header('x-tomoul-region')}" if answer.json()["object"] == "chat.completion" else LISTED


def run(platform: Platform, cases: Mapping[str, Case]) -> dict[str, Outcome]:
    """What came of each case."""

    def connect(item: tuple[str, Case]) -> list[Answer]:
        name, case = item
        behind = request("X-Tomoul-Region: us-east", "Connection: close", body=chat_body(name))
        with Connection(platform.eu.port) as connection:
            connection.send(case.write(chat_body(name)) + behind)
            return connection.answers()

    platform.restore()
    with ThreadPoolExecutor(len(cases)) as executor:
        answers = dict(zip(cases, executor.map(connect, cases.items()), strict=True))
    served: dict[str, list[str]] = {name: [] for name in cases}
    for engine, region in (("both", "eu-west"), ("us-both", "us-east")):
        for received in platform.engines[engine].received:
            served[json.loads(received.body)["user"]].append(region)
    return {name: Outcome(answers[name], served[name]) for name in cases}


def check(case: Case, outcome: Outcome) -> None:
    told = [told_of(answer) for answer in outcome.answers]
    assert told == case.outcome, told
    calls = [line.removeprefix("200 ") for line in told if line in (HERE, THERE)]
    assert sorted(outcome.served) == sorted(calls), f"engines got {outcome.served}, which is not what was answered"
