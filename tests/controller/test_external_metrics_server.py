"""Whom the server of external metrics trusts, while the API server's certificates change."""

import asyncio
import base64
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import ClientError, ClientSession

from tests.controlplane.front_proxy import COMMON_NAME, front_proxy_flags
from tomoul.controller.scaling import server
from tomoul.controller.scaling.certificate import CERTIFICATE, certificate_secret
from tomoul.controller.scaling.sampler import Sampler
from tomoul.controller.scaling.server import ExternalMetricsServer
from tomoul.kube.probes import listen
from tomoul.kube.resources import SECRETS, Resource
from tomoul.plan.world import Key

HOST = "operator.tomoul-system.svc"


class Certificates:
    """An API server that has the server's Secret, and says by which authority it is known itself."""

    def __init__(self, authority: str) -> None:
        self.secret = certificate_secret(Key("tomoul-system", server.SECRET), HOST, datetime.now(UTC), {})
        self.authority = authority

    async def get(self, resource: Resource, key: Key) -> dict[str, Any]:
        if resource == SECRETS:
            return dict(self.secret)
        return {
            "data": {
                "requestheader-client-ca-file": self.authority,
                "requestheader-allowed-names": f'["{COMMON_NAME}"]',
            }
        }

    def caller(self, folder: Path) -> ssl.SSLContext:
        """The API server with the certificate in `folder`, which knows the server by what the Secret has."""
        known = base64.b64decode(self.secret["data"][CERTIFICATE]).decode()
        context = ssl.create_default_context(cadata=known)
        context.load_cert_chain(folder / "client.crt", folder / "client.key")
        return context


def authority_in(folder: Path) -> str:
    front_proxy_flags(folder)
    return (folder / "ca.crt").read_text()


async def test_an_authority_that_is_no_longer_the_api_servers_is_not_trusted_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "RELOAD_SECONDS", 0.05)
    before, after = tmp_path / "before", tmp_path / "after"
    certificates = Certificates(authority_in(before))
    with listen("", 0) as free:
        port = free.getsockname()[1]
    serving = asyncio.create_task(
        ExternalMetricsServer(
            cast(Any, certificates), cast(Sampler, None), Key("tomoul-system", "operator"), port
        ).run()
    )

    async def answered(folder: Path) -> bool:
        address = f"https://127.0.0.1:{port}/apis/external.metrics.k8s.io/v1beta1"
        async with ClientSession() as session:
            try:
                async with session.get(address, ssl=certificates.caller(folder), server_hostname=HOST) as answer:
                    return answer.status == 200
            except (ClientError, OSError):
                return False

    async def answers(folder: Path) -> None:
        async with asyncio.timeout(20):
            while not await answered(folder):  # noqa: ASYNC110 - it is the server's
                await asyncio.sleep(0.05)

    try:
        await answers(before)
        certificates.authority = authority_in(after)
        await answers(after)
        assert not await answered(before)
    finally:
        serving.cancel()
