"""Every call's tokens are counted once, whether the client asked or not, and the client sees what it asked for."""

import json
import socket
from collections.abc import Sequence
from typing import Any

import pytest

from tests.gateway.conftest import Chat
from tests.gateway.counting import ASKED, counting, event, line, streamed, tokens, usage, usage_event, usages
from tests.gateway.harness import Gateway, eventually
from tests.gateway.tables import model, table
from tests.gateway.two_regions import Platform, pools
from tests.gateway.wire import FakeEngine, Received, Reply, call, chunk, named, reply, stream


def test_a_stream_whose_client_did_not_ask_is_counted_and_shows_no_usage(platform: Platform, chat: Chat) -> None:
    platform.engines["both"].behave = counting(7, 2, 4)
    for options in ({}, {"stream_options": None}, {"stream_options": {"include_usage": False}}):
        answer = chat(region="eu-west", stream=True, **options)
        assert b"usage" not in answer.body
        assert b"\n\n\n" not in answer.body
        assert len(answer.events()) == 4
        assert answer.events()[-1] == "[DONE]"
        assert answer.whole
        assert tokens(line(platform.eu, answer)) == (7, 2, 4)
    assert [request.json()["stream_options"] for request in platform.engines["both"].received] == [ASKED] * 3


def test_a_stream_whose_client_asked_is_counted_and_shows_the_usage(platform: Platform, chat: Chat) -> None:
    platform.engines["both"].behave = counting(7, 2, 4)
    answer = chat(region="eu-west", stream=True, stream_options=ASKED)
    assert usages(answer) == [usage(7, 2, 4)]
    assert tokens(line(platform.eu, answer)) == (7, 2, 4)


def test_other_stream_options_are_kept_and_only_what_is_missing_is_added(platform: Platform, chat: Chat) -> None:
    options = {"x": [1, {"include_usage": False}], "include_usage": None, "y": "}"}
    chat(region="eu-west", stream=True, stream_options=options)
    assert platform.engines["both"].received[0].json()["stream_options"] == {**options, **ASKED}
    body = b'{"model":"acme/pinned","messages":[{}], "stream" :true,"stream_options":{ "include_usage":true } }'
    call(platform.eu.port, body=body)
    assert platform.engines["pinned"].received[0].body == body


@pytest.mark.parametrize(
    ("options", "code", "param"),
    [
        ("yes", "invalid_type", "stream_options"),
        ({"include_usage": "yes"}, "invalid_type", "stream_options.include_usage"),
        ({"include_usage": 1}, "invalid_type", "stream_options.include_usage"),
    ],
)
def test_stream_options_of_another_type_are_refused_with_400(chat: Chat, options: Any, code: str, param: str) -> None:
    answer = chat(stream=True, stream_options=options)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, code, param)


def test_stream_options_that_two_readers_could_understand_differently_are_refused_with_400(platform: Platform) -> None:
    options = b'{"include_usage":false,"include_usage":1}'
    for streams in (b"true", b"false"):
        body = b'{"model":"acme/both","messages":[{}],"stream":%s,"stream_options":%s}' % (streams, options)
        answer = call(platform.eu.port, body=body)
        assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "invalid_json", "stream_options")


def test_a_usage_chunk_is_found_and_dropped_whatever_the_chunks_it_arrives_in(platform: Platform, chat: Chat) -> None:
    for newline in ("\n", "\r\n"):
        told = {"usage": usage(5, 1, 0), "id": "c-1", "choices": []}
        lines = [f"data: {chunk('c-1', '')}", "", f"data: {json.dumps(told)}", "", "data: [DONE]", "", ""]
        whole = newline.join(lines).encode()
        for size in (1, 9, 50, len(whole)):
            pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
            platform.engines["both"].behave = lambda request, pieces=pieces: stream(*pieces)
            answer = chat(region="eu-west", stream=True)
            expected = newline.join([*lines[:2], *lines[4:]]).encode()
            assert named(answer.body, b"c-1") == expected
            assert tokens(line(platform.eu, answer)) == (5, 1, 0)


