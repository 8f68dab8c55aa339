"""JSON of all kinds through the gateway: one reader decides, and no other could have read another model out of it."""

import http.client
import json

import pytest

from tests.gateway.two_regions import Platform
from tests.gateway.wire import COMPLETION, Received, Reply, reply
from tests.json_texts import lenient, strict, texts

MODEL, ENGINE = "acme/off", "off"
PLACES = {
    "the body": b"%s",
    "a member": b'{"model":"acme/off","messages":[{}],"metadata":%s}',
    "a message": b'{"model":"acme/off","messages":[{"role":"user","content":%s}]}',
    "a name": b'{"model":"acme/off",%s:1,"messages":[{}]}',
}
# Where the gateway is stricter than JSON, since readers differ: members twice, escapes in names, depth.
STRICTER = ("twice", "escape", "deeply")
TEXTS = texts()


def engine(request: Received) -> list[Reply]:
    """An engine that reads JSON as Python does."""
    if lenient(request.body) is None:
        return reply(400, b'{"object":"error","message":"cannot parse","code":400}')
    return reply(200, COMPLETION)


def problem(body: bytes, status: int, answer: bytes, arrived: list[Received]) -> str | None:
    """What is wrong with how this body was treated; None if nothing is."""
    is_call = strict(body) and isinstance(read := json.loads(body), dict) and {"model", "messages"} <= read.keys()
    if len(arrived) > 1:
        return "sent on more than once"
    if arrived and arrived[0].body != body:
        return f"changed into {arrived[0].body[:120]!r}"
    if arrived and (seen := lenient(arrived[0].body)) is not None and seen["model"] != MODEL:
        return f"another reader sees the model {seen['model']!r}"
    if status == 200:
        return None if arrived and lenient(body) is not None else "answered without having been read"
    error = json.loads(answer)["error"]
    if status not in (400, 404) or error["type"] != "invalid_request_error" or not isinstance(error["code"], str):
        return f"{status} {answer[:120]!r}"
    allowed = not is_call or any(rule in error["message"] for rule in STRICTER)
    return None if allowed else f"refused: {error['message']}"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", TEXTS)
def test_json_of_every_kind_is_passed_on_as_it_is_or_refused_with_400(
    platform: Platform, kind: str, place: str
) -> None:
    platform.engines[ENGINE].behave = engine
    received = platform.engines[ENGINE].received
    connection = http.client.HTTPConnection("127.0.0.1", platform.eu.port, timeout=20)
    problems = {}
    for text in TEXTS[kind]:
        received.clear()
        body = PLACES[place].replace(b"%s", text)
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        response = connection.getresponse()
        if found := problem(body, response.status, response.read(), received):
            problems[text[:80]] = found
    connection.close()
    assert not problems
    assert set(platform.served_by()) <= {ENGINE}
