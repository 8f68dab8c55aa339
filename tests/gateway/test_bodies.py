"""What of a body is refused, and what arrives at the engine."""

import json
import time
from typing import Any

import pytest

from tests.gateway.conftest import Chat
from tests.gateway.harness import MAX_BODY
from tests.gateway.raw.http2 import exchange, head
from tests.gateway.two_regions import Platform
from tests.gateway.wire import Answer, call, reply

MESSAGES = '"messages":[{"role":"user","content":"Hi"}]'


def post(platform: Platform, body: str | bytes, **options: Any) -> Answer:
    return call(platform.eu.port, body=body.encode() if isinstance(body, str) else body, **options)


def test_a_body_that_needs_no_change_arrives_byte_for_byte(platform: Platform) -> None:
    body = (
        b'\n{ "model" : "acme/off",\t"messages":[ {"role":"user","content":"\\u00e9\\"]}{\xc3\xa9"} ],'
        b' "top_p":1.0, "seed":9007199254740993 } \n'
    )
    assert post(platform, body).status == 200
    assert platform.engines["off"].received[0].body == body


def test_a_changed_body_keeps_every_other_members_bytes(platform: Platform) -> None:
    members = ['"temperature": 1.50', '"seed":9007199254740993', MESSAGES, '"logit_bias":{"1":-0}']
    body = "{" + " , ".join(['"model": "both"', *members, '"cache_salt":"mine"']) + "}"
    assert post(platform, body).status == 200
    arrived = platform.engines["both"].received[0].body.decode()
    salt = json.loads(arrived)["cache_salt"]
    assert arrived == '{{"cache_salt":"{}","model":"acme/both",{}}}'.format(salt, ",".join(members))


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [3_000, 5_000, 17_000, 70_000])
def test_a_changed_body_is_whole_whatever_pieces_it_came_in(platform: Platform, size: int, chunked: bool) -> None:
    content = "".join(f'{number} \\\\ "é" ' for number in range(size))[:size]
    body = json.dumps({"model": "both", "messages": [{"role": "user", "content": content}]}, ensure_ascii=False)
    assert post(platform, body, chunked=chunked).status == 200
    arrived = platform.engines["both"].received[0].json()
    assert arrived["model"] == "acme/both"
    assert arrived["messages"] == [{"role": "user", "content": content}]


@pytest.mark.parametrize("trailers", [[], [("x-trailer", "a")]])
def test_a_changed_body_is_whole_wherever_it_was_cut(platform: Platform, trailers: list[tuple[str, str]]) -> None:
    """Each frame of HTTP/2 is a piece of its own."""
    content = 'é]}"\\' * 3
    body = json.dumps({"cache_salt": "mine", "model": "both", "messages": [{"content": content}]}).encode()
    cuts = [
        [body],
        *([body[:at], body[at:]] for at in range(1, len(body))),
        [body[at : at + 1] for at in range(len(body))],
    ]
    for frames in cuts:
        [answer] = exchange(platform.eu.port, [(head(), frames, trailers)])
        assert isinstance(answer, Answer)
        assert answer.status == 200
        arrived = platform.engines["both"].received.pop().json()
        assert (arrived["model"], arrived["messages"]) == ("acme/both", [{"content": content}])
        assert arrived["cache_salt"] != "mine"


@pytest.mark.parametrize("position", ["first", "middle", "last", "all"])
def test_fields_that_a_client_must_not_control_are_removed_wherever_they_are(platform: Platform, position: str) -> None:
    cheats = ['"kv_transfer_params":{"a":[1,{"b":"}"}]}', '"vllm_xargs":null', '"cache_salt":"theirs"']
    fair = ['"model":"acme/both"', MESSAGES]
    members = {
        "first": cheats + fair,
        "middle": [fair[0], *cheats, fair[1]],
        "last": fair + cheats,
        "all": [cheats[0], fair[0], cheats[1], fair[1], cheats[2]],
    }[position]
    assert post(platform, "{" + ",".join(members) + "}").status == 200
    arrived = platform.engines["both"].received[0].json()
    assert set(arrived) == {"cache_salt", "model", "messages"}
    assert arrived["cache_salt"] != "theirs"


