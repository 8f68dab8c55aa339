"""Whatever happens to calls at the same time, each is one call: nothing of another's in it, counted once, over when
it is over. The seed is in the test's output; `STORM_SEED` and `STORM_CALLS` set others.
"""

import asyncio
import json
import os
import random
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway.harness import Gateway, Loop, eventually
from tests.gateway.keys import derived, key_of, secrets_of, tenants_of
from tests.gateway.storm import IDLE_SECONDS, Engine, Plan, Told, storm
from tests.gateway.tables import model, table
from tests.gateway.two_regions import pools
from tomoul.api.routingtable import RoutingTable

NOT_STORED = {"mode": "Tenant", "noStore": "NotStored", "saltField": "cache_salt"}
BOTH = ["eu-west", "us-east"]
SERVICES = {"eu-west": ("both", "both-no-store"), "us-east": ("us-both", "us-both-no-store")}
RUNNING = 60
SPECS: dict[str, Any] = {
    "gold": {},
    "silver": {"limits": {"concurrentRequests": RUNNING, "tokensPerMinute": 1_000_000_000}},
    "guest": {"limits": {"requestsPerMinute": 1_000_000, "concurrentRequests": RUNNING}},
}


class World:
    """Two regions with two engines a pool."""

    def __init__(self) -> None:
        self.loop = Loop()
        tries: dict[int, int] = {}
        self.engines = {
            service: [Engine(service, tries), Engine(service, tries)] for each in SERVICES.values() for service in each
        }
        for engine in self.all():
            self.loop.run(engine.start())
        self.us, self.eu = (Gateway(region, comment_seconds=1, workers=2) for region in ("us-east", "eu-west"))
        self.us.publish([self.table("us-east")], self.engines, self.keys())
        self.publish()

    def all(self) -> list[Engine]:
        return [engine for both in self.engines.values() for engine in both]

    def keys(self, version: int = 1) -> Any:
        return secrets_of({name: [key_of(name), key_of(name, version)] for name in SPECS})

    def table(self, region: str, others: bool = True, **changed: Any) -> RoutingTable:
        here = region == "eu-west"
        remote = [{"region": "us-east", "url": f"http://127.0.0.1:{self.us.port}"}] if here and others else []
        fields = {"regions": BOTH, "fallback": ["us-east"] if here and others else [], "cache": NOT_STORED}
        own = pools(*SERVICES[region])
        fields |= {"timeouts": {"requestSeconds": 20, "idleSeconds": IDLE_SECONDS}, "pools": own, **changed}
        return table([model("acme/both", **fields)], region, remoteGateways=remote, **tenants_of(SPECS))

    def publish(self, *, version: int = 1, without: str = "", fewer: bool = False, **changed: Any) -> None:
        ready = {name: both[1:] if fewer else both for name, both in self.engines.items() if name != without}
        self.eu.publish([self.table("eu-west", **changed)], ready, self.keys(version))

    def change(self, dice: random.Random) -> None:
        """Something in eu-west is another way than before."""
        self.publish(
            version=dice.randrange(1, 9),
            without=dice.choice(("", "", "both", "both-no-store")),
            fewer=dice.random() < 0.3,
            others=dice.random() < 0.8,
            ownedBy=f"version {dice.random()}",
        )

    def stop(self) -> None:
        for gateway in (self.eu, self.us):
            gateway.stop()
        for engine in self.all():
            engine.stop()
        self.loop.close()


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.stop()


def lines(gateway: Gateway) -> list[Any]:
    return [json.loads(line) for line in gateway.output.read_text().splitlines()]


