"""Secrets with keys, read from a real API server by an account that may read what the operator's Role names."""

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.agent.envoy import eventually
from tests.controlplane.api import ApiError
from tests.controlplane.harness import ControlPlane
from tomoul.gateway.agent.secret_watches import GRACE_SECONDS, SecretWatches
from tomoul.gateway.compile.keys import KeyHash, SecretKeys, SecretRef
from tomoul.kube.http_client import HttpKubeClient

FIRST, SECOND = "first-" + "k" * 32, "second-" + "k" * 32
ROLE = "tomoul-gateway-keys"


class Keys:
    """The Secret of a test, and the Role that shows it to the ServiceAccount `gateway`."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self.control_plane, self.namespace = control_plane, namespace
        self.ref = SecretRef(namespace, "acme-keys")
        self.secret = f"/api/v1/namespaces/{namespace}/secrets/acme-keys"
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "gateway"}}
        control_plane.api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
        self.kubeconfig = control_plane.service_account_kubeconfig(namespace, "gateway")

    def allow(self) -> None:
        rule = {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": ["acme-keys"],
            "verbs": ["get", "list", "watch"],
        }
        version = "rbac.authorization.k8s.io/v1"
        meta = {"name": ROLE, "namespace": self.namespace}
        objects = [
            {"apiVersion": version, "kind": "Role", "metadata": meta, "rules": [rule]},
            {
                "apiVersion": version,
                "kind": "RoleBinding",
                "metadata": meta,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ROLE},
                "subjects": [{"kind": "ServiceAccount", "name": "gateway", "namespace": self.namespace}],
            },
        ]
        self.control_plane.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(objects))

    def put(self, **keys: str) -> None:
        encoded = {entry: base64.b64encode(key.encode()).decode() for entry, key in keys.items()}
        secret: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "acme-keys", "namespace": self.namespace},
            "data": encoded,
        }
        with contextlib.suppress(ApiError):
            self.control_plane.api.delete(self.secret)
        self.control_plane.api.create(self.secret.rpartition("/")[0], secret)

    def patch(self, **keys: str | None) -> None:
        """Set entries, or remove those that are None."""
        encoded = {entry: key and base64.b64encode(key.encode()).decode() for entry, key in keys.items()}
        self.control_plane.api.patch(self.secret, {"data": encoded})


@pytest.fixture
def keys(control_plane: ControlPlane, namespace: str) -> Keys:
    return Keys(control_plane, namespace)


@contextlib.asynccontextmanager
async def watching(kubeconfig: Path, *refs: SecretRef) -> AsyncIterator[SecretWatches]:
    async with await HttpKubeClient.connect(str(kubeconfig)) as client:
        watches = SecretWatches(client, lambda: None)
        watches.follow(refs)
        task = asyncio.create_task(watches.run())
        try:
            yield watches
        finally:
            task.cancel()
            await asyncio.wait([task])


async def knows(watches: SecretWatches, ref: SecretRef, *keys: str, reason: str = "") -> None:
    def check() -> bool:
        known = watches.known.get(ref)
        assert known is not None
        assert {key.sha256 for key in known.hashes} == {hashlib.sha256(key.encode()).hexdigest() for key in keys}
        assert (known.problem.reason if known.problem else "") == reason
        return True

    await eventually(check)


def _start(control_plane: ControlPlane) -> None:
    control_plane.start_apiserver()
    control_plane.api.close()  # this thread's connection


async def test_a_key_is_known_while_the_secret_holds_it_through_a_rotation(keys: Keys) -> None:
    keys.allow()
    keys.put(a=FIRST)
    async with watching(keys.kubeconfig, keys.ref) as watches:
        await knows(watches, keys.ref, FIRST)
        keys.patch(b=SECOND)
        await knows(watches, keys.ref, FIRST, SECOND)
        keys.patch(a=None)
        await knows(watches, keys.ref, SECOND)


async def test_a_deleted_secret_has_no_keys_until_it_is_there_again(keys: Keys) -> None:
    keys.allow()
    async with watching(keys.kubeconfig, keys.ref) as watches:
        await knows(watches, keys.ref, reason="SecretNotFound")
        keys.put(a=FIRST)
        await knows(watches, keys.ref, FIRST)
        keys.control_plane.api.delete(keys.secret)
        await knows(watches, keys.ref, reason="SecretNotFound")


async def test_a_secret_that_may_not_be_read_keeps_the_keys_that_are_known_and_is_read_once_it_may_be(
    keys: Keys,
) -> None:
    keys.put(a=FIRST)
    other = SecretRef(keys.namespace, "another")
    restored = SecretKeys((KeyHash("a", hashlib.sha256(SECOND.encode()).hexdigest()),))
    async with watching(keys.kubeconfig, keys.ref, other) as watches:
        watches.restore({keys.ref: restored})
        await knows(watches, keys.ref, SECOND, reason="SecretUnreadable")
        await knows(watches, other, reason="SecretUnreadable")
        keys.allow()
        await knows(watches, keys.ref, FIRST)
        await knows(watches, other, reason="SecretUnreadable")  # the Role names one Secret


async def test_an_api_server_that_is_away_revokes_nothing(keys: Keys) -> None:
    keys.allow()
    keys.put(a=FIRST)
    async with watching(keys.kubeconfig, keys.ref) as watches:
        await knows(watches, keys.ref, FIRST)
        keys.control_plane.stop_apiserver()
        keys.control_plane.api.close()
        try:
            await knows(watches, keys.ref, FIRST)
        finally:
            await asyncio.to_thread(_start, keys.control_plane)
        keys.patch(a=SECOND)
        await knows(watches, keys.ref, SECOND)


async def test_more_secrets_are_watched_at_once_than_a_client_has_connections_by_default(
    control_plane: ControlPlane, namespace: str
) -> None:
    refs = [SecretRef(namespace, f"keys-{index}") for index in range(150)]
    async with watching(control_plane.kubeconfig, *refs) as watches:
        await eventually(lambda: watches.complete)
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys-149"}, "stringData": {"a": FIRST}}
        control_plane.api.create(f"/api/v1/namespaces/{namespace}/secrets", secret)
        await knows(watches, refs[149], FIRST)
        watches.follow(refs[:1])
        await eventually(lambda: list(watches.known) == refs[:1])


@pytest.mark.looptime
async def test_changes_wait_for_a_secret_that_is_new_but_not_for_ever() -> None:
    changes: list[float] = []
    loop = asyncio.get_running_loop()
    watches = SecretWatches(None, lambda: changes.append(loop.time()), monotonic=loop.time)  # type: ignore[arg-type]
    assert watches.settled()
    watches.follow([SecretRef("tenants", "acme-keys")])
    assert not watches.settled()
    await asyncio.sleep(GRACE_SECONDS)
    assert (changes, watches.settled()) == ([GRACE_SECONDS], True)