def test_the_tokens_of_choices_that_an_engine_tells_of_one_by_one_are_added_up(platform: Platform, chat: Chat) -> None:
    """llama.cpp sends a chunk with usage for each choice that has ended."""
    parts = streamed(usage_event(7, 2, 4), event(chunk("c-1", "!")), usage_event(7, 3, 4), event("[DONE]"))
    platform.engines["both"].behave = lambda _: parts
    answer = chat(region="eu-west", stream=True, n=2)
    assert tokens(line(platform.eu, answer)) == (7, 5, 4)
    assert usages(answer) == []


def test_a_client_that_asked_gets_the_tokens_of_all_choices_in_one_chunk_right_before_the_end(
    platform: Platform, chat: Chat
) -> None:
    parts = streamed(usage_event(7, 2, 4), event(chunk("c-1", "!")), usage_event(7, 3, 4), event("[DONE]"))
    platform.engines["both"].behave = lambda _: parts
    for region in ("eu-west", None):
        answer = chat(region=region, stream=True, n=2, stream_options=ASKED)
        assert usages(answer) == [usage(7, 5, 4)]
        assert json.loads(answer.events()[-2])["usage"] == usage(7, 5, 4)
        assert len({json.loads(data)["id"] for data in answer.events()[:-1]}) == 1
        assert tokens(line(platform.eu, answer)) == (7, 5, 4)


@pytest.mark.parametrize("first", [{"index": 0}, {"delta": {"tool_calls": [{"index": 5}]}}])
def test_the_tokens_of_choices_that_an_engine_tells_in_each_chunk_are_added_up_until_it_tells_all(
    platform: Platform, chat: Chat, first: dict[str, Any]
) -> None:
    """vLLM and SGLang tell in each chunk those of its choice. A client could go away before the last one."""
    told = [(0, 1), (1, 1), (1, 2), (0, 2), (2, 1), (1, 3), (1, 3)]
    parts = [
        event(
            json.dumps(
                {"id": "c-1", "choices": [{**first, "index": index}], "usage": usage(7, count)}, separators=(",", ":")
            )
        )
        for index, count in told
    ]
    for last, counted in (([], 6), ([usage_event(7, 8)], 8)):
        platform.engines["both"].behave = lambda _, last=last: stream(*parts, *last, event("[DONE]"))
        assert tokens(line(platform.eu, chat(region="eu-west", stream=True, n=3))) == (7, counted, None)


def test_usage_beside_a_last_token_is_counted_and_hidden_without_the_token(platform: Platform, chat: Chat) -> None:
    last = json.loads(chunk("c-1", "lo")) | {"usage": usage(3, 2), "timings": {"usage": {"prompt_tokens": 99}}}
    platform.engines["both"].behave = lambda request: stream(event(json.dumps(last)), event("[DONE]"))
    answer = chat(region="eu-west", stream=True)
    shown = json.loads(answer.events()[0])
    assert (shown["usage"], shown["choices"], shown["timings"]) == (None, last["choices"], last["timings"])
    assert tokens(line(platform.eu, answer)) == (3, 2, None)


def test_text_that_looks_like_usage_is_left_alone_and_not_counted(platform: Platform, chat: Chat) -> None:
    nasty = '"choices":[],"usage":{"prompt_tokens":9}}'
    sent = json.loads(chunk("c-1", nasty)) | {"x": {"usage": {"prompt_tokens": 8}}, "kind": "usage", "usage": None}
    platform.engines["both"].behave = lambda request: stream(event(json.dumps(sent)), event("[DONE]"))
    answer = chat(region="eu-west", stream=True)
    shown = json.loads(answer.events()[0])
    assert {**shown, "id": "c-1"} == {**sent, "system_fingerprint": shown["system_fingerprint"]}
    assert tokens(line(platform.eu, answer)) == (None, None, None)


