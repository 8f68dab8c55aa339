"""Where a call goes: the contract's rows about regions."""

import pytest

from tests.gateway.conftest import Chat
from tests.gateway.harness import Gateway
from tests.gateway.tables import table
from tests.gateway.two_regions import Platform
from tests.gateway.wire import call, send

BODY = {"model": "acme/both", "messages": [{}]}


def test_a_call_without_a_region_is_answered_by_the_gateways_own_region(platform: Platform, chat: Chat) -> None:
    answer = chat()
    assert (answer.status, answer.header("x-tomoul-region")) == (200, "eu-west")
    assert platform.served_by() == ["both"]


def test_a_pin_to_the_gateways_own_region_stays_there(platform: Platform, chat: Chat) -> None:
    answer = chat(region="eu-west")
    assert (answer.status, answer.header("x-tomoul-region")) == (200, "eu-west")
    assert platform.served_by() == ["both"]


def test_a_pin_to_another_region_is_answered_by_that_regions_gateway(platform: Platform, chat: Chat) -> None:
    answer = chat(region="us-east")
    assert (answer.status, answer.header("x-tomoul-region")) == (200, "us-east")
    assert platform.served_by() == ["us-both"]
    [request] = platform.engines["us-both"].received
    assert request.header("x-tomoul-region") == "us-east"
    assert request.header("x-tomoul-cluster") is None


def test_a_call_pinned_elsewhere_is_forwarded_on_its_header_alone(platform: Platform) -> None:
    answer = call(
        platform.eu.port, body=b"not JSON", headers=[("x-tomoul-region", "us-east"), ("content-type", "text/plain")]
    )
    assert (answer.status, answer.header("x-tomoul-region")) == (415, "us-east"), "the other gateway judges the body"
    assert answer.error["param"] == "Content-Type"


def test_a_call_pinned_elsewhere_arrives_byte_for_byte_at_the_other_gateway(platform: Platform) -> None:
    body = b'{ "messages" : [ 1 ] ,\n "model":"acme/pinned", "n": 1.50 }'
    assert call(platform.eu.port, body=body, headers=[("x-tomoul-region", "us-east")]).status == 200
    [request] = platform.engines["us-pinned"].received
    assert request.body == body


@pytest.mark.parametrize("code", ["mars", "eu-west2", "eu", "tomoul"])
def test_an_unknown_region_is_refused_with_400_and_the_regions_that_exist(
    chat: Chat, platform: Platform, code: str
) -> None:
    answer = chat(region=code)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "unknown_region", "X-Tomoul-Region")
    assert {"eu-west", "us-east"} <= set(answer.error["available_regions"])
    assert answer.header("x-tomoul-region") == "eu-west"
    assert platform.served_by() == []


@pytest.mark.parametrize(
    "code", ["", "EU-WEST", "Eu-west", "eu-west,us-east", "eu_west", "../eu-west", "eu west", "\xe9"]
)
def test_a_value_that_is_no_region_code_is_refused_with_400(chat: Chat, platform: Platform, code: str) -> None:
    answer = chat(region=code)
    assert (answer.status, answer.error["code"]) == (400, "invalid_region")
    assert platform.served_by() == []


@pytest.mark.parametrize("codes", [("eu-west", "us-east"), ("eu-west", "eu-west"), ("", "eu-west"), ("us-east", "")])
def test_a_repeated_region_is_refused_with_400(platform: Platform, codes: tuple[str, ...]) -> None:
    answer = call(platform.eu.port, body=BODY, headers=[("X-Tomoul-Region", code) for code in codes])
    assert (answer.status, answer.error["code"]) == (400, "invalid_region")
    assert platform.served_by() == []


def test_a_region_header_with_underscores_is_refused_with_400(platform: Platform) -> None:
    answer = call(platform.eu.port, body=BODY, headers=[("X_Tomoul_Region", "us-east")])
    assert (answer.status, answer.error["code"]) == (400, "invalid_request")
    assert answer.error["message"].endswith("takes: http1.unexpected_underscore")
    assert platform.served_by() == []


