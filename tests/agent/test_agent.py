"""The agent with a real API server, a real Envoy and an engine that only answers."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

import pytest

from tests.agent.envoy import eventually, running_envoy, short_folder
from tests.agent.http_calls import get
from tests.agent.tables import routing_table, table_manifest
from tests.agent.world import COMPLETION, TABLES, Cluster, Gateway, engine, start_again
from tomoul.api.routingtable import RoutingTable
from tomoul.gateway.agent import run, state
from tomoul.gateway.agent.publisher import DEBOUNCE_SECONDS
from tomoul.gateway.agent.snapshot import FILE_NAME, load_snapshot, save_snapshot
from tomoul.gateway.agent.state import GatewayState, KnownTable, TableVersion
from tomoul.gateway.compile.compiler import compile_gateway
from tomoul.gateway.compile.resources import Endpoint
from tomoul.kube.client import Listing, Manifest, Object
from tomoul.kube.errors import Invalid
from tomoul.kube.http_client import HttpKubeClient
from tomoul.kube.resources import ENDPOINT_SLICES, Resource
from tomoul.plan.world import Key


class LateSlices(HttpKubeClient):
    """Lists EndpointSlices long after the tables have been heard of."""

    async def pages(
        self, resource: Resource, *, selector: str = "", namespace: str = "", only: Key | None = None
    ) -> AsyncIterator[Listing]:
        if resource == ENDPOINT_SLICES:
            await asyncio.sleep(DEBOUNCE_SECONDS * 20)
        async for page in super().pages(resource, selector=selector, namespace=namespace, only=only):
            yield page


class RefusesOneStatus(HttpKubeClient):
    """Of an API server that takes no status of a region's first table."""

    async def apply(
        self, manifest: Manifest, *, manager: str, force: bool = True, subresource: Literal["", "status"] = ""
    ) -> Object:
        if "." not in manifest["metadata"]["name"]:
            raise Invalid("status.gateways: refused")
        return await super().apply(manifest, manager=manager, force=force, subresource=subresource)


async def test_a_table_and_its_endpoints_are_served_and_acknowledged_and_changes_are_live(
    cluster: Cluster, gateway: Gateway
) -> None:
    async with engine() as first, engine(COMPLETION.replace("[]", "[ ]")) as second:
        generation = cluster.put_table("acme/phi")
        cluster.put_slice(first)
        async with gateway.agent(cluster.kubeconfig) as agent:
            entry = await cluster.accepts(generation)
            assert entry["rejectedGeneration"] == 0
            assert entry["lastUpdateTime"]
            assert '"choices": []' in (await gateway.status_becomes(200)).text

            cluster.put_slice(second)

            async def second_answers() -> bool:
                return '"choices": [ ]' in (await gateway.call()).text

            await eventually(second_answers)
            assert cluster.entry() == entry  # another endpoint is no news for the table

            assert (await gateway.call("acme/new")).status == 404
            generation = cluster.put_table("acme/phi", "acme/new")
            entry = await cluster.accepts(generation)
            assert entry["poolsWithoutEndpoints"] == [f"{cluster.namespace}/new"]
            assert (await gateway.call("acme/new")).status == 503  # known, and without endpoints

            cluster.put_slice()
            await cluster.lacks("new", "phi")
            assert (await gateway.call()).status == 503
            cluster.put_slice(first)
            await cluster.lacks("new")
            assert (await gateway.call()).status == 200

            metrics = (await get(agent.health_port, "/metrics")).text
            assert f'tomoul_agent_accepted_generation{{table="{cluster.region}"}} {generation}.0' in metrics
            assert "tomoul_agent_connected_envoys 1.0" in metrics
            assert "tomoul_agent_rejections_total 0.0" in metrics
            assert "tomoul_agent_unanswered_total 0.0" in metrics
            assert (await get(agent.health_port, "/healthz")).status == 200
            assert (await get(agent.health_port, "/readyz")).status == 200
            assert (await get(agent.health_port, "/")).status == 404


async def test_a_table_that_envoy_refuses_is_reported_in_its_words_while_all_but_what_is_bad_in_it_is_served(
    cluster: Cluster, gateway: Gateway
) -> None:
    def no_certificate(spec: dict[str, Any]) -> None:
        spec["knownRegions"].append("us-east")
        spec["remoteGateways"] = [{"region": "us-east", "url": "https://us.example", "caBundle": "no PEM"}]

    async with engine() as first:
        good = cluster.put_table("acme/phi")
        cluster.put_slice(first)
        async with gateway.agent(cluster.kubeconfig):
            await cluster.accepts(good)
            bad = cluster.put_table("acme/phi", "acme/new", change=no_certificate)

            def refused() -> dict[str, Any] | None:
                entry = cluster.entry()
                told = entry["message"].startswith(
                    "remote_gateways `us-east` cannot be served as changed, all else is: "
                )
                return entry if entry["rejectedGeneration"] == bad and told else None

            entry = await eventually(refused)
            assert entry["acceptedGeneration"] == good
            assert "region/us-east" in entry["message"]
            assert "trusted CA certificates" in entry["message"]

            await gateway.status_becomes(200)
            await gateway.status_becomes(503, "acme/new")  # it is known, and has no pod
            cluster.put_slice()
            await gateway.status_becomes(503)
            cluster.put_slice(first)
            await gateway.status_becomes(200)
            told = await cluster.lacks("new")
            assert [told[name] for name in ("acceptedGeneration", "message")] == [good, entry["message"]]

            entry = await cluster.accepts(cluster.put_table("acme/phi", "acme/new"))
            assert (entry["rejectedGeneration"], entry["message"]) == (0, "")


