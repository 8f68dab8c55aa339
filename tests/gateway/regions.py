"""Two regions whose gateways ask for keys."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.gateway.harness import Gateway
from tests.gateway.keys import bearer, key_of, secrets_of, tenants_of
from tests.gateway.tables import model, table
from tests.gateway.two_regions import ISOLATED, pools
from tests.gateway.wire import Answer, FakeEngine, call
from tomoul.api.routingtable import RoutingTable

BOTH = ["eu-west", "us-east"]
ENGINES = {"eu-west": ("both", "eu"), "us-east": ("us-both", "us-far")}
Spec = Mapping[str, Any]


class Regions:
    """eu-west and us-east, a fake engine per pool, and the tenants of a test."""

    def __init__(self) -> None:
        self.engines = {name: FakeEngine(name) for names in ENGINES.values() for name in names}
        for engine in self.engines.values():
            engine.start()
        self.eu, self.us = Gateway("eu-west"), Gateway("us-east")
        self._south = False

    def publish(
        self,
        tenants: Mapping[str, Spec],
        *,
        keys: Mapping[str, Sequence[str]] | None = None,
        without: Sequence[str] = (),
        us_port: int = 0,
        gateways: int = 1,
        south: bool = False,
    ) -> None:
        """Serve `tenants`, each with a key of its own unless `keys` says otherwise, `without` some engines.

        With `south` acme/both also falls back, before all others, to a third region that cannot be reached.
        """
        self._south = south
        fields = tenants_of(tenants)
        secrets = secrets_of(keys if keys is not None else {name: [key_of(name)] for name in tenants})
        for gateway, others in ((self.us, ()), (self.eu, [us_port or None])):
            region = gateway.options.region
            ready = {name: [] if name in without else [self.engines[name]] for name in ENGINES[region]}
            remote = [{"region": "us-east", "url": f"http://127.0.0.1:{port or self.us.port}"} for port in others]
            remote += [{"region": "ap-south", "url": "http://127.0.0.1:1"}] if south and others else []
            gateway.publish([self.table(region, remoteGateways=remote, **fields)], ready, secrets, gateways)

    def table(self, region: str, **fields: Any) -> RoutingTable:
        here = region == "eu-west"
        fallback = (["ap-south", "us-east"] if self._south else ["us-east"]) if here else []
        models = [
            model("acme/both", aliases=["both"], regions=BOTH, fallback=fallback, cache=ISOLATED,
                  pools=pools("both" if here else "us-both")),
            model("acme/far", regions=["us-east"], fallback=["us-east"] if here else [],
                  pools=[] if here else pools("us-far")),
            *([model("acme/eu", pools=pools("eu"))] if here else []),
        ]  # fmt: skip
        return table(models, region, **fields)

    def chat(
        self,
        tenant: str = "free",
        model: str = "acme/both",
        region: str | None = None,
        key: str | None = None,
        gateway: Gateway | None = None,
        headers: Sequence[tuple[str, str]] = (),
        **fields: Any,
    ) -> Answer:
        """A call with the tenant's key at eu-west, or at another gateway."""
        pin = [("X-Tomoul-Region", region)] if region else []
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **fields}
        port = (gateway or self.eu).port
        return call(port, body=body, headers=[bearer(key or key_of(tenant)), *pin, *headers])

    def get(self, path: str, tenant: str) -> Answer:
        return call(self.eu.port, path, method="GET", headers=[bearer(key_of(tenant))])

    def served(self) -> list[str]:
        """Engines that got calls since this was asked last."""
        found = [name for name, engine in self.engines.items() for _ in engine.received]
        for engine in self.engines.values():
            engine.received.clear()
        return found

    def reset(self) -> None:
        self.served()
        for engine in self.engines.values():
            engine.behave = None

    def stop(self) -> None:
        for gateway in (self.eu, self.us):
            gateway.stop()
        for engine in self.engines.values():
            engine.stop()


def refused(answer: Answer, status: int, code: str, region: str = "eu-west") -> Answer:
    assert (answer.status, answer.error["code"]) == (status, code), answer
    assert answer.header("x-tomoul-region") == region
    assert answer.header("x-request-id")
    return answer