@pytest.mark.parametrize(
    "raw", ['"acme/both"', '"both"', '"acme\\/both"', '"\\u0061cme/both"', '"acme\\u002Fboth"', '"acme\\u002fboth"']
)
def test_aliases_and_escapes_name_the_same_model_and_the_engine_gets_its_id(platform: Platform, raw: str) -> None:
    assert post(platform, f'{{"model":{raw},{MESSAGES}}}').status == 200
    assert b'"model":"acme/both"' in platform.engines["both"].received[0].body


@pytest.mark.parametrize(
    "raw",
    ['"acme/none"', '""', '"ACME/BOTH"', '"acme/both "', '"acme/both\\u0000"', '"acme/both\\n"', '"\\ud83d\\ude00"',
     '"é"', '"a\\"},{\\""', '"acme/both\x00x"', '"' + "x" * 500_000 + '"',
     '"\\x61cme/both"', '"gateway"', '"../gateway"'],
)  # fmt: skip
def test_an_unknown_model_is_404(platform: Platform, raw: str) -> None:
    answer = post(platform, f'{{"model":{raw},{MESSAGES}}}')
    assert (answer.status, answer.error["code"], answer.error["param"]) == (404, "model_not_found", "model")
    assert "`GET /v1/models` lists those that do" in answer.error["message"]
    assert len(answer.error["message"]) < 200
    assert platform.served_by() == []


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ("", "invalid_json", None),
        ("   ", "invalid_json", None),
        ("null", "invalid_json", None),
        ("[]", "invalid_json", None),
        ('"model"', "invalid_json", None),
        ("{", "invalid_json", None),
        ("{}", "missing_required_parameter", "model"),
        ('{"model":"acme/both"}', "missing_required_parameter", "messages"),
        (f"{{{MESSAGES}}}", "missing_required_parameter", "model"),
        (f'{{"model":null,{MESSAGES}}}', "invalid_type", "model"),
        (f'{{"model":1,{MESSAGES}}}', "invalid_type", "model"),
        (f'{{"model":["acme/both"],{MESSAGES}}}', "invalid_type", "model"),
        ('{"model":"acme/both","messages":"Hi"}', "invalid_type", "messages"),
        ('{"model":"acme/both","messages":{}}', "invalid_type", "messages"),
        ('{"model":"acme/both","messages":[ ]}', "invalid_value", "messages"),
        (f'{{"model":"acme/full","tools":"f",{MESSAGES}}}', "invalid_type", "tools"),
        (f'{{"model":"acme/full","response_format":"json",{MESSAGES}}}', "invalid_type", "response_format"),
        (f'{{"model":"acme/both","stream":"true",{MESSAGES}}}', "invalid_type", "stream"),
        (f'{{"model":"acme/both","stream":1,{MESSAGES}}}', "invalid_type", "stream"),
        (f'{{"model":"acme/both","model":"acme/full",{MESSAGES}}}', "invalid_json", None),
        (f'{{"model":"acme/both",{MESSAGES},"seed":1,"seed":1}}', "invalid_json", None),
        (f'{{"\\u006dodel":"acme/full","model":"acme/both",{MESSAGES}}}', "invalid_json", None),
        (f'{{"model":"acme/both",{MESSAGES},"cache\\u005fsalt":"x"}}', "invalid_json", None),
        (f'{{"model":"acme/both",{MESSAGES}}}{{}}', "invalid_json", None),
        (f'{{"model":"acme/both",{MESSAGES}}} x', "invalid_json", None),
        (f'{{"model":"acme/both",{MESSAGES},}}', "invalid_json", None),
        (f'{{"model":"acme/both" {MESSAGES}}}', "invalid_json", None),
        (f'{{"model" "acme/both",{MESSAGES}}}', "invalid_json", None),
        (f'{{"model":"acme/both",{MESSAGES},"top_p":NaN}}', "invalid_json", None),
        (f'{{"model":"acme/both",{MESSAGES},"top_p":-Infinity}}', "invalid_json", None),
        (f'{{"model":"acme/both",{MESSAGES},"top_p":0x10}}', "invalid_json", None),
        (f'{{"model":"acme/both",{MESSAGES},"top_p":True}}', "invalid_json", None),
        (f'{{"model":"acme/both",{MESSAGES},"top_p":}}', "invalid_json", None),
        (f'{{"model":"acme/both",{MESSAGES},"user":"x', "invalid_json", None),
        (f'{{"model":"acme/both",{MESSAGES},"user":"x\\"}}', "invalid_json", None),
        (f"\ufeff{{{MESSAGES}}}", "invalid_json", None),
        ("{'model':'acme/both'}", "invalid_json", None),
        ("{model:1}", "invalid_json", None),
    ],
)
def test_a_body_that_two_readers_could_understand_differently_is_refused_with_400(
    platform: Platform, body: str, code: str, param: str | None
) -> None:
    answer = post(platform, body)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, code, param)
    assert answer.error["type"] == "invalid_request_error"
    assert platform.served_by() == []


