"""The compiler's output as files to review, and what must be true of every output."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.tables import model, table
from tests.golden import check_golden, scenarios
from tomoul.api.routingtable import RoutingTable
from tomoul.gateway.agent.messages import TypeUrl, serialize
from tomoul.gateway.compile.compiler import compile_gateway
from tomoul.gateway.compile.listeners import chat_script
from tomoul.gateway.compile.names import LUA_FILTER
from tomoul.gateway.compile.resources import Endpoint, EnvoyResources, GatewayOptions, PoolKey

SCRIPT = "(chat.lua)"


def without_script(value: Any) -> Any:
    """The same with chat.lua's source in one word, so that a golden file is about the configuration."""
    if isinstance(value, Mapping):
        return {key: without_script(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_script(item) for item in value]
    return SCRIPT if value == chat_script() else value


def by_type(resources: EnvoyResources) -> dict[str, Mapping[str, Any]]:
    return {
        "listeners": resources.listeners,
        "routes": resources.routes,
        "clusters": resources.clusters,
        "endpoints": resources.endpoints,
    }


def compiled(document: Any) -> EnvoyResources:
    options = GatewayOptions(
        region=document["options"]["region"],
        listen_address=document["options"].get("listenAddress", GatewayOptions.listen_address),
        listen_port=document["options"].get("listenPort", GatewayOptions.listen_port),
        max_body_bytes=document["options"].get("maxBodyBytes", GatewayOptions.max_body_bytes),
        salt_key=b"a key for golden files",
    )
    endpoints = {}
    for pool in document["endpoints"]:
        ready = [Endpoint(address, int(port)) for address, _, port in (each.rpartition(":") for each in pool["ready"])]
        endpoints[PoolKey(pool["namespace"], pool["service"])] = ready
    return compile_gateway([RoutingTable.model_validate(each) for each in document["tables"]], endpoints, options)


def virtual_host(resources: EnvoyResources) -> Any:
    [configuration] = resources.routes.values()
    [found] = configuration["virtual_hosts"]
    return found


def routes_by_key(resources: EnvoyResources) -> Mapping[str, Any]:
    tree = virtual_host(resources)["matcher"]["matcher_tree"]
    return {key: found["action"]["typed_config"] for key, found in tree["exact_match_map"]["map"].items()}


def script_metadata(holder: Any) -> Any:
    return holder["metadata"]["filter_metadata"][LUA_FILTER]


def clusters_named(value: Any) -> set[str]:
    """Clusters that chat.lua may name, in a model's or a region's entry."""
    return {item for key, item in value.items() if key == "cluster" or key.endswith("_cluster")}


def check_sound(resources: EnvoyResources) -> None:
    """Envoy's definitions allow it; every cluster that can be named exists; every EDS cluster has its endpoints."""
    for kind, found in (
        (TypeUrl.LISTENER, resources.listeners),
        (TypeUrl.ROUTES, resources.routes),
        (TypeUrl.CLUSTER, resources.clusters),
        (TypeUrl.ENDPOINTS, resources.endpoints),
    ):
        assert list(found) == sorted(found)
        for name, resource in found.items():
            assert name == resource.get("name", resource.get("cluster_name"))
            assert serialize(kind, name, resource)
    named = set()
    for value in script_metadata(virtual_host(resources)).values():
        named |= clusters_named(value)
    for route in routes_by_key(resources).values():
        named |= clusters_named(script_metadata(route).get("model", {}))
    for cluster in resources.clusters.values():
        if cluster["name"].startswith("fallback"):
            named |= set(cluster["cluster_type"]["typed_config"]["clusters"])
    assert named <= set(resources.clusters)
    assert {name for name, cluster in resources.clusters.items() if cluster.get("type") == "EDS"} == set(
        resources.endpoints
    )


@pytest.mark.parametrize("folder", scenarios("compile"), ids=lambda folder: folder.name)
def test_the_configuration_is_the_reviewed_one(request: pytest.FixtureRequest, folder: Path) -> None:
    resources = compiled(yaml.safe_load((folder / "in.yaml").read_text()))
    check_sound(resources)
    check_golden(request, folder, {name: without_script(found) for name, found in by_type(resources).items()})


REGIONS = ["ap-south", "eu-west", "us-east", "us-west"]


@st.composite
def tables(draw: st.DrawFn) -> RoutingTable:
    reachable = draw(st.lists(st.sampled_from(REGIONS[:1] + REGIONS[2:]), unique=True))
    ids = draw(st.lists(st.sampled_from(["a", "a/b", "a/b/no-store", "default", "x"]), unique=True))
    models = []
    for number, model_id in enumerate(ids):
        names = draw(st.sampled_from([[], ["default"], ["default", "no-store"]]))
        models.append(
            model(
                model_id,
                aliases=[f"alias-{number}"],
                regions=draw(st.lists(st.sampled_from(REGIONS), unique=True, min_size=1)),
                fallback=draw(st.lists(st.sampled_from([r for r in REGIONS if r != "eu-west"]), unique=True)),
                requireRegion=draw(st.booleans()),
                cache={
                    "mode": draw(st.sampled_from(["Disabled", "Tenant", "Shared"])),
                    "noStore": draw(st.sampled_from(["Isolated", "NotStored", "Refuse"])),
                    "saltField": draw(st.sampled_from([None, "cache_salt"])),
                },
                timeouts={"requestSeconds": draw(st.sampled_from([10, 600])), "idleSeconds": 5},
                pools=[
                    {"name": name, "namespace": "models", "service": f"m{number}-{name}", "port": 8000}
                    for name in names
                ],
            )
        )
    gateways = [{"region": region, "url": f"https://{region}.example.com"} for region in reachable]
    return table(models, remoteGateways=gateways, draining=draw(st.booleans()))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables())
