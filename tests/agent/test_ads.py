"""The ADS server against a real Envoy."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests.agent.envoy import (
    TYPE,
    Envoy,
    bootstrap,
    eventually,
    listener,
    resources,
    routes,
    running_envoy,
    short_folder,
)
from tests.agent.http_calls import get, http_server
from tomoul.gateway.agent.ads import Acknowledgement, AdsServer
from tomoul.gateway.compile.resources import EnvoyResources

NO_CERTIFICATE = {
    "transport_socket": {
        "name": "tls",
        "typed_config": {
            "@type": TYPE + "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "common_tls_context": {"validation_context": {"trusted_ca": {"inline_string": "no PEM"}}},
        },
    }
}


class Setting:
    """An ADS server and an Envoy that is connected to it."""

    def __init__(self, folder: Path, ads: AdsServer, envoy: Envoy, heard: list[Acknowledgement]) -> None:
        self.folder, self.ads, self.envoy, self.heard = folder, ads, envoy, heard

    async def publish(self, wanted: EnvoyResources, label: object = None) -> Acknowledgement:
        return await self.ads.accepted(self.ads.publish(wanted, label), 20)


@pytest.fixture
def folder():
    with short_folder() as path:
        yield path


@pytest.fixture
async def setting(folder: Path) -> AsyncIterator[Setting]:
    heard: list[Acknowledgement] = []
    ads = AdsServer(folder / "ads.sock", heard.append)
    await ads.start()
    async with running_envoy(Envoy(folder, bootstrap(folder / "ads.sock", folder / "admin.sock"))) as envoy:
        yield Setting(folder, ads, envoy, heard)
    await ads.stop()


async def test_what_is_published_is_accepted_and_served(setting: Setting) -> None:
    async with http_server("engine a") as engine:
        result = await setting.publish(resources({"a": (engine,)}), label="generation 1")
        assert result == Acknowledgement(1, "generation 1", True)
        assert (await get(await setting.envoy.port(), "/a")).text == "engine a"
    assert setting.heard == [result]
    assert (setting.folder / "ads.sock").stat().st_mode & 0o777 == 0o660


async def test_a_changed_endpoint_is_accepted_and_only_its_cluster_is_sent(setting: Setting) -> None:
    async with http_server("old") as old, http_server("new") as new:
        await setting.publish(resources({"a": (old,), "b": (old,)}))
        port = await setting.envoy.port()
        before = await _update_counts(setting.envoy)
        assert (await setting.publish(resources({"a": (new,), "b": (old,)}))).ok
        assert (await get(port, "/a")).text == "new"
        assert (await get(port, "/b")).text == "old"
        after = await _update_counts(setting.envoy)
        assert {name: after[name] - before[name] for name in after} == {
            "cluster.a.update_attempt": 1,
            "cluster.b.update_attempt": 0,
            "cluster_manager.cds.update_attempt": 0,
            "listener_manager.lds.update_attempt": 0,
            "http.main.rds.routes.update_attempt": 0,
        }


async def test_a_modified_cluster_is_accepted_at_once_although_its_endpoints_are_the_same(setting: Setting) -> None:
    async with http_server("engine a") as engine:
        await setting.publish(resources({"a": (engine,)}))
        started = time.monotonic()
        result = await setting.publish(resources({"a": (engine,)}, connect_timeout="2s"))
        # Without its endpoints it would warm until Envoy's initial fetch timeout, 15 s.
        assert result.ok
        assert time.monotonic() - started < 5
        assert (await get(await setting.envoy.port(), "/a")).text == "engine a"


async def test_a_removed_cluster_goes_after_the_routes_that_use_it(setting: Setting) -> None:
    async with http_server("x") as engine:
        await setting.publish(resources({"a": (engine,), "b": (engine,)}))
        port = await setting.envoy.port()
        statuses: set[int] = set()
        stop = asyncio.Event()

        async def call() -> None:
            while not stop.is_set():
                statuses.add((await get(port, "/b")).status)

        caller = asyncio.create_task(call())
        for _ in range(10):
            assert (await setting.publish(resources({"a": (engine,)}))).ok
            assert (await setting.publish(resources({"a": (engine,), "b": (engine,)}))).ok
        stop.set()
        await caller
        # No route, or the engine's answer; never the 503 of a route whose cluster is gone or not there yet.
        assert statuses <= {200, 404}
        assert (await setting.publish(resources({"a": (engine,)}))).ok
        assert "b::" not in await setting.envoy.admin("/clusters")


async def test_what_envoy_refuses_is_reported_in_its_words_and_the_old_goes_on_serving(setting: Setting) -> None:
    async with http_server("engine a") as engine:
        good = resources({"a": (engine,)})
        await setting.publish(good)
        port = await setting.envoy.port()
        twice = routes("a")
        twice["virtual_hosts"].append({"name": "too", "domains": ["*"]})
        bad = replace(resources({"a": (engine,), "b": (engine,)}), routes={"routes": twice})
        refused = await setting.publish(bad, label="bad")
        assert (refused.ok, refused.label) == (False, "bad")
        assert refused.type_url.endswith("RouteConfiguration")
        assert "Only a single wildcard domain is permitted" in refused.message
        assert (await get(port, "/a")).text == "engine a"
        # All of the refused version is undone, the part that Envoy accepted included.
        await eventually(lambda: _gone(setting.envoy, "b::"))
        assert not (await setting.publish(bad)).ok
        assert (await setting.publish(resources({"c": (engine,)}), label="good")).ok
        assert (await get(port, "/c")).text == "engine a"


async def test_a_cluster_that_envoy_refuses_keeps_its_old_version(setting: Setting) -> None:
    async with http_server("engine a") as engine:
        good = resources({"a": (engine,)})
        await setting.publish(good)
        bad_cluster = {**good.clusters["a"], "lb_policy": "RING_HASH", "ring_hash_lb_config": {
            "minimum_ring_size": 2000, "maximum_ring_size": 1000}}  # fmt: skip
        refused = await setting.publish(replace(good, clusters={"a": bad_cluster}))
        assert not refused.ok
        assert "ring" in refused.message
        assert (await get(await setting.envoy.port(), "/a")).text == "engine a"
        assert (await setting.publish(good)).ok


async def test_a_field_that_envoy_does_not_know_is_refused_before_anything_is_sent(setting: Setting) -> None:
    async with http_server("engine a") as engine:
        good = resources({"a": (engine,)})
        await setting.publish(good)
        misspelt = replace(good, clusters={"a": {**good.clusters["a"], "conect_timeout": "1s"}})
        refused = await setting.publish(misspelt)
        assert not refused.ok
        assert "Cluster `a`" in refused.message
        assert "conect_timeout" in refused.message
        assert setting.ads.accepted_version == 1
        assert (await get(await setting.envoy.port(), "/a")).text == "engine a"


async def test_a_reference_to_a_missing_resource_is_refused(setting: Setting) -> None:
    refused = await setting.publish(replace(resources({"a": (1,)}), endpoints={}))
    assert refused.message == "Cluster `a`: there is no ClusterLoadAssignment `a`"
    refused = await setting.publish(replace(resources({"a": (1,)}), routes={}))
    assert refused.message == "Listener `main`: there is no RouteConfiguration `routes`"


async def test_a_restarted_envoy_gets_everything_again(setting: Setting) -> None:
    async with http_server("engine a") as engine:
        assert (await setting.publish(resources({"a": (engine,)}))).ok
        await setting.envoy.port()
        await setting.envoy.stop()
        await setting.envoy.start()
        port = await setting.envoy.port()
        assert (await get(port, "/a")).text == "engine a"
        assert (await setting.publish(resources({"a": (engine,), "b": (engine,)}))).ok


async def test_an_envoy_that_starts_after_a_refused_version_gets_the_last_accepted_one(setting: Setting) -> None:
    async with http_server("engine a") as engine:
        good = resources({"a": (engine,)})
        await setting.publish(good)
        twice = routes("a")
        twice["virtual_hosts"].append({"name": "too", "domains": ["*"]})
        assert not (await setting.publish(replace(good, routes={"routes": twice}))).ok
        await setting.envoy.stop()
        await setting.envoy.start()
        assert (await get(await setting.envoy.port(), "/a")).text == "engine a"


async def test_an_envoy_serves_on_while_its_server_is_replaced(setting: Setting) -> None:
    async with http_server("engine a") as engine:
        await setting.publish(resources({"a": (engine,)}))
        port = await setting.envoy.port()
        await setting.ads.stop()
        assert (await get(port, "/a")).text == "engine a"
        second = AdsServer(setting.folder / "ads.sock")
        await second.start()
        try:
            assert (await second.accepted(second.publish(resources({"a": (engine,), "b": (engine,)})), 20)).ok
            assert (await get(port, "/b")).text == "engine a"
        finally:
            await second.stop()


async def test_an_envoy_that_does_not_answer_is_cut_off_and_sent_everything_when_it_comes_back(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unanswered: list[str] = []
    ads = AdsServer(folder / "ads.sock", on_unanswered=lambda: unanswered.append("once"), answer_seconds=2)
    await ads.start()
    async with running_envoy(Envoy(folder, bootstrap(folder / "ads.sock", folder / "admin.sock"))) as envoy:
        assert (await ads.accepted(ads.publish(resources({"a": (1,)})), 20)).ok
        envoy.signal(signal.SIGSTOP)
        version = ads.publish(resources({"b": (1,)}))
        await eventually(lambda: unanswered)
        assert ads.connected == 0
        assert ads.accepted_version == version - 1
        assert "Envoy has not answered for 2 s" in caplog.text
        envoy.signal(signal.SIGCONT)
        assert (await ads.accepted(version, 20)).ok
        assert unanswered == ["once"]
    await ads.stop()


async def test_an_envoy_that_only_sends_keep_alives_stays_connected(folder: Path) -> None:
    ads = AdsServer(folder / "ads.sock")
    await ads.start()
    config = bootstrap(folder / "ads.sock", folder / "admin.sock")
    options = config["static_resources"]["clusters"][0]["typed_extension_protocol_options"]
    protocol = next(iter(options.values()))["explicit_http_config"]["http2_protocol_options"]
    protocol["connection_keepalive"] = {"interval": "0.1s", "timeout": "5s"}
    async with running_envoy(Envoy(folder, config)) as envoy:
        await ads.accepted(ads.publish(resources({"a": (1,)})), 20)

        async def pings() -> int:
            # Envoy counts none, but each and its answer are bytes of the connection.
            stats = await envoy.admin("/stats?filter=cluster.ads.upstream_cx_rx_bytes_total")
            return int(stats.split(": ")[1])

        before = await pings()

        async def ten_pings() -> bool:
            return await pings() >= before + 10 * 17

        await eventually(ten_pings)
        assert (await envoy.admin("/stats?filter=cluster.ads.upstream_cx_destroy$")).strip().endswith(": 0")
    await ads.stop()


async def test_a_version_is_accepted_only_when_all_connected_envoys_have_it(setting: Setting) -> None:
    async with http_server("engine a") as engine:
        other_folder = setting.folder / "2"
        other_folder.mkdir()
        await setting.publish(resources({"a": (engine,)}))
        config = bootstrap(setting.folder / "ads.sock", other_folder / "admin.sock")
        async with running_envoy(Envoy(other_folder, config)) as other:
            await eventually(lambda: setting.ads.connected == 2)
            assert (await setting.publish(resources({"b": (engine,)}))).ok
            for envoy in (setting.envoy, other):
                assert (await get(await envoy.port(), "/b")).text == "engine a"
        await eventually(lambda: setting.ads.connected == 1)
        assert (await setting.publish(resources({"c": (engine,)}))).ok


async def test_versions_that_follow_each_other_fast_end_at_the_newest(setting: Setting) -> None:
    async with http_server("engine") as engine:
        for number in range(30):
            setting.ads.publish(resources({"a": (engine,), f"b{number}": (engine, number + 1)}, f"{number + 1}s"))
        assert (await setting.ads.accepted(30, 20)).version == 30
        assert (await get(await setting.envoy.port(), "/a")).text == "engine"
        assert "b29::" in await setting.envoy.admin("/clusters")
        assert "b28::" not in await setting.envoy.admin("/clusters")


async def test_the_same_again_is_accepted_without_asking_envoy(setting: Setting) -> None:
    wanted = resources({"a": (1,)})
    await setting.publish(wanted, label="generation 1")
    again = setting.ads.publish(wanted, label="generation 2")
    assert setting.heard[-1] == Acknowledgement(again, "generation 2", True)


async def test_a_long_refusal_cut_inside_a_character_is_still_a_refusal(setting: Setting) -> None:
    cut = False
    for shift in ("", "x"):
        hosts = [{"name": name, "domains": [shift + "é" * 4000]} for name in "ab"]
        bad = replace(resources({"a": (1,)}), routes={"routes": {"name": "routes", "virtual_hosts": hosts}})
        refused = await setting.publish(bad)
        assert not refused.ok
        cut = cut or "\N{REPLACEMENT CHARACTER}" in refused.message
    assert cut, "Envoy no longer cuts its messages inside a character"
    assert (await setting.publish(resources({"a": (1,)}))).ok


@pytest.mark.parametrize("seed", [3, 9])
async def test_whatever_is_published_in_whatever_order_every_awaited_version_is_answered_soon(
    setting: Setting, seed: int
) -> None:
    random = Random(seed)
    for number in range(100):
        wanted, bad = _random_resources(random)
        version = setting.ads.publish(wanted, bad)
        if random.random() < 0.03:
            await setting.envoy.stop()
            await setting.envoy.start()
        if random.random() < 0.3:
            # A cluster that warms for want of endpoints would take 15 s, Envoy's initial fetch timeout.
            answer = await setting.ads.accepted(version, 14)
            assert answer.ok != bad, (seed, number, answer)
        else:
            await asyncio.sleep(random.choice([0, 0, 0.002, 0.01]))
    assert (await setting.publish(resources({"last": (2000,)}))).ok
    clusters = await setting.envoy.admin("/clusters")
    assert {line.partition("::")[0] for line in clusters.splitlines()} == {"last", "ads"}
    assert all(acknowledgement.ok != acknowledgement.label for acknowledgement in setting.heard[:-1])


async def test_a_thousand_clusters_are_accepted_in_seconds(setting: Setting) -> None:
    pools = {f"pool/models/service-{number}": (number + 1,) for number in range(1000)}
    started = time.monotonic()
    assert (await setting.ads.accepted(setting.ads.publish(resources(pools)), 60)).ok
    first = time.monotonic() - started
    started = time.monotonic()
    assert (await setting.publish(resources({**pools, "pool/models/service-7": (9999,)}))).ok
    change = time.monotonic() - started
    print(f"1,000 clusters accepted in {first:.2f} s, one changed endpoint in {change * 1000:.0f} ms")
    assert first < 20
    assert change < 5


def test_a_socket_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="longer than 107 bytes"):
        AdsServer(tmp_path / ("x" * 120))


def _random_resources(random: Random) -> tuple[EnvoyResources, bool]:
    """Some of six pools with some endpoints, and whether Envoy must refuse it."""
    names = [name for name in "abcdef" if random.random() < 0.6]
    pools = {name: tuple(random.sample(range(2000, 2010), random.randint(0, 3))) for name in names}
    wanted = resources(pools, random.choice(["1s", "2s", "3s"]))
    match random.choice(["routes", "cluster", "listener", "listener changed", *["good"] * 8]):
        case "routes":
            twice = routes(*names)
            twice["virtual_hosts"].append({"name": "too", "domains": ["*"]})
            return replace(wanted, routes={"routes": twice}), True
        case "cluster" if names:
            name = random.choice(names)
            broken = random.choice([{"connect_timeout": "-1s"}, NO_CERTIFICATE])
            return replace(wanted, clusters={**wanted.clusters, name: {**wanted.clusters[name], **broken}}), True
        case "listener":
            changed = listener()
            changed["address"]["socket_address"]["address"] = "no address"
            return replace(wanted, listeners={"main": changed}), True
        case "listener changed":
            changed = listener()
            changed["filter_chains"][0]["filters"][0]["typed_config"]["stat_prefix"] = f"main{random.randrange(9)}"
            return replace(wanted, listeners={"main": changed}), False
    return wanted, False


async def _gone(envoy: Envoy, words: str) -> bool:
    return words not in await envoy.admin("/clusters")


async def _update_counts(envoy: Envoy) -> dict[str, int]:
    stats = await envoy.admin("/stats?filter=(cluster.[ab]|manager.*|rds.*)\\.update_attempt$")
    return {name: int(value) for name, value in (line.split(": ") for line in stats.splitlines() if line)}