def test_what_is_not_utf_8_is_refused_with_400_wherever_it_is(platform: Platform) -> None:
    assert post(platform, (f'{{"model":"acme/both",{MESSAGES}}}').encode("utf-16")).error["code"] == "invalid_json"
    assert post(platform, b'{"model":"\xff\xfe",%s}' % MESSAGES.encode()).error["code"] == "invalid_json"
    assert post(platform, b'{"model":"acme/both","messages":["\xc3"]}').error["code"] == "invalid_json"
    assert post(platform, b'{"\xff":1,"\xff":2}').error["code"] == "invalid_json"


@pytest.mark.parametrize("bracket", ["[", '{"a":'])
def test_deep_nesting_is_refused_with_400(platform: Platform, bracket: str) -> None:
    answer = post(platform, '{"model":"acme/both","messages":[%s' % (bracket * 100_000))
    assert (answer.status, answer.error["code"]) == (400, "invalid_json")
    assert "nested too deeply" in answer.error["message"]


def test_more_members_than_any_api_has_are_refused_with_400(platform: Platform) -> None:
    members = ",".join(f'"{number}":1' for number in range(50_000))
    assert post(platform, "{" + members + "}").error["message"].endswith("it has too many members")


def test_nesting_as_deep_as_schemas_go_passes(platform: Platform) -> None:
    deep = "[" * 200 + "]" * 200
    assert post(platform, f'{{"model":"acme/both","messages":{deep}}}').status == 200


def test_nan_inside_a_nested_value_is_left_for_the_engine_to_judge(platform: Platform) -> None:
    assert post(platform, '{"model":"acme/off","messages":[NaN]}').status == 200
    assert platform.engines["off"].received[0].body == b'{"model":"acme/off","messages":[NaN]}'


def test_a_body_in_chunks_is_as_good_as_a_whole_one(platform: Platform) -> None:
    assert post(platform, f'{{"model":"both",{MESSAGES}}}', chunked=True).status == 200
    [request] = platform.engines["both"].received
    assert int(request.header("content-length") or 0) == len(request.body)
    assert request.header("transfer-encoding") is None


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("excess", [1, MAX_BODY])
def test_a_body_past_the_maximum_is_413_in_openais_shape(platform: Platform, chunked: bool, excess: int) -> None:
    answer = post(platform, b" " * (MAX_BODY + excess), chunked=chunked)
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    assert answer.header("x-tomoul-region") == "eu-west"


def test_a_body_of_just_the_maximum_is_served_with_its_salt(platform: Platform) -> None:
    head, tail = '{"model":"acme/both","messages":[{"role":"user","content":"', '"}]}'
    body = head + "x" * (MAX_BODY - len(head) - len(tail)) + tail
    assert post(platform, body).status == 200
    assert len(platform.engines["both"].received[0].body) > MAX_BODY