async def test_an_agent_and_an_envoy_that_start_without_an_api_server_serve_the_last_accepted_state(
    cluster: Cluster, gateway: Gateway
) -> None:
    async with engine() as first:
        generation = cluster.put_table("acme/phi")
        cluster.put_slice(first)
        async with gateway.agent(cluster.kubeconfig):
            await cluster.accepts(generation)
            await gateway.status_becomes(200)
            await eventually(lambda: _saved_endpoints(gateway) == [first])
        await gateway.envoy.stop()
        await gateway.envoy.start()
        async with gateway.agent(None) as agent:
            await gateway.status_becomes(200)
            assert (await get(agent.health_port, "/readyz")).status == 200


async def test_an_agent_rides_out_an_api_server_that_is_away_and_then_catches_up(
    cluster: Cluster, gateway: Gateway
) -> None:
    async with engine() as first:
        cluster.put_table("acme/phi")
        cluster.put_slice(first)
        async with gateway.agent(cluster.kubeconfig):
            await gateway.status_becomes(200)
            cluster.control_plane.stop_apiserver()
            cluster.control_plane.api.close()
            try:
                assert (await gateway.call()).status == 200
            finally:
                await asyncio.to_thread(start_again, cluster.control_plane)
            assert (await gateway.call()).status == 200
            await cluster.accepts(cluster.put_table("acme/phi", "acme/new"))
            assert (await gateway.call("acme/new")).status == 503


async def test_a_deleted_table_is_served_on(cluster: Cluster, gateway: Gateway) -> None:
    async with engine() as first:
        cluster.put_table("acme/phi")
        cluster.put_slice(first)
        async with gateway.agent(cluster.kubeconfig):
            await gateway.status_becomes(200)
            cluster.control_plane.api.delete(f"{TABLES}/{cluster.region}")
            cluster.put_slice()
            # The agent has seen the deletion's later neighbour, so the deletion as well.
            await gateway.status_becomes(503)
            cluster.put_slice(first)
            await gateway.status_becomes(200)
            # One of the same name is another table: its generations start anew.
            assert await cluster.accepts(cluster.put_table("acme/phi", "acme/new"))


async def test_two_gateways_write_their_own_entries_and_restore_them_when_removed(
    cluster: Cluster, gateway: Gateway
) -> None:
    generation = cluster.put_table("acme/phi")
    with short_folder() as folder:
        other = Gateway(folder, cluster.region, "gateway-1")
        async with (
            running_envoy(other.envoy),
            gateway.agent(cluster.kubeconfig),
            other.agent(cluster.kubeconfig),
        ):
            await cluster.accepts(generation, "gateway-0")
            await cluster.accepts(generation, "gateway-1")
            table = cluster.control_plane.api.get(f"{TABLES}/{cluster.region}")
            managers = {entry["manager"] for entry in table["metadata"]["managedFields"]}
            assert {"tomoul-agent-gateway-0", "tomoul-agent-gateway-1"} <= managers

            cluster.control_plane.api.request(
                "PATCH",
                f"{TABLES}/{cluster.region}/status",
                {"status": {"gateways": []}},
                "application/merge-patch+json",
            )
            await cluster.accepts(generation, "gateway-0")
            await cluster.accepts(generation, "gateway-1")


async def test_an_unchanged_world_is_written_once(cluster: Cluster, gateway: Gateway) -> None:
    generation = cluster.put_table("acme/phi")
    cluster.put_slice(Endpoint("10.9.9.8", 8000))
    async with gateway.agent(cluster.kubeconfig):
        await cluster.accepts(generation)
        await eventually(lambda: _saved_endpoints(gateway) == [Endpoint("10.9.9.8", 8000)])
    before = cluster.control_plane.api.get(f"{TABLES}/{cluster.region}")["metadata"]["resourceVersion"]
    async with gateway.agent(cluster.kubeconfig) as agent:

        async def has_listed_and_published() -> bool:
            metrics = (await get(agent.health_port, "/metrics")).text
            return "tomoul_agent_accepted_version 2.0" in metrics or "tomoul_agent_accepted_version 1.0" in metrics

        await eventually(has_listed_and_published)
        cluster.put_slice(Endpoint("10.9.9.9", 8000))
        await eventually(lambda: _saved_endpoints(gateway) == [Endpoint("10.9.9.9", 8000)])
    after = cluster.control_plane.api.get(f"{TABLES}/{cluster.region}")["metadata"]["resourceVersion"]
    assert after == before


