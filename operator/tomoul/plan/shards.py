"""Shards: which RoutingTable of a region a model is in, where one table for all would be too large.

A table is written whole for each change of a model in it, and whole again for what each gateway says of it.
"""

import hashlib
from collections.abc import Iterable
from functools import lru_cache

from tomoul.plan.naming import shard_name, table_name

SHARDS = 16
"""How many. With another number models would move between shards that exist."""


@lru_cache(maxsize=8192)
def shard_of(model_id: str) -> int:
    """The shard of a model and of its adapters, by the model's own id: neither who serves it nor where has a part."""
    return hashlib.sha256(model_id.encode()).digest()[0] % SHARDS


def shard_names(region: str) -> tuple[str, ...]:
    """Names of a region's tables that hold models while its models are in shards."""
    return tuple(shard_name(region, shard) for shard in range(SHARDS))


def in_shards(routes: int, most: int | None, tables: Iterable[str], region: str) -> bool:
    """Whether so many routes are to be in shards; `tables` are names of those of the region's that hold any now.

    Those that are in shards stay there until they are half of `most`, the most that one table shall have (None: it may
    have any number): each way costs the gateways every table.
    """
    if most is None:
        return False
    sharded = any(name != table_name(region) for name in tables)
    return routes > (most // 2 if sharded else most)