def test_a_body_of_just_the_maximum_falls_back_with_all_that_was_added_to_it(platform: Platform) -> None:
    platform.engines["both"].behave = lambda _: reply(503, b"{}")
    head, tail = '{"model":"both","stream":true,"messages":[{"role":"user","content":"', '"}]}'
    body = (head + "x" * (MAX_BODY - len(head) - len(tail)) + tail).encode()
    answer = call(platform.eu.port, body=body)
    assert (answer.status, answer.header("x-tomoul-region")) == (200, "us-east")
    own = [("x-tomoul-region", "eu-west")]
    assert call(platform.eu.port, body=body + b" ", headers=own).status == 413


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "multipart/form-data", "",
     "application/json, text/plain", "application/json; charset=utf-8, text/plain"],
)  # fmt: skip
def test_a_body_that_is_not_sent_as_json_is_415(platform: Platform, content_type: str) -> None:
    answer = post(platform, f'{{"model":"acme/both",{MESSAGES}}}', headers=[("content-type", content_type)])
    assert (answer.status, answer.error["param"]) == (415, "Content-Type")


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;"])
def test_a_content_type_may_have_parameters_and_any_case(platform: Platform, content_type: str) -> None:
    answer = post(platform, f'{{"model":"acme/both",{MESSAGES}}}', headers=[("content-type", content_type)])
    assert answer.status == 200


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
def test_a_compressed_body_is_415(platform: Platform, encoding: str) -> None:
    answer = post(platform, b"\x1f\x8b", headers=[("content-encoding", encoding)])
    assert (answer.status, answer.error["param"]) == (415, "Content-Encoding")


def test_a_call_without_any_body_is_400(platform: Platform) -> None:
    answer = call(platform.eu.port, method="POST", headers=[("content-type", "application/json")])
    assert (answer.status, answer.error["code"]) == (400, "invalid_json")


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": []},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"tool_choice": "none"},
        {"response_format": {"type": "json_schema", "json_schema": {}}},
        {"response_format": {"type": "json_object"}},
    ],
)
def test_what_a_model_does_not_advertise_is_refused_with_400_and_names_the_parameter(
    chat: Chat, fields: dict[str, Any]
) -> None:
    answer = chat("acme/both", **fields)
    assert (answer.status, answer.error["code"]) == (400, "unsupported_parameter")
    assert answer.error["param"] == next(iter(fields))
    assert chat("acme/full", **fields).status == 200


@pytest.mark.parametrize("model", ["acme/both", "acme/full"])
@pytest.mark.parametrize(
    "fields", [{"functions": [{"name": "f"}]}, {"functions": []}, {"function_call": {"name": "f"}}]
)
def test_functions_which_no_engine_knows_are_refused_with_400_and_the_way_out(
    chat: Chat, model: str, fields: dict[str, Any]
) -> None:
    answer = chat(model, **fields)
    assert (answer.status, answer.error["code"]) == (400, "unsupported_parameter")
    assert answer.error["param"] == next(iter(fields))
    assert answer.error["message"].endswith("use `tools`")
    assert chat(model, functions=None, function_call=None, function="f").status == 200


FUNCTION = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"response_format": {"type": "json_schema"}}, "missing_required_parameter", "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": None}},
            "invalid_type",
            "response_format.json_schema",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": True}}},
            "invalid_type",
            "response_format.json_schema.schema",
        ),
        ({"tool_choice": "required"}, "invalid_value", "tool_choice"),
        ({"tool_choice": "required", "tools": []}, "invalid_value", "tool_choice"),
        ({"tool_choice": FUNCTION}, "invalid_value", "tool_choice"),
        (
            {"tool_choice": {"type": "function", "function": {"name": "g"}}, "tools": [FUNCTION]},
            "invalid_value",
            "tool_choice",
        ),
        ({"tool_choice": {"type": "custom"}, "tools": [FUNCTION]}, "invalid_value", "tool_choice"),
        ({"tool_choice": 5, "tools": [FUNCTION]}, "invalid_type", "tool_choice"),
    ],
)
def test_what_a_call_demands_and_does_not_bring_is_refused_with_400_for_engines_would_drop_it(
    platform: Platform, chat: Chat, fields: dict[str, Any], code: str, param: str
) -> None:
    answer = chat("acme/full", **fields)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, code, param)
    assert platform.served_by() == []


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}},
        {"tool_choice": FUNCTION, "tools": [{"type": "x"}, FUNCTION]},
        {"tool_choice": "required", "tools": [FUNCTION]},
        {"tool_choice": "auto"},
        {"tool_choice": None},
    ],
)
def test_what_a_call_demands_and_brings_is_passed_on(platform: Platform, chat: Chat, fields: dict[str, Any]) -> None:
    assert chat("acme/full", **fields).status == 200
    assert fields.items() <= platform.engines["full"].received[0].json().items()


