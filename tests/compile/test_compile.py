"""The compiler's output as files to review, and what must be true of every output."""

import json
from base64 import b64encode
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
from tomoul.gateway.compile.keys import SecretRef, read_keys
from tomoul.gateway.compile.resources import Endpoint, EnvoyResources, GatewayOptions, PoolKey
from tomoul.gateway.compile.tenants import known_tenants


def filter_document(resources: EnvoyResources) -> Any:
    [extension] = resources.extensions.values()
    return json.loads(extension["typed_config"]["filter_config"]["value"])


def by_type(resources: EnvoyResources) -> dict[str, Any]:
    """What a golden folder shows, with the filter's document as what it holds and not as one line of JSON."""
    extensions = json.loads(json.dumps(dict(resources.extensions)))
    for extension in extensions.values():
        extension["typed_config"]["filter_config"]["value"] = filter_document(resources)
    return {
        "listeners": resources.listeners,
        "routes": resources.routes,
        "extensions": extensions,
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
    tables = [RoutingTable.model_validate(each) for each in document["tables"]]
    keys = {
        SecretRef(each["namespace"], each["name"]): read_keys(
            each["name"], {entry: b64encode(key.encode()).decode() for entry, key in each["keys"].items()}
        )
        for each in document.get("secrets", ())
    }
    return compile_gateway(tables, endpoints, options, known_tenants(tables, keys))


def clusters_named(value: Any) -> set[str]:
    """Clusters that the filter may name."""
    if isinstance(value, Mapping):
        one = {item for key, item in value.items() if key == "cluster"}
        several = value["clusters"] if isinstance(value.get("clusters"), list) else []
        return one.union(several, *map(clusters_named, value.values()))
    return set().union(*map(clusters_named, value)) if isinstance(value, list) else set()


def check_sound(resources: EnvoyResources) -> None:
    """Envoy's definitions allow it; every cluster that can be named exists; every EDS cluster has its endpoints."""
    for kind, found in (
        (TypeUrl.LISTENER, resources.listeners),
        (TypeUrl.ROUTES, resources.routes),
        (TypeUrl.EXTENSIONS, resources.extensions),
        (TypeUrl.CLUSTER, resources.clusters),
        (TypeUrl.ENDPOINTS, resources.endpoints),
    ):
        assert list(found) == sorted(found)
        for name, resource in found.items():
            assert name == resource.get("name", resource.get("cluster_name"))
            assert serialize(kind, name, resource)
    document = filter_document(resources)
    named = clusters_named(document)
    assert named <= set(resources.clusters)
    assert {name for name, cluster in resources.clusters.items() if cluster.get("type") == "EDS"} == set(
        resources.endpoints
    )


@pytest.mark.parametrize("folder", scenarios("compile"), ids=lambda folder: folder.name)
def test_the_configuration_is_the_reviewed_one(request: pytest.FixtureRequest, folder: Path) -> None:
    resources = compiled(yaml.safe_load((folder / "in.yaml").read_text()))
    check_sound(resources)
    check_golden(request, folder, by_type(resources))


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
    entries = {entry["id"]: entry for entry in filter_document(resources)["models"]}
    for route in of_region.spec.models:
        entry = entries[route.id]
        clusters = {
            key: [name for each in found for name in each["clusters"]]
            for key, found in entry.get("clusters", {}).items()
        }
        assert entry["aliases"] == list(route.aliases)
        here = {f"pool/{pool.namespace}/{pool.service}" for pool in route.pools}
        allowed = {f"region/{region}" for region in route.fallback} | (set() if of_region.spec.draining else here)
        for key in ("pinned", "no_store_pinned"):
            assert set(clusters.get(key, [])) <= here, "a pinned call stays in its region"
        for key in ("unpinned", "no_store_unpinned"):
            found = set(clusters.get(key, []))
            assert found <= allowed
            assert found <= set(resources.clusters)
            if key.startswith("no_store"):
                assert not {name for name in found if name.endswith("-default")}


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


def test_a_models_change_changes_neither_listener_nor_routes_but_data_alone() -> None:
    models = [model(f"acme/model-{number:04}", fallback=["us-east"]) for number in range(1000)]
    gateways = [{"region": "us-east", "url": "http://us-east"}]
    options = GatewayOptions(region="eu-west")
    before = compile_gateway([table(models, remoteGateways=gateways)], {}, options)
    after = compile_gateway([table([*models, model("acme/new")], remoteGateways=gateways)], {}, options)
    assert (after.listeners, after.routes) == (before.listeners, before.routes)
    assert after.extensions != before.extensions
    assert len(serialize(TypeUrl.ROUTES, "gateway", after.routes["gateway"])) < 2_000
    assert len(serialize(TypeUrl.EXTENSIONS, "tomoul", after.extensions["tomoul"])) < 700_000


def test_no_cluster_keeps_envoys_default_limits_or_tries_what_is_unhealthy() -> None:
    gateways = [{"region": "us-east", "url": "http://us-east"}]
    resources = compile_gateway(
        [table([model("a", fallback=["us-east"])], remoteGateways=gateways)], {}, GatewayOptions(region="eu-west")
    )
    assert set(resources.clusters) == {"pool/models/a", "region/us-east"}
    for cluster in resources.clusters.values():
        [limits] = cluster["circuit_breakers"]["thresholds"]
        assert min(limits.values()) >= 100_000
        assert cluster["common_lb_config"]["healthy_panic_threshold"] == {"value": 0}
    [options] = resources.clusters["pool/models/a"]["typed_extension_protocol_options"].values()
    idle = float(options["common_http_protocol_options"]["idle_timeout"].rstrip("s"))
    assert idle < 5, "engines close idle connections after 5 s, and a call must not meet that moment"


def test_of_two_entries_of_a_model_that_of_the_table_with_the_regions_name_counts_whatever_their_order() -> None:
    def named(name: str, *models: Any) -> RoutingTable:
        found = table(models)
        return found.model_copy(update={"metadata": found.metadata.model_copy(update={"name": name})})

    def held(*found: RoutingTable) -> dict[str, str]:
        resources = compile_gateway(found, {}, GatewayOptions(region="eu-west", salt_key=b"a key for tests"))
        return {entry["id"]: json.loads(entry["card"])["owned_by"] for entry in filter_document(resources)["models"]}

    first = named("eu-west", model("a", ownedBy="first"))
    shards = [
        named(f"eu-west.0{number}", model("a", ownedBy=f"{number}"), model("b", ownedBy=f"{number}"))
        for number in (3, 1)
    ]
    assert held(*shards, first) == held(first, *shards) == {"a": "first", "b": "1"}
