"""SGLang's command line, request fields and prefix table, which its wheel brings, behind a real gateway.

There is no GPU, so what is missing of SGLang is the model; programs/sglang_package.py says which parts are its own.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.truth import orders
from tests.truth.endpoint import Call, Endpoint
from tests.truth.machine import found_out, in_any_order
from tests.truth.oracle import BEGINNING, Oracle, Scope
from tests.truth.planned import model, planned

ENGINE = {"type": "SGLang"}
SOURCE = {"file": {"path": "/models/tiny"}}
TENANT, STORED, SHARED, OFF = "test/tenant", "test/stored", "test/shared", "test/off"
SCOPES = {TENANT: Scope.TENANT, STORED: Scope.TENANT, SHARED: Scope.ALL, OFF: Scope.NOBODY}
AFFINITY = {"affinity": "Prefix"}
MODELS = [
    model("tenant", ENGINE, {"mode": "Tenant", "noStore": "Isolated"}, 3, source=SOURCE, routing=AFFINITY),
    model("stored", ENGINE, {"mode": "Tenant", "noStore": "NotStored"}, 2, source=SOURCE, routing=AFFINITY),
    model("shared", ENGINE, {"mode": "Shared", "noStore": "Isolated"}, source=SOURCE),
    model("off", ENGINE, {"mode": "Disabled"}, source=SOURCE),
]

Serve = Callable[..., AbstractContextManager[Endpoint]]


@pytest.fixture(scope="module")
def serve(sglang_python: Path) -> Serve:
    """`serve(models, spoil)`: an endpoint of SGLang's."""
    program = Path(__file__).parent / "programs" / "sglang_server.py"

    def launch(command: Sequence[str], args: Sequence[str], port: int) -> Sequence[str | Path]:
        assert list(command) == ["python3", "-m", "sglang.launch_server"]
        return [sglang_python, program, *args, "--host", "127.0.0.1", "--port", str(port)]

    def serve(models: Sequence[dict[str, Any]] = MODELS, **options: Any) -> AbstractContextManager[Endpoint]:
        counters = ("sglang:prompt_tokens_total", "sglang:cached_tokens_total")
        return planned(models, launch, counters, **options)

    return serve


@pytest.fixture(scope="module")
def endpoint(serve: Serve) -> Iterator[Endpoint]:
    with serve() as served:
        yield served


@pytest.fixture(scope="module")
def oracle(endpoint: Endpoint) -> Oracle:
    return Oracle(endpoint, SCOPES)


@pytest.mark.parametrize("model_id", [TENANT, STORED, SHARED])
def test_sglang_finds_a_prompt_again(endpoint: Endpoint, model_id: str) -> None:
    orders.twice_is_a_hit(endpoint, model_id)


@pytest.mark.parametrize("model_id", SCOPES)
def test_sglang_keeps_nothing_of_a_no_store_call(endpoint: Endpoint, model_id: str) -> None:
    orders.no_store_and_then_cacheable_is_a_miss(endpoint, model_id)


@pytest.mark.parametrize("model_id", SCOPES)
def test_sglang_reads_nothing_for_a_no_store_call(endpoint: Endpoint, model_id: str) -> None:
    orders.cacheable_and_then_no_store_is_a_miss(endpoint, model_id)


@pytest.mark.parametrize("model_id", [TENANT, STORED, OFF])
def test_sglang_lets_no_tenant_find_what_another_asked(endpoint: Endpoint, model_id: str) -> None:
    orders.another_tenant_gets_nothing(endpoint, model_id)


def test_a_stream_of_sglang_counts_the_cached_tokens_if_it_is_asked_to(endpoint: Endpoint) -> None:
    orders.a_stream_counts_what_was_cached_if_it_is_asked_to(endpoint, TENANT)


@pytest.mark.parametrize("model_id", SCOPES)
def test_sglang_keeps_its_promises_to_tenants_that_call_at_once(oracle: Oracle, model_id: str) -> None:
    orders.at_once(oracle, model_id)


def test_sglang_keeps_its_promises_in_any_order_of_calls(oracle: Oracle) -> None:
    before = oracle.hits
    in_any_order(oracle)
    assert oracle.hits > before, "nothing was ever found in a cache, which proves nothing"


@pytest.mark.parametrize("field", ["cache_salt", "extra_key"])
def test_a_client_of_sglang_can_neither_find_what_another_asked_nor_hide_from_its_own(
    endpoint: Endpoint, field: str
) -> None:
    prompt, chosen = orders.fresh_prompt(), {field: "chosen"}
    endpoint.counted(Call("first", TENANT, prompt), **chosen)
    assert endpoint.counted(Call("second", TENANT, prompt), **chosen).cached < BEGINNING
    again = endpoint.counted(Call("first", TENANT, prompt))
    assert again.cached == endpoint.most(again)


def test_a_field_of_another_name_in_the_place_of_sglangs_salt_is_found_out(serve: Serve) -> None:
    def misname(table: dict[str, Any]) -> None:
        (route,) = table["spec"]["models"]
        route["cache"]["saltField"] = "cache_sault"

    with serve(MODELS[:1], spoil=misname) as lying:
        assert found_out(Oracle(lying, {TENANT: Scope.TENANT}))


def test_no_store_calls_that_sglangs_pool_with_a_cache_gets_are_found_out(serve: Serve) -> None:
    def misroute(table: dict[str, Any]) -> None:
        (route,) = table["spec"]["models"]
        (pool,) = [each["service"] for each in route["pools"] if each["name"] == "default"]
        for each in route["pools"]:
            each["service"] = pool

    with serve(MODELS[1:2], spoil=misroute) as lying:
        # NotStored sends no salt to its pool, so these calls find each other.
        assert found_out(Oracle(lying, {STORED: Scope.TENANT}))


def test_sglang_does_not_start_with_a_flag_that_it_does_not_know(serve: Serve) -> None:
    wrong = model("off", {**ENGINE, "args": ["--no-such-flag"]}, {"mode": "Disabled"}, source=SOURCE)
    with pytest.raises(AssertionError, match="unrecognized arguments: --no-such-flag"), serve([wrong]):
        pass
