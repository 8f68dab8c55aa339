"""Engines' answers of every kind: a client gets OpenAI's shape with all that the engine sent, or an error."""

import http.client
import json
from typing import Any

import pytest

from tests.gateway.two_regions import Platform
from tests.gateway.wire import reply
from tests.json_texts import lenient, strict, texts

MODEL = "acme/off"
TEXTS = texts()
BODY = json.dumps({"model": MODEL, "messages": [{}]})
ERRORS = (b"%s", b'{"error":%s}', b'{"error":{"message":%s}}', b'{"error":{"code":%s,"param":%s}}', b'{"detail":%s}')
ANSWERS = (b"%s", b'{"id":%s,"choices":[]}', b'{"id":"c","choices":%s}', b'{"id":"c","usage":%s,"choices":[]}')


def calls(platform: Platform, status: int, bodies: list[bytes]) -> list[tuple[int, bytes]]:
    """What a client gets where an engine answers with each of these bodies."""
    answers = []
    connection = http.client.HTTPConnection("127.0.0.1", platform.eu.port, timeout=20)
    for body in bodies:
        replies = reply(status, body)
        platform.engines["off"].behave = lambda _, replies=replies: replies
        connection.request("POST", "/v1/chat/completions", BODY, {"content-type": "application/json"})
        response = connection.getresponse()
        answers.append((response.status, response.read()))
    connection.close()
    return answers


@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize("kind", TEXTS)
def test_an_engines_error_of_any_kind_takes_openais_shape(platform: Platform, kind: str, status: int) -> None:
    bodies = [error.replace(b"%s", text) for error in ERRORS for text in TEXTS[kind][::4]]
    wrong = {}
    for body, (got, answer) in zip(bodies, calls(platform, status, bodies), strict=True):
        error = json.loads(answer)["error"] if strict(answer) else {}
        fine = got == status and all(isinstance(error.get(name), str) for name in ("message", "type", "code"))
        if not fine or not isinstance(error.get("param", 0), str | None):
            wrong[body[:80]] = answer[:200]
    assert not wrong


def without_ours(answer: Any) -> Any:
    """A completion without what the gateway sets, if the engine's has it or not."""
    kept = {name: value for name, value in answer.items() if name not in ("id", "model", "system_fingerprint")}
    kept["choices"] = [
        {name: value for name, value in choice.items() if name not in ("logprobs", "message")}
        for choice in kept["choices"]
    ]
    return kept


def is_completion(body: bytes) -> bool:
    """Whether no reader could take it for anything else; the gateway also takes what is odd deeper inside."""
    if not strict(body) or not isinstance(read := json.loads(body), dict):
        return False
    choices = read.get("choices")
    return isinstance(choices, list) and all(isinstance(choice, dict) for choice in choices)


@pytest.mark.parametrize("kind", TEXTS)
def test_an_engines_answer_of_any_kind_keeps_what_the_gateway_does_not_set(platform: Platform, kind: str) -> None:
    bodies = [answer.replace(b"%s", text) for answer in ANSWERS for text in TEXTS[kind][::3]]
    wrong = {}
    for body, (status, answer) in zip(bodies, calls(platform, 200, bodies), strict=True):
        if status == 502:
            fine = json.loads(answer)["error"]["code"] == "engine_failed" and not is_completion(body)
        else:
            before = lenient(body)
            fine = status == 200 and (
                before is None or repr(without_ours(lenient(answer))) == repr(without_ours(before))
            )
        if not fine:
            wrong[body[:80]] = (status, answer[:200])
    assert not wrong