def check_answer(told: Told) -> str | None:
    """What the answer says is its call's own, and ends as its engine ended it; gives its id."""
    plan = told.plan
    assert told.status in (0, 200, 429, 500, 502, 503, 504), told
    if told.status == 0:
        # Before it has answered, only a client ends a call.
        assert told.left, told
        return None
    if told.status != 200:
        assert told.left or (told.whole and json.loads(told.body)["error"]["code"] != "internal_error"), told
        return None
    if not plan.stream:
        if not told.whole:
            assert told.left or told.body == b"", told
            return None
        answer = json.loads(told.body)
        number, at = map(int, answer["choices"][0]["message"]["content"].split("."))
        assert (number, plan.tries[at][0]) in ((plan.number, "done"), (plan.number, "no done")) or at > 3, told
        return str(answer["id"])
    events = told.events() if told.whole else told.events()[:-1]
    chunks = [json.loads(event) for event in events if event != "[DONE]"]
    contents = [each["choices"][0]["delta"].get("content") for each in chunks if each.get("choices")]
    said = [content for content in contents if content is not None]
    names = {content.partition(":")[0] for content in said}
    assert len(names) <= 1, told
    assert [int(content.partition(":")[2]) for content in said] == list(range(len(said))), told
    for name in names:
        assert int(name.partition(".")[0]) == plan.number, told
        end, pauses = plan.tries[min(3, int(name.partition(".")[2]))]
        assert (events[-1:] == ["[DONE]"]) <= (end == "done" and len(said) == len(pauses)), told
        if told.whole and end == "done":
            assert events[-1] == "[DONE]", told
    if told.whole and events[-1:] != ["[DONE]"]:
        assert "error" in chunks[-1], told
    assert (b'"usage": {' in told.body) <= plan.asks_usage, told
    ids = {each["id"] for each in chunks if "id" in each}
    assert len(ids) <= 1, told
    return ids.pop() if ids else None


def check_engines(world: World, plans: list[Plan]) -> None:
    """No engine saw a call that is not for its region or pool, or whose it is."""
    for engine in world.all():
        here = "us-east" if engine.name.startswith("us") else "eu-west"
        for number, headers, body in engine.seen:
            plan = plans[number]
            assert plan.pin in (None, here), (engine.name, plan)
            assert plan.no_store == engine.name.endswith("no-store"), (engine.name, plan)
            assert not {"authorization", "x-tomoul-forwarded"} & set(headers), headers
            salt = None if plan.no_store else derived(f"tenants/{plan.tenant}", "acme/both")
            assert body.get("cache_salt") == salt, (engine.name, plan, body)


def free(gateway: Gateway, tenant: str) -> None:
    """As many calls of the tenant's run at once as may, and one more is refused."""
    plans = [
        Plan(number, tenant, gateway.options.region, False, True, False, None, False, 0, [("done", [1.5])] * 4)
        for number in range(10**6, 10**6 + RUNNING + 1)
    ]

    async def nothing() -> None:
        await asyncio.sleep(1)

    statuses = Counter(told.status for told in asyncio.run(storm(gateway.port, plans, len(plans), nothing)))
    assert statuses == {200: RUNNING, 429: 1}, statuses


def test_calls_that_meet_each_others_faults_and_changes_of_the_tables_stay_apart_and_are_counted_once(
    world: World,
) -> None:
    seed = int(os.environ.get("STORM_SEED") or random.randrange(10**6))
    dice = random.Random(seed)
    print(f"seed {seed}")
    plans = [Plan.of(number, dice) for number in range(int(os.environ.get("STORM_CALLS", "600")))]

    async def change() -> None:
        await asyncio.to_thread(world.change, dice)
        await asyncio.sleep(0.1)

    told = asyncio.run(storm(world.eu.port, plans, 150, change))
    world.publish()
    ids = Counter(found for each in told if (found := check_answer(each)))
    assert not [found for found, count in ids.items() if count > 1 or not re.match(r"chatcmpl_\w{26}$", found)]
    for gateway in (world.eu, world.us):
        eventually(lambda gateway=gateway: gateway.stat("http.gateway.downstream_rq_active") == 0)
        assert "tomoul: " not in gateway.log(), gateway.log()
    eventually(lambda: all(engine.running == 0 for engine in world.all()))
    check_engines(world, plans)
    wanted = {each.headers["x-request-id"] for each in told if each.status}
    written = eventually(
        lambda: (found := lines(world.eu)) and wanted <= {each["request_id"] for each in found} and found
    )
    by_id = Counter(each["request_id"] for each in written)
    assert max(by_id.values()) == 1
    assert len(written) == world.eu.stat("http.gateway.downstream_rq_total")
    entries = {each["request_id"]: each for each in written}
    for each in told:
        if each.status != 200 or not each.whole or each.headers["x-tomoul-region"] != "eu-west":
            continue
        entry = entries[each.headers["x-request-id"]]
        assert (entry["status"], entry["tenant"]) == (200, f"tenants/{each.plan.tenant}"), (entry, each)
        if not each.plan.stream or each.events()[-1] == "[DONE]":
            assert entry["prompt_tokens"] == each.plan.number + 1, (entry, each)
    for tenant in ("silver", "guest"):
        free(world.eu, tenant)
        free(world.us, tenant)
