"""Server: serves external metrics to the API server, with a certificate on both sides."""

import asyncio
import base64
import json
import logging
import socket
import ssl
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from tomoul.controller.context import Context
from tomoul.controller.scaling.certificate import CERTIFICATE, PRIVATE_KEY, certificate_secret, is_usable
from tomoul.controller.scaling.external_metrics import external_metrics
from tomoul.controller.scaling.sampler import Sampler
from tomoul.kube.client import KubeClient, Object
from tomoul.kube.errors import KubeError, NotFound
from tomoul.kube.probes import listen
from tomoul.kube.resources import API_SERVICES, CONFIG_MAPS, SECRETS
from tomoul.plan.scaling import EXTERNAL_METRICS_API
from tomoul.plan.world import Key

logger = logging.getLogger(__name__)

SECRET = "tomoul-external-metrics"  # noqa: S105 - its name
_AUTHENTICATION = Key("kube-system", "extension-apiserver-authentication")
"""ConfigMap in which the API server says by which certificates it is known."""
RELOAD_SECONDS = 60.0
RETRY_SECONDS = 2.0
CHECK_SECONDS = 1.0
"""How often it is looked, without a request, whether the APIService has come or changed."""


class ExternalMetricsServer:
    """What one replica serves behind the Service `service`."""

    def __init__(self, client: KubeClient, sampler: Sampler, service: Key, port: int) -> None:
        self._client = client
        self._sampler = sampler
        self._secret = Key(service.namespace, SECRET)
        self._port = port
        self._names: frozenset[str] = frozenset()
        self._loaded: tuple[object, object] | None = None

    async def run(self) -> None:
        """Serve for ever, from when there is a certificate. Raises OSError if the port is taken."""
        while (tls := await self._load()) is None:  # noqa: ASYNC110 - it asks the API server
            await asyncio.sleep(RETRY_SECONDS)
        with listen("", self._port) as listener:
            logger.info("external metrics on port %d", listener.getsockname()[1])
            while True:
                async with self._serving(listener, tls):
                    while True:
                        await asyncio.sleep(RELOAD_SECONDS)
                        if (newer := await self._load()) is not None:
                            break
                tls = newer

    @asynccontextmanager
    async def _serving(self, listener: socket.socket, tls: ssl.SSLContext) -> AsyncIterator[None]:
        """By these certificates. At the end connections end too: whom they trusted may not be trusted any more."""
        application = external_metrics(self._sampler, lambda: datetime.now(UTC), self._is_api_server)
        runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.SockSite(runner, listener.dup(), ssl_context=tls).start()
            yield
        finally:
            await runner.cleanup()

    async def _load(self) -> ssl.SSLContext | None:
        """The newest certificates, if they are others than before."""
        try:
            secret = await self._client.get(SECRETS, self._secret)
            known = await self._client.get(CONFIG_MAPS, _AUTHENTICATION)
            authority = known.get("data", {})["requestheader-client-ca-file"]
            self._names = frozenset(json.loads(known["data"].get("requestheader-allowed-names", "[]")))
            found = (secret["data"], authority)
            if found == self._loaded:
                return None
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=authority)
            tls.verify_mode = ssl.CERT_REQUIRED
            _load_certificate(tls, secret)
        except KeyError as error:
            logger.warning("no external metrics: the API server has no certificate of its own (%s)", error)
        except (KubeError, ValueError, ssl.SSLError) as error:
            logger.log(
                logging.INFO if isinstance(error, NotFound) else logging.WARNING,
                "no external metrics, or with the certificates of before: %s",
                error,
            )
        else:
            self._loaded = found
            return tls
        return None

    def _is_api_server(self, common_name: str) -> bool:
        # An empty list allows every name that the authority has signed.
        return not self._names or common_name in self._names


async def keep_certificate(context: Context, service: Key) -> None:
    """Keep a certificate in the Secret, and the API server told of it, for ever; for the leader."""
    key = Key(service.namespace, SECRET)
    host = f"{service.name}.{service.namespace}.svc"
    certificate, read = "", -RELOAD_SECONDS
    while True:
        wait = CHECK_SECONDS
        try:
            if not certificate or time.monotonic() - read >= RELOAD_SECONDS:
                certificate = (await _ensure_secret(context, key, host))["data"][CERTIFICATE]
                read = time.monotonic()
            await _tell(context, service, certificate)
        except KubeError as error:
            logger.warning("the certificate of the external metrics: %s", error)
            wait = RETRY_SECONDS
        await asyncio.sleep(wait)


async def _ensure_secret(context: Context, key: Key, host: str) -> Object:
    try:
        secret = await context.client.get(SECRETS, key)
    except NotFound:
        pass
    else:
        if is_usable(secret, host, context.now()):
            return secret
        await context.writer.delete(SECRETS, key, secret["metadata"]["uid"])
    labels = context.observed.settings.gateway_overlay.labels
    await context.writer.create(certificate_secret(key, host, context.now(), labels))
    return await context.client.get(SECRETS, key)


async def _tell(context: Context, service: Key, certificate: str) -> None:
    """An APIService that is not ours, such as KEDA's or an adapter's, is left alone."""
    found = context.observed.world().facts.apis.get(EXTERNAL_METRICS_API)
    if found is not None and found.service == service and found.ca_bundle != certificate:
        operation = {"op": "add", "path": "/spec/caBundle", "value": certificate}
        await context.writer.patch(API_SERVICES, Key("", EXTERNAL_METRICS_API), [operation])


def _load_certificate(context: ssl.SSLContext, secret: Object) -> None:
    with tempfile.TemporaryDirectory() as folder:  # Python reads them from files only
        certificate, private_key = Path(folder) / CERTIFICATE, Path(folder) / PRIVATE_KEY
        for path in (certificate, private_key):
            path.write_bytes(base64.b64decode(secret["data"][path.name]))
        context.load_cert_chain(certificate, private_key)