async def test_a_table_is_served_although_the_list_that_comes_last_is_empty(cluster: Cluster, gateway: Gateway) -> None:
    generation = cluster.put_table("acme/phi")
    async with gateway.agent(cluster.kubeconfig, LateSlices):
        await cluster.accepts(generation)
        assert (await gateway.call()).status == 503  # known, and without endpoints


async def test_a_gateway_that_has_never_served_waits_for_a_table_that_its_agent_cannot_read(
    cluster: Cluster, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put_shard(*models: str) -> int:
        manifest = table_manifest(shard, models, region=cluster.region, namespace=cluster.namespace)
        return int(cluster.control_plane.api.apply(f"{TABLES}/{shard}", manifest)["metadata"]["generation"])

    def read(item: Object, version: TableVersion) -> KnownTable:
        unreadable = item["metadata"]["name"] == shard and version.generation == 1
        return KnownTable(version, None, "of a newer operator") if unreadable else as_it_is(item, version)

    def compiled(tables: Sequence[RoutingTable], *others: Any) -> Any:
        served.append({table.metadata.name for table in tables})
        return compile_gateway(tables, *others)

    shard, as_it_is, served = f"{cluster.region}.00", state._read, list[set[str]]()
    monkeypatch.setattr(state, "_read", read)
    monkeypatch.setattr(run, "compile_gateway", compiled)
    put_shard("acme/new")
    generation = cluster.put_table("acme/phi")
    async with gateway.agent(cluster.kubeconfig) as agent:
        await eventually(lambda: cluster.control_plane.api.get(f"{TABLES}/{shard}").get("status"))
        cluster.put_slice(Endpoint("10.9.9.9", 8000))  # has it look at all of them again
        await eventually(lambda: agent._slices.items() or None)
        assert (await get(agent.health_port, "/readyz")).status == 503
        put_shard("acme/new", "acme/newer")
        await cluster.accepts(generation)
    assert served
    assert all(names == {cluster.region, shard} for names in served)


async def test_a_table_whose_status_is_refused_keeps_no_other_from_being_acknowledged(
    cluster: Cluster, gateway: Gateway
) -> None:
    shard = f"{cluster.region}.00"
    manifest = table_manifest(shard, ["acme/new"], region=cluster.region, namespace=cluster.namespace)
    cluster.put_table("acme/phi")
    cluster.control_plane.api.apply(f"{TABLES}/{shard}", manifest)
    async with gateway.agent(cluster.kubeconfig, RefusesOneStatus):
        await eventually(lambda: cluster.control_plane.api.get(f"{TABLES}/{shard}").get("status"))
        assert not cluster.entry()


async def test_a_snapshot_that_cannot_be_written_is_written_as_soon_as_it_can_be(
    cluster: Cluster, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(run, "SNAPSHOT_INTERVAL_SECONDS", 0.05)
    gateway.snapshots.touch()  # a file where the folder should be
    cluster.put_table("acme/phi")
    async with gateway.agent(cluster.kubeconfig):
        await eventually(lambda: "the snapshot is not saved" in caplog.text)
        gateway.snapshots.unlink()
        await eventually(lambda: (gateway.snapshots / FILE_NAME).exists())


async def test_an_agent_that_has_nothing_to_serve_is_alive_and_not_ready() -> None:
    with short_folder() as folder:
        async with Gateway(folder, "eu-west").agent(None) as agent:
            assert (await eventually(lambda: get(agent.health_port, "/healthz"))).status == 200
            answer = await get(agent.health_port, "/readyz")
            assert (answer.status, answer.text) == (503, "Envoy is not connected\n")


async def test_the_command_serves_a_snapshot_and_leaves_envoy_in_service_when_it_is_told_to_stop() -> None:
    with short_folder() as folder:
        gateway = Gateway(folder, "eu-west")
        save_snapshot(gateway.snapshots, "eu-west", GatewayState({"eu-west": routing_table()}))
        (folder / "salt").write_bytes(b"x" * 32)
        (folder / "kubeconfig").write_text(_kubeconfig("http://127.0.0.1:1"))
        async with running_envoy(gateway.envoy):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tomoul", "agent", "--region", "eu-west", "--socket", str(folder / "ads.sock"),
                "--snapshot-dir", str(gateway.snapshots), "--salt-key-file", str(folder / "salt"),
                "--admin-socket", str(folder / "admin.sock"), "--listen-port", "0", "--health-port", "0",
                "--drain-port", "0", "--kubeconfig", str(folder / "kubeconfig"),
                env={**os.environ, "POD_NAME": "gateway-0"}, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            try:
                port = await gateway.envoy.port("gateway")
                assert (await get(port, "/-/ready")).status == 200
                process.send_signal(signal.SIGTERM)
                _, log = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            assert process.returncode == 0, log.decode()
            lines = [json.loads(line) for line in log.decode().splitlines()]
            assert any("published version 1" in line["message"] for line in lines)
            assert (await get(port, "/-/ready")).status == 200


def _saved_endpoints(gateway: Gateway) -> list[Endpoint]:
    state = load_snapshot(gateway.snapshots, gateway.region)
    return [endpoint for endpoints in state.endpoints.values() for endpoint in endpoints] if state else []


def _kubeconfig(server: str) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
    )