def test_every_configuration_is_sound_and_keeps_calls_where_the_policy_allows_them(of_region: RoutingTable) -> None:
    resources = compile_gateway([of_region], {}, GatewayOptions(region="eu-west"))
    check_sound(resources)
    routes = routes_by_key(resources)
    for route in of_region.spec.models:
        entry = script_metadata(routes[f"model/{route.id}"])["model"]
        for alias in route.aliases:
            assert routes[f"model/{alias}"] == routes[f"model/{route.id}"]
        here = {f"pool/{pool.namespace}/{pool.service}" for pool in route.pools}
        allowed = {f"region/{region}" for region in route.fallback} | (set() if of_region.spec.draining else here)
        for key in ("cluster", "no_store_cluster"):
            assert key not in entry or entry[key] in here, "a pinned call stays in its region"
        for key in ("unpinned_cluster", "no_store_unpinned_cluster"):
            name = entry.get(key)
            cluster = resources.clusters.get(name or "", {})
            members = cluster.get("cluster_type", {}).get("typed_config", {}).get("clusters", [name] if name else [])
            assert set(members) <= allowed
            if key.startswith("no_store"):
                assert not {member for member in members if member.endswith("-default")}


@given(tables(), tables())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_table_changes_the_listener_since_that_would_cut_streams(one: RoutingTable, other: RoutingTable) -> None:
    options = GatewayOptions(region="eu-west")
    assert compile_gateway([one], {}, options).listeners == compile_gateway([other], {}, options).listeners


def test_compiling_the_same_in_another_order_gives_the_same() -> None:
    models = [model("a", fallback=["us-east"]), model("b")]
    gateways = [{"region": region, "url": f"http://{region}"} for region in ("us-east", "ap-south")]
    pool = PoolKey("models", "a")
    one = [Endpoint("10.0.0.1", 1), Endpoint("10.0.0.2", 1)]
    options = GatewayOptions(region="eu-west")
    assert compile_gateway([table(models, remoteGateways=gateways)], {pool: one}, options) == compile_gateway(
        [table(models[::-1], remoteGateways=gateways[::-1])], {pool: one[::-1]}, options
    )


def test_shards_of_a_region_are_one_table() -> None:
    options = GatewayOptions(region="eu-west")
    whole = compile_gateway([table([model("a"), model("b")])], {}, options)
    assert compile_gateway([table([model("a")]), table([model("b")])], {}, options) == whole


def test_a_table_of_another_region_is_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="`us-east` is for region `us-east`, not `eu-west`"):
        compile_gateway([table([], region="us-east")], {}, GatewayOptions(region="eu-west"))


def test_a_thousand_models_stay_small_and_are_looked_up_by_key() -> None:
    models = [model(f"acme/model-{number:04}", fallback=["us-east"]) for number in range(1000)]
    gateways = [{"region": "us-east", "url": "http://us-east"}]
    resources = compile_gateway([table(models, remoteGateways=gateways)], {}, GatewayOptions(region="eu-west"))
    assert len(serialize(TypeUrl.ROUTES, "gateway", resources.routes["gateway"])) < 1_500_000
    # chat.lua copies the metadata that it looks at, and Envoy tries a list of routes from its beginning.
    assert "routes" not in virtual_host(resources)
    assert len(str(script_metadata(virtual_host(resources)))) < 1000
    found = script_metadata(routes_by_key(resources)["model/acme/model-0500"])
    assert found["model"]["id"] == "acme/model-0500"
    assert len(str(found)) < 1000


def test_no_cluster_keeps_envoys_default_limits_or_tries_what_is_unhealthy() -> None:
    gateways = [{"region": "us-east", "url": "http://us-east"}]
    resources = compile_gateway(
        [table([model("a", fallback=["us-east"])], remoteGateways=gateways)], {}, GatewayOptions(region="eu-west")
    )
    assert set(resources.clusters) == {"fallback/a", "pool/models/a", "region/us-east"}
    for cluster in resources.clusters.values():
        [limits] = cluster["circuit_breakers"]["thresholds"]
        assert min(limits.values()) >= 100_000
        assert cluster["common_lb_config"]["healthy_panic_threshold"] == {"value": 0}
    [options] = resources.clusters["pool/models/a"]["typed_extension_protocol_options"].values()
    idle = float(options["common_http_protocol_options"]["idle_timeout"].rstrip("s"))
    assert idle < 5, "engines close idle connections after 5 s, and a call must not meet that moment"
