"""The client against a real API server: what its verbs do, and what it makes of refusals."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from kubernetes.aio.config import ConfigException

from tests.controlplane.harness import REPOSITORY, ControlPlane
from tomoul.kube import http_client
from tomoul.kube.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable
from tomoul.kube.http_client import HttpKubeClient
from tomoul.kube.reflector import reflect
from tomoul.kube.resources import NODES, PODS, SECRETS, SERVICE_ACCOUNTS
from tomoul.kube.store import Store
from tomoul.plan.world import Key


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[HttpKubeClient]:
    async with await HttpKubeClient.connect(str(control_plane.kubeconfig)) as connected:
        yield connected


def account(name: str, namespace: str, **more: object) -> dict[str, object]:
    metadata = {"name": name, "namespace": namespace, "labels": {"test": "client"}}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, **more}


async def test_a_list_is_read_in_pages_and_its_items_know_their_kind(
    client: HttpKubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, "PAGE", 2)
    for number in range(5):
        await client.create(account(f"a{number}", namespace))
    listing = await client.list(SERVICE_ACCOUNTS, selector="test=client", namespace=namespace)
    assert sorted(item["metadata"]["name"] for item in listing.items) == ["a0", "a1", "a2", "a3", "a4"]
    assert {item["kind"] for item in listing.items} == {"ServiceAccount"}
    assert {item["apiVersion"] for item in listing.items} == {"v1"}


@pytest.mark.parametrize(
    "status",
    [
        {"bogus": 1},
        {"conditions": [{"type": "Ready", "bogus": 1}]},
        {"regions": [{"name": "eu-west", "bogus": 1}]},
        {"regions": [{"name": "eu-west", "pools": [{"name": "default", "bogus": 1}]}]},
    ],
)
async def test_a_status_with_a_field_that_its_schema_does_not_know_is_refused(
    client: HttpKubeClient, namespace: str, status: dict[str, object]
) -> None:
    documents = yaml.safe_load_all((REPOSITORY / "examples" / "tiny-chat.yaml").read_text())
    model = next(each for each in documents if each["kind"] == "ModelDeployment")
    model["metadata"]["namespace"] = namespace
    await client.create(model)
    written = {**model, "status": status}
    del written["spec"]
    with pytest.raises(Invalid, match="bogus"):
        await client.apply(written, manager="tests", subresource="status")


async def test_refusals_have_types(client: HttpKubeClient, namespace: str) -> None:
    made = await client.create(account("x", namespace))
    key = Key(namespace, "x")
    with pytest.raises(NotFound, match='pods "x" not found'):
        await client.get(PODS, key)
    with pytest.raises(Conflict, match="already exists"):
        await client.create(account("x", namespace))
    with pytest.raises(Conflict):
        await client.delete(SERVICE_ACCOUNTS, key, uid="another")
    with pytest.raises(Invalid, match="bogus"):
        await client.apply(account("x", namespace, bogus=1), manager="tests")
    test = {"op": "test", "path": "/metadata/name", "value": "y"}
    with pytest.raises(Invalid):
        await client.patch_json(SERVICE_ACCOUNTS, key, [test], manager="tests")
    stale = {**made, "metadata": {**made["metadata"], "resourceVersion": "1"}}
    with pytest.raises(Conflict):
        await client.replace(stale)
    await client.delete(SERVICE_ACCOUNTS, key, uid=made["metadata"]["uid"])
    with pytest.raises(NotFound):
        await client.get(SERVICE_ACCOUNTS, key)


async def test_what_an_account_may_not_do_is_forbidden(control_plane: ControlPlane, namespace: str) -> None:
    kubeconfig = control_plane.service_account_kubeconfig(namespace, "default")
    async with await HttpKubeClient.connect(str(kubeconfig)) as client:
        with pytest.raises(Forbidden, match="cannot list resource"):
            await client.list(SECRETS)


async def test_a_server_that_is_not_there_is_unavailable(client: HttpKubeClient) -> None:
    client.configuration.host = "https://127.0.0.1:1"
    with pytest.raises(Unavailable, match="GET /api/v1/nodes"):
        await client.list(NODES)


async def test_a_watch_tells_of_changes_from_a_version_on(client: HttpKubeClient, namespace: str) -> None:
    listing = await client.list(SERVICE_ACCOUNTS, selector="test=client")
    made = await client.apply(account("x", namespace), manager="tests")
    await client.apply(account("x", namespace, automountServiceAccountToken=False), manager="tests")
    await client.delete(SERVICE_ACCOUNTS, Key(namespace, "x"), uid=made["metadata"]["uid"])
    events = []
    async for event in client.watch(
        SERVICE_ACCOUNTS, resource_version=listing.resource_version, selector="test=client", timeout_seconds=10
    ):
        events.append((event.type, event.object["metadata"].get("name")))
        if event.type == "DELETED":
            break
    assert [event for event in events if event[1] == "x"] == [("ADDED", "x"), ("MODIFIED", "x"), ("DELETED", "x")]


async def test_a_reflector_follows_what_is_added_changed_and_deleted(client: HttpKubeClient, namespace: str) -> None:
    changed = asyncio.Event()
    store = Store(
        SERVICE_ACCOUNTS,
        lambda item: item.get("automountServiceAccountToken", True),
        selector="test=client",
        listener=lambda change: changed.set(),
    )
    key = Key(namespace, "x")

    async def until(expected: bool | None) -> None:
        async with asyncio.timeout(30):
            while store.get(key) != expected or not store.synced:
                await changed.wait()
                changed.clear()

    made = await client.apply(account("x", namespace), manager="tests")
    async with asyncio.TaskGroup() as group:
        reflecting = group.create_task(reflect(client, store))
        await until(True)
        await client.apply(account("x", namespace, automountServiceAccountToken=False), manager="tests")
        await until(False)
        await client.delete(SERVICE_ACCOUNTS, key, uid=made["metadata"]["uid"])
        await until(None)
        reflecting.cancel()


@pytest.mark.parametrize("content", [b"", b"a: [", b"a: 1\n---\nb: 2\n", b"- a\n", b"\xff\xfe", b"clusters: 1\n"])
async def test_a_file_that_is_no_kubeconfig_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "config"
    file.write_bytes(content)
    with pytest.raises(ConfigException):
        await HttpKubeClient.connect(str(file))
