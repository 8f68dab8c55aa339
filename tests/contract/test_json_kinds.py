"""JSON of all kinds through the gateway to llama.cpp, whose parser is another than Python's."""

import http.client
import json
from urllib.parse import urlsplit

import pytest

from tests.contract.calls import SOLO
from tests.json_texts import settled, texts
from tests.local.running import RunningPlatform

CALL = b'{"model":"%s","max_tokens":1,"messages":[{"role":"user","content":"Hi"}],"metadata":{"a":%s}}'
TEXTS = texts()


@pytest.mark.parametrize("kind", TEXTS)
def test_json_of_every_kind_is_answered_or_a_400_and_never_an_error_of_the_servers(
    platform: RunningPlatform, kind: str
) -> None:
    connection = http.client.HTTPConnection(urlsplit(platform.platform.url).netloc, timeout=20)
    wrong = {}
    for text in TEXTS[kind][::3]:
        body = CALL % (SOLO.encode(), text)
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
        refused = response.status == 400 and isinstance(answer["error"]["code"], str)
        may_be_refused = not settled(body) or "deeply" in answer.get("error", {}).get("message", "")
        if response.status != 200 and not (refused and may_be_refused):
            wrong[text[:80]] = (response.status, answer)
    connection.close()
    assert not wrong