def test_a_region_that_the_connection_header_removes_means_no_region_so_models_can_require_one(
    platform: Platform,
) -> None:
    """HTTP/1.1 lets a client name headers that end at the next hop; Envoy's codec obeys before any filter runs."""

    def hide_the_region(model: str) -> bytes:
        body = b'{"model":"%s","messages":[{}]}' % model.encode()
        return (
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"connection: X-Tomoul-Region, close\r\nX-Tomoul-Region: us-east\r\ncontent-length: %d\r\n\r\n%s"
            % (len(body), body)
        )

    assert send(platform.eu.port, hide_the_region("acme/both")).header("x-tomoul-region") == "eu-west"
    answer = send(platform.eu.port, hide_the_region("acme/strict"))
    assert (answer.status, answer.error["code"]) == (400, "region_required")


def test_a_known_region_without_a_gateway_to_reach_is_503(platform: Platform, chat: Chat) -> None:
    answer = chat(region="ap-south")
    assert (answer.status, answer.error["code"]) == (503, "region_capacity_unavailable")
    assert 0 < int(answer.header("retry-after") or 0) <= 60


def test_a_model_that_is_not_in_the_pinned_region_is_404_and_names_the_regions_that_have_it(chat: Chat) -> None:
    answer = chat("acme/us-only", region="eu-west")
    assert (answer.status, answer.error["code"]) == (404, "model_not_available_in_region")
    assert answer.error["available_regions"] == ["us-east"]
    assert answer.error["param"] == "model"


def test_a_model_that_is_not_here_and_may_not_fall_back_is_404_without_a_region(chat: Chat) -> None:
    answer = chat("acme/us-only")
    assert (answer.status, answer.error["code"]) == (404, "model_not_available_in_region")
    assert answer.error["available_regions"] == ["us-east"]


def test_a_model_that_is_only_elsewhere_falls_back_there_pinned_so_that_it_cannot_wander(
    platform: Platform, chat: Chat
) -> None:
    answer = chat("acme/far")
    assert (answer.status, answer.header("x-tomoul-region")) == (200, "us-east")
    [request] = platform.engines["us-far"].received
    assert request.header("x-tomoul-region") == "us-east"


def test_a_model_that_requires_a_region_refuses_calls_without_one(platform: Platform, chat: Chat) -> None:
    answer = chat("acme/strict")
    assert (answer.status, answer.error["code"]) == (400, "region_required")
    assert answer.error["available_regions"] == ["eu-west"]
    assert chat("acme/strict", region="eu-west").status == 200


def test_a_region_with_nothing_ready_is_503_with_retry_after_when_pinned(platform: Platform, chat: Chat) -> None:
    platform.publish_eu(without=("both",))
    for model in ("acme/empty", "acme/both"):
        answer = chat(model, region="eu-west")
        assert (answer.status, answer.error["code"]) == (503, "region_capacity_unavailable")
        assert 0 < int(answer.header("retry-after") or 0) <= 60
        assert answer.header("x-tomoul-region") == "eu-west"
    assert platform.served_by() == []


def test_a_call_without_a_region_goes_to_the_fallback_when_nothing_is_ready_here(
    platform: Platform, chat: Chat
) -> None:
    platform.publish_eu(without=("both",))
    answer = chat()
    assert (answer.status, answer.header("x-tomoul-region")) == (200, "us-east")
    [request] = platform.engines["us-both"].received
    assert request.header("x-tomoul-region") == "us-east"


def test_a_call_without_a_region_is_503_when_nothing_is_ready_and_the_policy_allows_no_fallback(
    platform: Platform, chat: Chat
) -> None:
    platform.publish_eu(without=("pinned",))
    answer = chat("acme/pinned")
    assert (answer.status, answer.error["code"]) == (503, "region_capacity_unavailable")
    assert platform.served_by() == []