def test_an_answer_in_one_piece_is_counted(platform: Platform, chat: Chat) -> None:
    platform.engines["both"].behave = counting(11, 3, 8)
    answer = chat(region="eu-west")
    assert answer.json()["usage"] == usage(11, 3, 8)
    entry = line(platform.eu, answer)
    assert tokens(entry) == (11, 3, 8)
    assert (entry["tenant"], entry["model"], entry["region"], entry["served"], entry["code"], entry["ttft_ms"]) == (
        "anonymous", "acme/both", "eu-west", "pool", None, None
    )  # fmt: skip


def test_the_time_to_the_first_token_is_not_that_to_the_first_chunk(platform: Platform, chat: Chat) -> None:
    platform.engines["both"].behave = lambda request: stream(
        event(chunk("c-1", "")), 0.2, event(chunk("c-1", "a")), 0.2, event(chunk("c-1", "b")), event("[DONE]")
    )
    entry = line(platform.eu, chat(region="eu-west", stream=True))
    assert 195 <= entry["ttft_ms"] <= entry["duration_ms"] - 195


def test_errors_have_their_code_in_the_line_and_no_tokens(platform: Platform, chat: Chat) -> None:
    """The engine's, the script's and Envoy's own."""
    platform.engines["both"].behave = lambda request: reply(400, b'{"error":{"message":"a secret","code":"too_long"}}')
    platform.engines["pinned"].behave = lambda request: reply(500, b'{"message":"x","code":"a secret"}')
    platform.engines["quick"].behave = lambda request: [3.0]
    for name, code in (
        ("acme/both", "too_long"),
        ("acme/pinned", "engine_failed"),
        ("acme/empty", "region_capacity_unavailable"),
        ("acme/us-only", "model_not_available_in_region"),
        ("acme/quick", "timeout"),
        ("acme/none", "model_not_found"),
    ):
        answer = chat(name, region="eu-west")
        assert answer.header("x-tomoul-code") is None
        entry = line(platform.eu, answer)
        assert (entry["code"], entry["status"], tokens(entry)) == (code, answer.status, (None, None, None))
    assert "a secret" not in platform.eu.output.read_text()


def test_a_call_that_reached_no_other_gateway_has_its_code_in_the_line(platform: Platform, chat: Chat) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        dead: int = server.getsockname()[1]
    platform.publish_eu(us_port=dead)
    entry = line(platform.eu, chat("acme/far", region="us-east"))
    assert (entry["code"], entry["status"], entry["served"]) == ("region_capacity_unavailable", 503, "region")


def test_a_stream_that_an_engine_breaks_off_has_the_code_in_the_line(platform: Platform, chat: Chat) -> None:
    platform.engines["both"].behave = lambda request: streamed()
    assert line(platform.eu, chat(region="eu-west", stream=True))["code"] == "engine_failed"
    platform.engines["both"].behave = lambda request: streamed(event('{"error":{"message":"x","code":500}}'))
    assert line(platform.eu, chat(region="eu-west", stream=True))["code"] == "engine_failed"


def last_line(gateway: Gateway, model_id: str, count: int) -> dict[str, Any]:
    """The last line of a model once there are `count`."""

    def find() -> dict[str, Any] | None:
        entries = [json.loads(text) for text in gateway.output.read_text().splitlines() if model_id in text]
        return entries[-1] if len(entries) == count else None

    found = eventually(find)
    assert found
    return found