@pytest.mark.parametrize("choices", ["2", "2.5", "128", "1e2", "1e999", "-1", "-4294967294"])
def test_choices_whose_tokens_an_engine_does_not_tell_are_refused_but_in_a_stream(
    platform: Platform, choices: str
) -> None:
    asked = f'"model":"acme/few-seeds",{MESSAGES},"n":{choices}'
    for stream in ("", ',"stream":false', ',"stream":null'):
        answer = post(platform, f"{{{asked}{stream}}}")
        assert (answer.status, answer.error["code"]) == (400, "unsupported_parameter")
        assert answer.error["param"] == "n"
        assert "`stream: true`" in answer.error["message"]
    assert platform.served_by() == []
    assert post(platform, f'{{{asked},"stream":true}}').status == 200
    assert post(platform, f"{{{asked.replace('few-seeds', 'full')}}}").status == 200


@pytest.mark.parametrize("choices", ["1", "1.0", "1.9", "null", "0", '"2"', "true"])
def test_one_choice_and_what_is_no_number_of_choices_are_left_to_the_engine(platform: Platform, choices: str) -> None:
    assert post(platform, f'{{"model":"acme/few-seeds",{MESSAGES},"n":{choices}}}').status == 200


@pytest.mark.parametrize("fields", [{"tools": None}, {"response_format": None}, {"response_format": {"type": "text"}}])
def test_parameters_that_ask_for_nothing_pass(chat: Chat, fields: dict[str, Any]) -> None:
    assert chat("acme/both", **fields).status == 200


@pytest.mark.parametrize(
    "raw",
    ['"json_schema"', "{}", '{"type":1}', '{"type":"yaml"}', '{"type":"text","type":"json_schema"}',
     '{"\\u0074ype":"json_schema"}', "[]"],
)  # fmt: skip
def test_a_response_format_that_hides_its_type_is_refused(platform: Platform, raw: str) -> None:
    answer = post(platform, f'{{"model":"acme/both",{MESSAGES},"response_format":{raw}}}')
    assert (answer.status, answer.error["param"]) == (400, "response_format")
    assert platform.served_by() == []


def test_an_escaped_type_of_the_response_format_is_the_same_type(platform: Platform) -> None:
    answer = post(platform, f'{{"model":"acme/both",{MESSAGES},"response_format":{{"type":"json_s\\u0063hema"}}}}')
    assert (answer.status, answer.error["code"]) == (400, "unsupported_parameter")


def test_brackets_and_quotes_inside_strings_do_not_confuse_the_scan(platform: Platform) -> None:
    nasty = [
        '}]"',
        "\\",
        '\\"',
        "\\\\",
        '{"model":"acme/full"}',
        '"],"model":"acme/full","x":["',
        "\u2028",
        "[[[[",
        "\\\\\\",
    ]
    body = {"stop": nasty, "model": "acme/both", "messages": [{"content": text} for text in nasty], "user": nasty[2]}
    assert post(platform, json.dumps(body)).status == 200
    arrived = platform.engines["both"].received[0].json()
    del arrived["cache_salt"]
    assert arrived == body


def test_a_large_body_of_nothing_but_brackets_does_not_hold_the_worker_for_long(platform: Platform) -> None:
    started = time.monotonic()
    answer = post(platform, '{"model":"acme/off","messages":[%s[]]}' % ("[]," * 300_000))
    assert answer.status == 200
    assert time.monotonic() - started < 5
