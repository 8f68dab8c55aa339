"""Names of the objects that a plan makes: DNS labels, at most 63 characters, unique in their namespace."""

import hashlib
from base64 import b32encode
from functools import lru_cache

MAX_NAME = 63
"""Longest DNS label, which a Service's name must be."""
_HASH_BYTES = 5
_HASH_LENGTH = 8
"""Characters of base 32 that hold the bytes."""


def gateway_name(region: str) -> str:
    """Name of the gateway Deployment, Service, … of `region`."""
    return _readable("tomoul-gateway", region)


def table_name(region: str) -> str:
    """Name of the RoutingTable of `region` that tells of the region itself: its code."""
    return region


def shard_name(region: str, shard: int) -> str:
    """Name of a RoutingTable of `region` that holds a part of its models. No Region's name has a dot."""
    return f"{region}.{shard:02}"


def region_of_table(table: str) -> str:
    """The region of a RoutingTable, by its name."""
    return table.partition(".")[0]


def shard_of_table(table: str) -> int | None:
    """Which shard a RoutingTable is, by its name; None if it is none."""
    number = table.partition(".")[2]
    return int(number) if number.isdecimal() else None


MAX_GROUP_SET_NAME = 47
"""Longest name of a LeaderWorkerSet: behind it come a group of up to 1000 and, in a label, a StatefulSet's hash."""


def pool_name(model_deployment: str, region: str, pool: str) -> str:
    """Name of a pool's Deployment, Service and PodDisruptionBudget."""
    return _hashed(model_deployment, region, pool)


def group_set_name(model_deployment: str, region: str, pool: str) -> str:
    """Name of a pool's LeaderWorkerSet. Not the pool's: LeaderWorkerSet makes a Service of that name for its pods."""
    digest = _hash("\0".join((model_deployment, region, pool, "group")))
    return _cut(f"{model_deployment}-{region}", digest, MAX_GROUP_SET_NAME)


def workload_name(model_deployment: str, region: str) -> str:
    """Name of what all pools of a ModelDeployment in a region share: ServiceAccount and NetworkPolicy."""
    return _hashed(model_deployment, region, "")


def workers_name(model_deployment: str, region: str) -> str:
    """Name of the NetworkPolicy of a ModelDeployment's workers in a region."""
    return _hashed(model_deployment, region, "workers")


def _readable(prefix: str, name: str) -> str:
    full = f"{prefix}-{name}"
    return full if len(full) <= MAX_NAME else _cut(full, _hash(full))


# A plan asks for each of a model's names dozens of times.
@lru_cache(maxsize=1024)
def _hashed(model_deployment: str, region: str, pool: str) -> str:
    # The hash covers the parts apart from each other: `a-b` in `c` and `a` in `b-c` must not meet.
    digest = _hash("\0".join((model_deployment, region, pool)))
    return _cut(f"{model_deployment}-{region}", digest)


def _cut(text: str, digest: str, longest: int = MAX_NAME) -> str:
    return f"{text[: longest - _HASH_LENGTH - 1].rstrip('-')}-{digest}"


def _hash(text: str) -> str:
    return b32encode(hashlib.sha256(text.encode()).digest()[:_HASH_BYTES]).decode().lower()
