"""Cache salts: what keeps one tenant's prompt cache from another's."""

import hashlib
import hmac
from base64 import urlsafe_b64encode

from tomoul.api.modeldeployment import CacheMode
from tomoul.api.routingtable import ModelRoute

ANONYMOUS_TENANT = "anonymous"
"""The one tenant of a gateway that does not ask for keys."""


def cache_salt(route: ModelRoute, salt_key: bytes, tenant: str = ANONYMOUS_TENANT) -> str | None:
    """base64url(HMAC-SHA256(salt_key, tenant NUL model id)); without tenant if all share; None if there is no cache
    or the engine has no field for it.
    """
    if route.cache.salt_field is None or route.cache.mode is CacheMode.DISABLED:
        return None
    owner = tenant if route.cache.mode is CacheMode.TENANT else ""
    digest = hmac.new(salt_key, f"{owner}\0{route.id}".encode(), hashlib.sha256).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()
