"""Cache salts: what keeps one tenant's prompt cache from another's.

A call's salt is base64url(HMAC-SHA256(HMAC-SHA256(salt_key, tenant), model id)). The filter makes it of the tenant's
key, so that it never holds the key from which all are derived.
"""

import hashlib
import hmac
from base64 import b64encode

ANONYMOUS_TENANT = "anonymous"
"""The one tenant of a gateway that does not ask for keys."""
SHARED = ""
"""In a tenant's place where all share a cache; no tenant has this name."""


def tenant_salt_key(salt_key: bytes, tenant: str) -> str:
    """Key of a tenant's salts, in base64."""
    return b64encode(hmac.new(salt_key, tenant.encode(), hashlib.sha256).digest()).decode()
