"""Tenants' keys from Secrets in a real API server to a real Envoy."""

import asyncio
import base64
import time
from typing import Any

from tests.agent.envoy import eventually
from tests.agent.world import Cluster, Gateway, engine, start_again
from tomoul.gateway.agent.snapshot import load_snapshot

OLD, NEW = "sk-old-" + "k" * 32, "sk-new-" + "k" * 32
LIVE_SECONDS = 5.0
"""Bound on the time from a changed Secret to a gateway that acts on it, on a loaded machine."""


def put_table(cluster: Cluster, **secrets: str) -> int:
    """A table whose calls need keys, with tenants in this order and the Secrets that they name."""

    def change(spec: dict[str, Any]) -> None:
        spec["auth"] = "Required"
        spec["tenants"] = [
            {"namespace": cluster.namespace, "name": name, "secretName": secret} for name, secret in secrets.items()
        ]

    return cluster.put_table("acme/phi", change=change)


def put_secret(cluster: Cluster, name: str, **keys: str) -> None:
    data = {entry: base64.b64encode(key.encode()).decode() for entry, key in keys.items()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
    cluster.control_plane.api.apply(secret_path(cluster, name), secret)


def secret_path(cluster: Cluster, name: str) -> str:
    return f"/api/v1/namespaces/{cluster.namespace}/secrets/{name}"


async def answers(gateway: Gateway, status: int, key: str) -> float:
    """Seconds until a call with the key gets that status."""
    began = time.monotonic()

    async def check() -> bool:
        answer = await gateway.call(key=key)
        assert answer.status == status, answer
        return True

    await eventually(check)
    return time.monotonic() - began


async def test_a_key_is_rotated_under_load_without_a_call_that_fails_and_a_revoked_one_ends(
    cluster: Cluster, gateway: Gateway
) -> None:
    async with engine() as first:
        put_secret(cluster, "acme-keys", a=OLD)
        cluster.put_slice(first)
        generation = put_table(cluster, acme="acme-keys")
        async with gateway.agent(cluster.kubeconfig):
            await cluster.accepts(generation)
            await answers(gateway, 200, OLD)
            failures: list[object] = []
            using = {"key": OLD}

            async def keep_calling() -> None:
                while True:
                    answer = await gateway.call(key=using["key"])
                    if answer.status != 200:
                        failures.append(answer)

            callers = [asyncio.create_task(keep_calling()) for _ in range(4)]
            put_secret(cluster, "acme-keys", a=OLD, b=NEW)
            assert await answers(gateway, 200, NEW) < LIVE_SECONDS
            using["key"] = NEW
            await asyncio.gather(*(gateway.call(key=NEW) for _ in range(8)))  # calls with the old key have ended
            put_secret(cluster, "acme-keys", b=NEW)
            assert await answers(gateway, 401, OLD) < LIVE_SECONDS
            await answers(gateway, 200, NEW)
            for caller in callers:
                caller.cancel()
            await asyncio.wait(callers)
            assert failures == []
            cluster.control_plane.api.delete(secret_path(cluster, "acme-keys"))
            assert await answers(gateway, 401, NEW) < LIVE_SECONDS


async def test_a_tenant_that_takes_another_secret_is_never_without_a_key(cluster: Cluster, gateway: Gateway) -> None:
    async with engine() as first:
        put_secret(cluster, "first", a=OLD)
        put_secret(cluster, "second", a=OLD, b=NEW)
        cluster.put_slice(first)
        put_table(cluster, acme="first")
        async with gateway.agent(cluster.kubeconfig):
            await answers(gateway, 200, OLD)
            failures: list[object] = []

            async def keep_calling() -> None:
                while True:
                    answer = await gateway.call(key=OLD)
                    if answer.status != 200:
                        failures.append(answer)

            caller = asyncio.create_task(keep_calling())
            put_table(cluster, acme="second")
            await answers(gateway, 200, NEW)
            caller.cancel()
            await asyncio.wait([caller])
            assert failures == []


async def test_what_is_wrong_with_keys_is_reported_without_them_until_it_is_right(
    cluster: Cluster, gateway: Gateway
) -> None:
    put_secret(cluster, "older", a=OLD)
    put_secret(cluster, "younger", a=OLD)
    put_secret(cluster, "short", a="too-short")
    generation = put_table(cluster, older="older", younger="younger", short="short", gone="gone")

    def reported() -> dict[str, tuple[str, str]]:
        problems = cluster.entry().get("tenantProblems", ())
        return {each["name"]: (each["reason"], each["message"]) for each in problems}

    async with gateway.agent(cluster.kubeconfig):
        await cluster.accepts(generation)
        assert reported() == {
            "younger": (
                "DuplicateKey",
                "Secret `younger`: entry `a` is also a key of an older Tenant, whose it stays",
            ),
            "short": (
                "InvalidKey",
                "Secret `short`: entry `a` is no key: it is shorter than the 32 characters that a key needs",
            ),
            "gone": ("SecretNotFound", f"there is no Secret `gone` in namespace `{cluster.namespace}`"),
        }
        put_secret(cluster, "younger", a=NEW)
        put_secret(cluster, "short", a="long-enough-" + "k" * 32)
        put_secret(cluster, "gone", a="came-back-" + "k" * 32)
        await eventually(lambda: reported() == {})


async def test_keys_survive_an_api_server_that_is_away_and_a_restart_meanwhile(
    cluster: Cluster, gateway: Gateway
) -> None:
    async with engine() as first:
        put_secret(cluster, "acme-keys", a=OLD)
        cluster.put_slice(first)
        put_table(cluster, acme="acme-keys")
        async with gateway.agent(cluster.kubeconfig):
            await answers(gateway, 200, OLD)
            await eventually(lambda: bool((saved := load_snapshot(gateway.snapshots, gateway.region)) and saved.keys))
            cluster.control_plane.stop_apiserver()
            cluster.control_plane.api.close()
            try:
                assert (await gateway.call(key=OLD)).status == 200
            finally:
                await asyncio.to_thread(start_again, cluster.control_plane)
            put_secret(cluster, "acme-keys", a=OLD, b=NEW)
            await answers(gateway, 200, NEW)
        text = (gateway.snapshots / "snapshot.json").read_text()
        assert OLD not in text
        assert NEW not in text
        await gateway.envoy.stop()
        await gateway.envoy.start()
        async with gateway.agent(None):
            await answers(gateway, 200, OLD)
            assert (await gateway.call(key="sk-unknown-" + "k" * 32)).status == 401


async def test_a_gateway_that_starts_is_not_ready_before_it_knows_the_keys(cluster: Cluster, gateway: Gateway) -> None:
    """Else it would refuse calls of tenants that an older gateway takes."""
    async with engine() as first:
        put_secret(cluster, "acme-keys", a=OLD)
        cluster.put_slice(first)
        put_table(cluster, acme="acme-keys")
        async with gateway.agent(cluster.kubeconfig):

            async def first_answer() -> int:
                return (await gateway.call(key=OLD)).status  # an OSError while Envoy does not listen

            assert await eventually(first_answer) == 200
