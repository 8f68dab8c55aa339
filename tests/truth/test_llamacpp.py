"""llama.cpp in local mode with keys: it has no salt, so what keeps tenants apart is that there is no cache."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.local.running import model, region, running, write
from tests.truth import orders
from tests.truth.endpoint import KEYS, REGION, Endpoint, metric, tenant_documents
from tests.truth.machine import found_out, in_any_order
from tests.truth.oracle import Oracle, Scope
from tomoul.api.routingtable import GatewayAuth
from tomoul.plan.engines import llamacpp, registry
from tomoul.plan.engines.base import EngineContainer

TENANT, SHARED, OFF = "test/tenant", "test/shared", "test/off"
SCOPES = {TENANT: Scope.NOBODY, SHARED: Scope.ALL, OFF: Scope.NOBODY}


@contextmanager
def llama(folder: Path) -> Iterator[Endpoint]:
    """The models of SCOPES, that with a cache on three replicas with affinity."""
    write(folder / "region.yaml", region(REGION))
    policies: dict[str, tuple[int, dict[str, Any]]] = {
        "tenant": (1, {"cache": {"mode": "Tenant", "noStore": "NotStored"}}),
        "shared": (3, {"cache": {"mode": "Shared", "noStore": "NotStored"}, "routing": {"affinity": "Prefix"}}),
        "off": (1, {"cache": {"mode": "Disabled"}}),
    }
    written = []
    for name, (replicas, fields) in policies.items():
        one = model(name, {REGION: replicas}, **fields)
        if fields["cache"].get("noStore") == "NotStored":
            one["spec"]["regions"][0]["noStoreReplicas"] = 1
        written.append(one)
    write(folder / "models.yaml", *written)
    write(folder / "tenants.yaml", *tenant_documents(KEYS))
    with running(folder, auth=GatewayAuth.REQUIRED) as platform:

        def computed(name: str) -> int:
            pools = [platform.engines(REGION, name, no_store) for no_store in (False, True)]
            return sum(metric(each.port, "llamacpp:prompt_tokens_total") for pool in pools for each in pool)

        endpoint = Endpoint(platform.platform.url, computed)
        yield endpoint
        endpoint.close()


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with llama(tmp_path_factory.mktemp("llama")) as served:
        yield served


@pytest.fixture(scope="module")
def oracle(endpoint: Endpoint) -> Oracle:
    return Oracle(endpoint, SCOPES)


def test_llamacpp_finds_a_prompt_again_in_a_shared_cache(endpoint: Endpoint) -> None:
    orders.twice_is_a_hit(endpoint, SHARED)


@pytest.mark.parametrize("model_id", SCOPES)
def test_llamacpp_keeps_nothing_of_a_no_store_call(endpoint: Endpoint, model_id: str) -> None:
    orders.no_store_and_then_cacheable_is_a_miss(endpoint, model_id)


@pytest.mark.parametrize("model_id", SCOPES)
def test_llamacpp_reads_nothing_for_a_no_store_call(endpoint: Endpoint, model_id: str) -> None:
    orders.cacheable_and_then_no_store_is_a_miss(endpoint, model_id)


def test_llamacpp_lets_no_tenant_find_what_another_asked(endpoint: Endpoint) -> None:
    orders.another_tenant_gets_nothing(endpoint, TENANT)


def test_a_stream_of_llamacpp_counts_the_cached_tokens_if_it_is_asked_to(endpoint: Endpoint) -> None:
    orders.a_stream_counts_what_was_cached_if_it_is_asked_to(endpoint, SHARED)


@pytest.mark.parametrize("model_id", SCOPES)
def test_llamacpp_keeps_its_promises_to_tenants_that_call_at_once(
    endpoint: Endpoint, oracle: Oracle, model_id: str
) -> None:
    orders.at_once(oracle, model_id)


def test_llamacpp_keeps_its_promises_in_any_order_of_calls(endpoint: Endpoint, oracle: Oracle) -> None:
    before = oracle.hits
    in_any_order(oracle)
    assert oracle.hits > before, "nothing was ever found in a cache, which proves nothing"


def test_the_oracle_finds_out_a_cache_that_tenants_share_against_the_policy(endpoint: Endpoint) -> None:
    assert found_out(Oracle(endpoint, {SHARED: Scope.TENANT}))


def test_the_oracle_finds_out_a_pool_for_no_store_calls_whose_cache_is_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(*arguments: Any, **options: Any) -> EngineContainer:
        container = llamacpp.container(*arguments, **options)
        return replace(container, args=tuple(arg for arg in container.args if arg != "--no-cache-prompt"))

    lying = replace(llamacpp.ENGINE, container=forgetful)
    monkeypatch.setattr(registry, "ENGINES", {**registry.ENGINES, lying.type: lying})
    with llama(tmp_path) as endpoint:
        assert found_out(Oracle(endpoint, {SHARED: Scope.ALL}))
