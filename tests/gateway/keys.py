"""Tenants for tests: their keys, their entries in a table, and what a gateway knows of their Secrets."""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

from tests.gateway.harness import GATEWAYS, SALT_KEY
from tomoul.gateway.compile.keys import SecretKeys, SecretRef, read_keys

NAMESPACE = "tenants"


def key_of(name: str, version: int = 1) -> str:
    """A key of the tenant."""
    return f"sk-{name}-{version}-".ljust(40, "k")


def bearer(key: str) -> tuple[str, str]:
    """The header that carries a key."""
    return ("Authorization", f"Bearer {key}")


def tenants_of(specs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Fields of a table with these tenants, by name, each with the fields (camelCase) of its entry."""
    entries = [{"namespace": NAMESPACE, "name": name, "secretName": name, **spec} for name, spec in specs.items()]
    service = {"namespace": GATEWAYS.namespace, "name": GATEWAYS.service}
    return {"auth": "Required", "tenants": entries, "gatewayService": service}


def secrets_of(keys: Mapping[str, Sequence[str]]) -> dict[SecretRef, SecretKeys]:
    """What is known of the Secrets that hold these keys, by tenant."""
    return {
        SecretRef(NAMESPACE, name): read_keys(
            name, {f"key-{index}": base64.b64encode(key.encode()).decode() for index, key in enumerate(found)}
        )
        for name, found in keys.items()
    }


def derived(tenant: str, model_id: str) -> str:
    """The salt of a tenant's calls to a model."""
    key = hmac.new(SALT_KEY, tenant.encode(), hashlib.sha256).digest()
    digest = hmac.new(key, model_id.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