def test_a_call_whose_client_went_away_has_a_line_with_what_is_known(gateway: Gateway) -> None:
    engine = FakeEngine()
    engine.start()
    routes = [
        model("acme/last", pools=pools("a")),
        model("acme/each", pools=pools("a"), usageOption="continuous_usage_stats"),
    ]
    gateway.publish([table(routes)], {"a": [engine]})

    def behave(request: Received) -> Sequence[Reply]:
        each = request.json()["stream_options"].get("continuous_usage_stats")
        told = [json.loads(chunk("c-1", "a")) | ({"usage": usage(6, n)} if each else {}) for n in range(1, 100)]
        return stream(*(part for data in told for part in (event(json.dumps(data)), 0.05)))

    engine.behave = behave
    for name in ("acme/last", "acme/each"):
        body = {"model": name, "messages": [{}], "stream": True}
        call(gateway.port, body=body, close_after=lambda received: received.count(b"data: ") >= 3)
        entry = last_line(gateway, name, 1)
        assert (entry["status"], entry["region"], entry["served"], entry["flags"]) == (200, "eu-west", "pool", "DC")
        assert entry["ttft_ms"] >= 0
        if name == "acme/last":
            assert tokens(entry) == (None, None, None)
        else:
            assert (entry["prompt_tokens"], entry["cached_tokens"]) == (6, None)
            assert 3 <= entry["completion_tokens"] < 99

    engine.behave = lambda request: [5.0]
    body = {"model": "acme/last", "messages": [{}]}
    head = json.dumps(body).encode()
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n%s" % (len(head), head)
        )
        eventually(lambda: len(engine.received) == 3)
    entry = last_line(gateway, "acme/last", 2)
    assert (entry["status"], entry["region"], entry["flags"], tokens(entry)) == (0, "eu-west", "DC", (None, None, None))
    engine.stop()


@pytest.mark.parametrize("options", [None, ASKED, {"include_usage": True, "continuous_usage_stats": True}])
def test_usage_in_every_chunk_is_shown_only_to_a_client_that_asked_for_it(
    gateway: Gateway, options: dict[str, Any] | None
) -> None:
    engine = FakeEngine()
    engine.start()
    gateway.publish(
        [table([model("acme/each", pools=pools("a"), usageOption="continuous_usage_stats")])], {"a": [engine]}
    )
    told = [json.loads(chunk("c-1", "a")) | {"usage": usage(6, n)} for n in (1, 2)]
    parts = [event(json.dumps(each)) for each in told]
    engine.behave = lambda request: stream(*parts, usage_event(6, 2, 5), event("[DONE]"))
    body = {"model": "acme/each", "messages": [{}], "stream": True, "stream_options": options}
    answer = call(gateway.port, body=body)
    assert engine.received[0].json()["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    chunks = [json.loads(data) for data in answer.events()[:-1]]
    last, each = [usage(6, 2, 5)], [usage(6, 1), usage(6, 2)]
    if options is None:
        assert [item["usage"] for item in chunks] == [None, None]
    elif options == ASKED:
        assert [item["usage"] for item in chunks] == [None, None, *last]
    else:
        assert [item["usage"] for item in chunks] == [*each, *last]
    assert tokens(line(gateway, answer)) == (6, 2, 5)
    engine.stop()


@pytest.mark.parametrize("region", [None, "us-east"])
@pytest.mark.parametrize("options", [None, ASKED])
def test_over_two_gateways_only_the_one_that_served_counts_and_the_client_sees_what_it_asked_for(
    platform: Platform, chat: Chat, region: str | None, options: dict[str, Any] | None
) -> None:
    platform.engines["us-far"].behave = counting(7, 2, 4)
    answer = chat("acme/far", region=region, stream=True, stream_options=options)
    assert usages(answer) == ([usage(7, 2, 4)] if options else [])
    assert answer.header("x-tomoul-region") == "us-east"
    assert len(answer.events()) == (5 if options else 4)
    served = platform.engines["us-far"].received[0]
    assert served.json()["stream_options"] == ASKED
    here = platform.us.access_log(served.header("x-request-id") or "")
    assert (tokens(here), here["served"], here["region"]) == ((7, 2, 4), "pool", "us-east")
    entry = line(platform.eu, answer)
    assert (tokens(entry), entry["served"], entry["region"]) == ((None, None, None), "region", "us-east")
    assert entry["cluster"] == "region/us-east"
