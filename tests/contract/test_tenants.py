"""Tenants as the OpenAI SDK meets them, with keys from files and real engines."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.contract.calls import cached, fresh_prompt
from tests.local.running import RunningPlatform, model, region, running, write
from tests.local.waiting import until
from tomoul.api.routingtable import GatewayAuth

KEYS = {name: f"sk-{secrets.token_hex(20)}" for name in ("free", "east", "picky", "slow", "short")}
TENANTS = {
    "free": {},
    "east": {"regions": ["east"]},
    "picky": {"models": ["test/chat"]},
    "slow": {"limits": {"requestsPerMinute": 1}},
    "short": {"limits": {"maxOutputTokens": 5}},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keyed")


@pytest.fixture(scope="module")
def keyed(folder: Path) -> Iterator[RunningPlatform]:
    write(folder / "regions.yaml", region("east"), region("west"))
    routing = {"fallback": ["east", "west"]}
    write(folder / "models.yaml", model("chat", {"east": 1, "west": 1}, routing=routing), model("other", {"west": 1}))
    write(
        folder / "tenants.yaml",
        *(
            {
                "apiVersion": "tomoul.ai/v1alpha1",
                "kind": "Tenant",
                "metadata": {"name": name, "namespace": "tenants"},
                "spec": {"apiKeys": {"secretName": f"{name}-keys"}, **spec},
            }
            for name, spec in TENANTS.items()
        ),
    )
    write(
        folder / "keys.yaml",
        *(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": f"{name}-keys", "namespace": "tenants"},
                "stringData": {"key": key},
            }
            for name, key in KEYS.items()
        ),
    )
    with running(folder, auth=GatewayAuth.REQUIRED) as platform:
        yield platform


def ask(
    client: openai.OpenAI, model: str = "test/chat", pin: str | None = None, prompt: str = "Hello?", tokens: int = 5
) -> tuple[openai.types.chat.ChatCompletion, str]:
    raw = client.chat.completions.with_raw_response.create(
        model=model,
        max_tokens=tokens,
        messages=[{"role": "user", "content": prompt}],
        extra_headers={"X-Tomoul-Region": pin} if pin else None,
    )
    return raw.parse(), raw.headers["x-tomoul-region"]


def test_a_tenants_key_works_and_any_other_is_an_authentication_error(keyed: RunningPlatform) -> None:
    assert ask(keyed.client(key=KEYS["free"]))[0].choices[0].message.role == "assistant"
    for key in ("none", KEYS["free"][:-1], f"sk-{secrets.token_hex(20)}"):
        with pytest.raises(openai.AuthenticationError) as error:
            ask(keyed.client(key=key))
        assert (error.value.code, error.value.status_code) == ("invalid_api_key", 401)


def test_a_region_that_the_key_is_not_for_is_a_permission_error_and_never_answers(keyed: RunningPlatform) -> None:
    client = keyed.client("west", KEYS["east"])
    with pytest.raises(openai.PermissionDeniedError) as error:
        ask(client, pin="west")
    assert (error.value.code, error.value.param) == ("region_not_permitted", "X-Tomoul-Region")
    assert ask(client)[1] == "east", "though it called the gateway of the other region"
    assert ask(client, pin="east")[1] == "east"


def test_a_model_that_the_key_is_not_for_is_not_found_and_not_listed(keyed: RunningPlatform) -> None:
    client = keyed.client(key=KEYS["picky"])
    with pytest.raises(openai.NotFoundError) as error:
        ask(client, "test/other")
    assert error.value.code == "model_not_found"
    assert [each.id for each in client.models.list().data] == ["test/chat"]
    assert {each.id for each in keyed.client(key=KEYS["free"]).models.list().data} == {"test/chat", "test/other"}


def test_past_a_limit_is_a_rate_limit_error_that_says_how_long_to_wait(keyed: RunningPlatform) -> None:
    client = keyed.client(key=KEYS["slow"])
    ask(client, pin="east")
    with pytest.raises(openai.RateLimitError) as error:
        ask(client, pin="east")
    assert error.value.code == "rate_limit_exceeded"
    assert 1 <= int(error.value.response.headers["retry-after"]) <= 60


def test_more_output_than_the_key_allows_is_a_bad_request_and_less_is_what_it_gets(keyed: RunningPlatform) -> None:
    client = keyed.client(key=KEYS["short"])
    with pytest.raises(openai.BadRequestError) as error:
        ask(client, tokens=6)
    assert (error.value.code, error.value.param) == ("invalid_value", "max_tokens")
    message = [{"role": "user", "content": "Tell me a long story"}]
    others = ({"n_predict": 500}, {"n_cmpl": 4}, {"max_tokens": None, "max_completion_tokens": None})
    for limits in ({}, {"max_completion_tokens": 5}, *({"extra_body": fields} for fields in others)):
        answer = client.chat.completions.create(model="test/chat", messages=message, **limits)  # type: ignore[call-overload]
        assert answer.usage.completion_tokens <= 5
        assert len(answer.choices) == 1


def test_what_one_tenant_asked_is_in_no_cache_that_another_one_reads(keyed: RunningPlatform) -> None:
    prompt = fresh_prompt()
    for name in ("free", "picky", "free"):
        assert cached(ask(keyed.client(key=KEYS[name]), pin="west", prompt=prompt)[0]) == 0


def test_a_key_that_is_added_to_the_files_works_and_one_that_is_taken_out_does_not(
    keyed: RunningPlatform, folder: Path
) -> None:
    new = f"sk-{secrets.token_hex(20)}"
    file = folder / "keys.yaml"
    before = file.read_text()
    file.write_text(before.replace(KEYS["picky"], new))

    def works(key: str) -> bool:
        try:
            return bool(keyed.client(key=key).models.list().data)
        except openai.AuthenticationError:
            return False

    until(lambda: works(new) and not works(KEYS["picky"]), "the new key")
    file.write_text(before)
    until(lambda: works(KEYS["picky"]) and not works(new), "the old key")