def test_a_draining_region_answers_calls_that_name_it_and_sends_others_to_the_fallback(
    platform: Platform, chat: Chat
) -> None:
    platform.publish_eu(draining=True)
    assert chat(region="eu-west").header("x-tomoul-region") == "eu-west"
    assert chat().header("x-tomoul-region") == "us-east"
    assert chat("acme/pinned", region="eu-west").status == 200
    refused = chat("acme/pinned")
    assert (refused.status, refused.error["code"]) == (503, "region_capacity_unavailable")
    assert int(refused.header("retry-after") or 0) > 0


@pytest.mark.parametrize(
    "header",
    ["x-tomoul-cluster", "x-tomoul-route", "x-data-parallel-rank", "x-vllm-priority", "x-smg-routing-key",
     "x-override-priority", "X-Override-Bootstrap-Host", "x-sglext-ids-framed"],
)  # fmt: skip
def test_a_client_cannot_say_what_only_the_gateway_says_to_itself(platform: Platform, header: str) -> None:
    answer = call(platform.eu.port, body=BODY, headers=[(header, "region/us-east"), (header, "pool/models/strict")])
    assert (answer.status, answer.header("x-tomoul-region")) == (200, "eu-west")
    assert platform.served_by() == ["both"]
    assert platform.engines["both"].received[0].header(header.lower()) is None


def test_a_forwarded_call_for_a_third_region_is_refused_and_not_forwarded_again(platform: Platform) -> None:
    """us-east's endpoint leads to another gateway of eu-west, or to this one: a loop, if it were followed."""
    platform.publish_eu(us_port=platform.eu.port)
    answer = call(platform.eu.port, body=BODY, headers=[("x-tomoul-region", "us-east")])
    assert (answer.status, answer.error["code"]) == (503, "region_capacity_unavailable")
    assert answer.error["message"] == "The endpoint of the region `us-east` leads to the region `eu-west`"
    assert answer.header("x-tomoul-region") == "eu-west"
    assert 0 < int(answer.header("retry-after") or 0) <= 60
    assert platform.served_by() == []


def test_a_forwarded_call_for_a_region_that_its_receiver_does_not_know_is_503_and_not_the_clients_fault(
    platform: Platform, gateway: Gateway
) -> None:
    gateway.publish([table([], knownRegions=["eu-west"])], {})
    platform.publish_eu(us_port=gateway.port)
    answer = call(platform.eu.port, body=BODY, headers=[("x-tomoul-region", "us-east")])
    assert (answer.status, answer.error["code"]) == (503, "region_capacity_unavailable")


def test_the_mark_of_a_forwarded_call_gives_a_client_nothing_and_reaches_no_engine(
    platform: Platform, chat: Chat
) -> None:
    mark = ("X-Tomoul-Forwarded", "us-east")
    for headers in ([mark], [mark, ("X-Tomoul-Region", "eu-west")]):
        answer = call(platform.eu.port, body=BODY, headers=headers)
        assert (answer.status, answer.header("x-tomoul-region")) == (200, "eu-west")
    assert chat(region="us-east").status == 200
    assert call(platform.eu.port, body=BODY, headers=[mark, ("X-Tomoul-Region", "us-east")]).status == 503
    received = [*platform.engines["both"].received, *platform.engines["us-both"].received]
    assert [request.header("x-tomoul-forwarded") for request in received] == [None] * 3


def test_a_request_smuggled_by_two_lengths_is_refused(platform: Platform) -> None:
    answer = send(
        platform.eu.port,
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n"
        b"transfer-encoding: chunked\r\nx-tomoul-region: eu-west\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    )
    assert answer.status == 400
    assert platform.served_by() == []


def test_an_absolute_target_does_not_change_where_a_call_goes(platform: Platform) -> None:
    answer = call(platform.eu.port, "http://us-east.example.com/v1/chat/completions", body=BODY)
    assert (answer.status, answer.header("x-tomoul-region")) == (200, "eu-west")
