"""Salt: the Secret from which gateways derive the salts that keep prompt caches apart."""

import base64
import secrets

from tomoul.controller.context import Context
from tomoul.kube.errors import NotFound
from tomoul.kube.resources import SECRETS
from tomoul.plan.gateway import SALT_KEY, SALT_SECRET
from tomoul.plan.world import Key

SALT_BYTES = 32


async def ensure_salt(context: Context) -> None:
    """Create the Secret with 32 random bytes if there is none. An existing one is never changed: caches hang on it."""
    key = Key(context.observed.settings.namespace, SALT_SECRET)
    try:
        await context.client.get(SECRETS, key)
    except NotFound:
        await context.writer.create(
            {
                "apiVersion": SECRETS.api_version,
                "kind": SECRETS.kind,
                "type": "Opaque",
                "metadata": {
                    "name": key.name,
                    "namespace": key.namespace,
                    "labels": dict(context.observed.settings.gateway_overlay.labels),
                },
                "data": {SALT_KEY: base64.b64encode(secrets.token_bytes(SALT_BYTES)).decode()},
            }
        )
