"""Two regions with gateways of their own that know each other, and the models that the contract's rows need."""

from collections.abc import Mapping
from typing import Any

from tests.gateway.harness import Gateway
from tests.gateway.tables import NAMESPACE, model, table
from tests.gateway.wire import FakeEngine
from tomoul.api.routingtable import RoutingTable

ISOLATED = {"mode": "Tenant", "noStore": "Isolated", "saltField": "cache_salt"}
REMOVED = ["cache_salt", "kv_transfer_params", "vllm_xargs"]
ALL = {"tools": True, "structuredOutput": True, "jsonMode": True, "seed": "deterministic"}


def pools(*names: str) -> list[dict[str, Any]]:
    """Pools `<service>` (default) and `<service>-no-store`."""
    return [
        {
            "name": "no-store" if name.endswith("no-store") else "default",
            "namespace": NAMESPACE,
            "service": name,
            "port": 1,
        }
        for name in names
    ]


def fingerprinted(*names: str) -> list[dict[str, Any]]:
    """The same with a fingerprint `fp_<service>`."""
    return [{**pool, "fingerprint": f"fp_{pool['service']}"} for pool in pools(*names)]


def eu_table(us_port: int, **fields: Any) -> RoutingTable:
    """What eu-west's gateways serve."""
    both = ["eu-west", "us-east"]
    models = [
        model("acme/both", aliases=["both"], regions=both, fallback=["us-east"], cache=ISOLATED, removeFields=REMOVED,
              pools=pools("both"), ownedBy="acme", created=1700000000),
        model("acme/full", capabilities=ALL, cache={**ISOLATED, "noStore": "NotStored"}, removeFields=REMOVED,
              pools=fingerprinted("full", "full-no-store")),
        model("acme/few-seeds", capabilities=ALL, seeds=2**32 - 1, countsOneChoice=True,
              pools=fingerprinted("few-seeds")),
        model("acme/one-seed", capabilities=ALL, randomSeed=True, regions=both, fallback=["us-east"],
              pools=fingerprinted("one-seed")),
        model("acme/no-seeds", capabilities={"seed": "ignored"}, pools=fingerprinted("no-seeds")),
        model("acme/stored", regions=both, fallback=["us-east"], cache={"mode": "Shared", "noStore": "NotStored"},
              pools=pools("stored", "stored-no-store")),
        model("acme/strict", requireRegion=True, pools=pools("strict")),
        model("acme/pinned", regions=both, pools=pools("pinned")),
        model("acme/empty", pools=pools("empty")),
        model(
            "acme/off", cache={"mode": "Disabled", "noStore": "Refuse", "saltField": "cache_salt"}, pools=pools("off")
        ),
        model("acme/shared", cache={**ISOLATED, "mode": "Shared", "formerSaltFields": ["old_salt", "older_salt"]},
              pools=pools("shared")),
        model("acme/us-only", regions=["us-east"], pools=[]),
        model("acme/far", regions=["us-east"], fallback=["us-east"], cache=ISOLATED, pools=[]),
        model("acme/quick", pools=pools("quick"), timeouts={"requestSeconds": 1, "idleSeconds": 300}),
        model("acme/idle", pools=pools("idle"), timeouts={"requestSeconds": 600, "idleSeconds": 1}),
    ]  # fmt: skip
    gateways = [{"region": "us-east", "url": f"http://127.0.0.1:{us_port}"}]
    return table(models, "eu-west", remoteGateways=gateways, **fields)


def us_table(**fields: Any) -> RoutingTable:
    """What us-east's gateways serve."""
    both = ["eu-west", "us-east"]
    models = [
        model("acme/both", aliases=["both"], regions=both, cache=ISOLATED, removeFields=REMOVED,
              pools=pools("us-both")),
        model("acme/one-seed", regions=both, capabilities={"seed": "ignored"}, pools=pools("us-one-seed")),
        model("acme/stored", regions=both, cache={"mode": "Shared", "noStore": "NotStored"},
              pools=pools("us-stored", "us-stored-no-store")),
        model("acme/pinned", regions=both, pools=pools("us-pinned")),
        model("acme/us-only", regions=["us-east"], pools=pools("us-only")),
        model("acme/far", regions=["us-east"], cache=ISOLATED, pools=pools("us-far")),
    ]  # fmt: skip
    return table(models, "us-east", **fields)


EU_ENGINES = (
    "both",
    "full",
    "full-no-store",
    "few-seeds",
    "one-seed",
    "no-seeds",
    "stored",
    "stored-no-store",
    "strict",
    "pinned",
    "off",
    "shared",
    "quick",
    "idle",
)
US_ENGINES = ("us-both", "us-one-seed", "us-stored", "us-stored-no-store", "us-pinned", "us-only", "us-far")


class Platform:
    """The two gateways and a fake engine per pool, by Service."""

    def __init__(self) -> None:
        self.engines = {name: FakeEngine(name) for name in (*EU_ENGINES, *US_ENGINES)}
        for engine in self.engines.values():
            engine.start()
        self.us = Gateway("us-east")
        self.eu = Gateway("eu-west")
        self.us.publish([us_table()], self.ready(US_ENGINES))
        self.publish_eu()
        self._changed = False

    def restore(self) -> None:
        """What a test may have changed is as it was."""
        for engine in self.engines.values():
            engine.received.clear()
            engine.disconnects.clear()
            engine.behave = None
        if self._changed:
            self.publish_eu()
            self._changed = False

    def publish_eu(self, without: tuple[str, ...] = (), us_port: int = 0, **fields: Any) -> None:
        """Publish eu-west's table with changed `fields`, and without the engines of some Services."""
        ready = self.ready(name for name in EU_ENGINES if name not in without)
        self._changed = True
        self.eu.publish([eu_table(us_port or self.us.port, **fields)], ready)

    def ready(self, services: Any) -> Mapping[str, list[FakeEngine]]:
        return {service: [self.engines[service]] for service in services}

    def served_by(self) -> list[str]:
        """Engines that got calls."""
        return [name for name, engine in self.engines.items() if engine.received]

    def stop(self) -> None:
        self.eu.stop()
        self.us.stop()
        for engine in self.engines.values():
            engine.stop()
