"""When the publisher publishes, and what."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Mapping

import pytest

from tests.agent.envoy import eventually
from tests.agent.tables import routing_table
from tomoul.gateway.agent.ads import Acknowledgement
from tomoul.gateway.agent.publisher import DEBOUNCE_SECONDS, Publisher
from tomoul.gateway.agent.state import GatewayState, TableVersion
from tomoul.gateway.compile.resources import Endpoint, Endpoints, EnvoyResources, PoolKey

POOL = PoolKey("models", "phi")


def at(*addresses: str) -> Endpoints:
    return {POOL: tuple(Endpoint(address, 8000) for address in addresses)}


class World:
    """A publisher with a recording ADS server in the place of the real one."""

    def __init__(self) -> None:
        self.known: GatewayState | None = None
        self.published: list[GatewayState] = []
        self.refused: list[tuple[Mapping[str, TableVersion], str]] = []
        self.broken: set[str] = set()
        self.published_version = 0
        self.publisher = Publisher(
            self,  # type: ignore[arg-type]
            self.compile,
            lambda: self.known,
            on_refused=lambda versions, message: self.refused.append((versions, message)),
        )

    def compile(self, state: GatewayState) -> EnvoyResources:
        for table in state.tables.values():
            if any(route.id in self.broken for route in table.spec.models):
                raise ZeroDivisionError("a bug")
        return EnvoyResources()

    def publish(self, _resources: EnvoyResources, label: object) -> int:
        assert isinstance(label, GatewayState)
        self.published.append(label)
        return len(self.published)

    def now(self, known: GatewayState | None) -> None:
        self.known = known
        self.publisher.changed()

    def answer(self, ok: bool, message: str = "") -> None:
        version = len(self.published)
        self.publisher.acknowledged(Acknowledgement(version, self.published[-1], ok, "", message))

    async def quiet(self) -> None:
        """Until whatever the publisher was going to do is done."""
        await asyncio.sleep(DEBOUNCE_SECONDS * 5)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running() as world:
        yield world


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[World]:
    world = World()
    task = asyncio.create_task(world.publisher.run())
    yield world
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_burst_of_changes_is_published_once_and_newest(world: World) -> None:
    states = [GatewayState({"eu-west": routing_table(generation=n)}, at(f"10.0.0.{n}")) for n in range(100)]
    for state in states:
        world.now(state)
        await asyncio.sleep(0)
    await eventually(lambda: states[-1] in world.published)
    await world.quiet()
    # One; two if this machine was held up for longer than the publisher waits.
    assert len(world.published) <= 2


async def test_nothing_is_published_before_everything_is_known(world: World) -> None:
    world.now(None)
    await world.quiet()
    world.now(GatewayState({}, at("10.0.0.1")))
    await world.quiet()
    assert world.published == []


async def test_the_same_state_is_published_once(world: World) -> None:
    for _ in range(3):
        world.now(GatewayState({"eu-west": routing_table()}, at("10.0.0.1")))
        await world.quiet()
    assert len(world.published) == 1


async def test_a_table_that_disappears_is_served_on_with_the_endpoints_of_now(world: World) -> None:
    world.now(GatewayState({"eu-west": routing_table()}, at("10.0.0.1")))
    await eventually(lambda: world.published)
    world.answer(ok=True)
    world.now(GatewayState({}, at("10.0.0.2")))
    await eventually(lambda: len(world.published) == 2)
    assert world.published[-1] == GatewayState({"eu-west": routing_table()}, at("10.0.0.2"))


async def test_a_shard_that_was_emptied_before_it_disappeared_is_forgotten_and_another_is_served_on(
    world: World,
) -> None:
    shard = routing_table("eu-west.03", ["acme/a"])
    world.now(GatewayState({"eu-west": routing_table(models=[]), "eu-west.03": shard}, at()))
    await eventually(lambda: world.published)
    world.answer(ok=True)
    world.now(GatewayState({"eu-west": routing_table(models=[], generation=2)}, at()))
    await eventually(lambda: len(world.published) == 2)
    assert world.published[-1].tables["eu-west.03"] == shard
    world.answer(ok=True)
    empty = routing_table("eu-west.03", [], generation=2)
    world.now(GatewayState({"eu-west": routing_table(models=[], generation=2), "eu-west.03": empty}, at()))
    await eventually(lambda: len(world.published) == 3)
    world.answer(ok=True)
    world.now(GatewayState({"eu-west": routing_table(models=[], generation=2)}, at()))
    await eventually(lambda: len(world.published) == 4)
    assert list(world.published[-1].tables) == ["eu-west"]


async def test_a_shard_that_is_not_there_is_forgotten_once_all_models_are_in_the_table_of_the_region(
    world: World,
) -> None:
    shard = routing_table("eu-west.03", ["acme/gone", "acme/phi"])
    world.publisher.restore(GatewayState({"eu-west": routing_table(models=[]), "eu-west.03": shard}, at()))
    world.answer(ok=True)
    world.now(GatewayState({}, at("10.0.0.1")))
    await eventually(lambda: len(world.published) == 2)
    assert list(world.published[-1].tables) == ["eu-west", "eu-west.03"], "somebody has deleted all"
    world.now(GatewayState({"eu-west": routing_table(generation=2)}, at()))
    await eventually(lambda: len(world.published) == 3)
    assert list(world.published[-1].tables) == ["eu-west"]


async def test_a_restored_state_is_published_at_once_and_replaced_when_more_is_known(world: World) -> None:
    world.publisher.restore(GatewayState({"eu-west": routing_table(generation=3)}, at("10.0.0.1")))
    assert len(world.published) == 1
    world.now(None)
    await world.quiet()
    assert len(world.published) == 1
    world.now(GatewayState({"eu-west": routing_table(generation=4)}, {}))
    await eventually(lambda: len(world.published) == 2)
    assert world.published[-1] == GatewayState({"eu-west": routing_table(generation=4)}, {})


async def test_after_a_refused_table_endpoints_go_on_changing_with_the_last_accepted_one(world: World) -> None:
    good, bad = routing_table(generation=1), routing_table(generation=2, models=("acme/phi", "acme/bad"))
    world.now(GatewayState({"eu-west": good}, at("10.0.0.1")))
    await eventually(lambda: world.published)
    world.answer(ok=True)
    world.now(GatewayState({"eu-west": bad}, at("10.0.0.1")))
    await eventually(lambda: len(world.published) == 2)
    world.answer(ok=False, message="no such thing")
    assert world.refused == [({"eu-west": TableVersion("u", 2)}, "no such thing")]
    world.now(GatewayState({"eu-west": bad}, at("10.0.0.2")))
    await eventually(lambda: world.published[-1].endpoints == at("10.0.0.2"))
    assert world.published[-1].tables == {"eu-west": good}
    fixed = routing_table(generation=3)
    world.now(GatewayState({"eu-west": fixed}, at("10.0.0.2")))
    await eventually(lambda: world.published[-1].tables == {"eu-west": fixed})


async def test_only_the_table_that_is_new_is_blamed(world: World) -> None:
    first, second = routing_table(), routing_table("eu-west-2", models=("acme/bad",))
    world.now(GatewayState({"eu-west": first}, {}))
    await eventually(lambda: world.published)
    world.answer(ok=True)
    world.now(GatewayState({"eu-west": first, "eu-west-2": second}, {}))
    await eventually(lambda: len(world.published) == 2)
    world.answer(ok=False, message="no")
    assert [list(versions) for versions, _ in world.refused] == [["eu-west-2"]]


async def test_tables_that_changed_together_with_a_refused_one_are_served_without_it(world: World) -> None:
    names = ("eu-west", "eu-west.00", "eu-west.01", "eu-west.02")
    old = {name: routing_table(name, models=(f"acme/{name}",)) for name in names}
    new = {name: routing_table(name, models=(f"acme/{name}",), generation=2) for name in names}
    world.now(GatewayState(old, {}))
    await eventually(lambda: world.published)
    world.answer(ok=True)
    world.now(GatewayState(new, {}))
    good = {**new, "eu-west.01": old["eu-west.01"]}
    answered = 1
    while world.published[-1].tables != good:
        await eventually(lambda seen=answered: len(world.published) > seen)
        answered = len(world.published)
        world.answer(ok=world.published[-1].tables["eu-west.01"] == old["eu-west.01"], message="no")
    await world.quiet()
    assert world.published[-1].tables == good
    assert world.refused[-1] == ({"eu-west.01": TableVersion("u", 2)}, "no")


def has(state: GatewayState, bad: set[str]) -> bool:
    return any(route.id in bad for table in state.tables.values() for route in table.spec.models)


async def answered(world: World, bad: set[str], seen: int) -> int:
    """Answer whatever is published as an Envoy would that refuses these models; how much was published in the end."""
    while True:
        with contextlib.suppress(AssertionError):
            await eventually(lambda seen=seen: len(world.published) > seen, within=DEBOUNCE_SECONDS * 10)
        if len(world.published) == seen:
            return seen
        seen = len(world.published)
        world.answer(ok=not has(world.published[-1], bad), message="no")


@pytest.mark.parametrize("bad", [{"acme/07"}, {"acme/00", "acme/15"}, {"acme/03", "acme/04", "acme/05"}])
@pytest.mark.looptime
async def test_models_that_changed_together_with_a_bad_one_are_served_without_it(bad: set[str]) -> None:
    async with running() as world:
        all_models = tuple(f"acme/{number:02}" for number in range(16))
        first = routing_table(models=("acme/old", "acme/gone"))
        world.now(GatewayState({"eu-west": first}, at("10.0.0.1")))
        await eventually(lambda: world.published)
        world.answer(ok=True)
        world.now(
            GatewayState({"eu-west": routing_table(models=("acme/old", *all_models), generation=2)}, at("10.0.0.1"))
        )
        seen = await answered(world, bad, 1)
        assert seen < 3 + 2 * 6 * len(bad)
        served = world.published[-1]
        assert {route.id for route in served.tables["eu-west"].spec.models} == {"acme/old", *all_models} - bad
        assert served.versions == {"eu-west": TableVersion("u", 1)}, "its new generation is not all accepted"
        assert world.refused[0] == ({"eu-west": TableVersion("u", 2)}, "no")
        what = ", ".join(f"models `{model}`" for model in sorted(bad))
        told = ({"eu-west": TableVersion("u", 2)}, f"{what} cannot be served as changed, all else is: no")
        assert world.refused[1:] == [told]

        world.now(
            GatewayState({"eu-west": routing_table(models=("acme/old", *all_models), generation=2)}, at("10.0.0.2"))
        )
        seen = await answered(world, bad, seen)
        assert world.published[-1] == GatewayState(served.tables, at("10.0.0.2"))
        fixed = routing_table(models=("acme/old",), generation=3)
        world.now(GatewayState({"eu-west": fixed}, at("10.0.0.2")))
        await answered(world, bad, seen)
        assert world.published[-1].tables == {"eu-west": fixed}


@pytest.mark.looptime
async def test_a_changed_table_is_not_tried_by_parts_while_another_is_new() -> None:
    async with running() as world:
        tables = {name: routing_table(name, models=(f"acme/{name}",)) for name in ("eu-west", "eu-west.01")}
        world.now(GatewayState(tables, {}))
        await eventually(lambda: world.published)
        world.answer(ok=True)
        bad = routing_table(models=("acme/a", "acme/bad"), generation=2)
        world.now(GatewayState({**tables, "eu-west": bad}, {}))
        await eventually(lambda: len(world.published) == 2)
        world.answer(ok=False, message="no")
        new = routing_table("eu-west.01", models=("acme/b",), generation=2)
        world.now(GatewayState({"eu-west": bad, "eu-west.01": new}, {}))
        await eventually(lambda: len(world.published) == 3)
        assert world.published[-1].tables == {"eu-west": tables["eu-west"], "eu-west.01": new}
        await answered(world, {"acme/bad"}, 2)
        served = {route.id for table in world.published[-1].tables.values() for route in table.spec.models}
        assert served == {"acme/a", "acme/b"}


@pytest.mark.looptime
async def test_what_is_told_of_a_bad_entry_stays_when_it_is_tried_again() -> None:
    async with running() as world:
        world.now(GatewayState({"eu-west": routing_table(models=("acme/old",))}, {}))
        await eventually(lambda: world.published)
        world.answer(ok=True)
        world.now(GatewayState({"eu-west": routing_table(models=("acme/a", "acme/bad"), generation=2)}, {}))
        seen = await answered(world, {"acme/bad"}, 1)
        told = world.refused[-1]
        assert "`acme/bad`" in told[1]
        await asyncio.sleep(61)
        assert await answered(world, {"acme/bad"}, seen) > seen
        assert world.refused[-1] == told
        assert world.refused.count(told) == len(world.refused) - 1


async def test_a_gateway_that_has_never_served_is_told_all_of_its_regions_tables_or_nothing(world: World) -> None:
    first, bad = routing_table(), routing_table("eu-west.00", models=("acme/bad",))
    shards = {"eu-west.00": bad, "eu-west.01": routing_table("eu-west.01", models=("acme/chat",))}
    world.now(GatewayState({"eu-west": first, **shards}, {}))
    await eventually(lambda: world.published)
    world.answer(ok=False, message="no")
    changed = {**shards, "eu-west.01": routing_table("eu-west.01", models=("acme/chat",), generation=2)}
    world.now(GatewayState({"eu-west": first, **changed}, {}))
    await eventually(lambda: len(world.published) == 2)
    assert world.published[-1].tables == {"eu-west": first, **changed}
    world.answer(ok=False, message="no")
    world.now(GatewayState({"eu-west": first, **changed}, at("10.0.0.1")))
    await world.quiet()
    good = {**changed, "eu-west.00": routing_table("eu-west.00", generation=2)}
    world.now(GatewayState({"eu-west": first, **good}, {}))
    await eventually(lambda: len(world.published) == 3)
    assert world.published[-1].tables == {"eu-west": first, **good}


async def test_a_compiler_that_fails_is_reported_and_the_agent_goes_on(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.broken = {"acme/bad"}
    world.now(GatewayState({"eu-west": routing_table(models=("acme/bad",))}, {}))
    await eventually(lambda: world.refused)
    assert world.refused == [({"eu-west": TableVersion("u", 1)}, "ZeroDivisionError: a bug")]
    assert "Traceback" in caplog.text
    world.now(GatewayState({"eu-west": routing_table(generation=2)}, {}))
    await eventually(lambda: world.published)


@pytest.mark.looptime
async def test_a_refused_table_is_tried_again_within_a_minute_however_often_endpoints_change() -> None:
    async with running() as world:
        good, bad = routing_table(generation=1), routing_table(generation=2, models=("acme/bad",))
        world.now(GatewayState({"eu-west": good}, at("10.0.0.1")))
        await asyncio.sleep(1)
        world.answer(ok=True)
        tried = []
        for second in range(150):
            world.now(GatewayState({"eu-west": bad}, at(f"10.0.1.{second}")))
            await asyncio.sleep(1)
            if world.published[-1].tables == {"eu-west": bad}:
                tried.append(second)
            world.answer(ok=world.published[-1].tables == {"eu-west": good}, message="no")
            await asyncio.sleep(0)
        assert len(tried) == 3
        assert all(50 <= later - earlier <= 70 for earlier, later in itertools.pairwise(tried))


@pytest.mark.looptime
async def test_a_refused_state_without_a_new_table_is_tried_again_once_a_minute() -> None:
    async with running() as world:
        table = routing_table()
        world.now(GatewayState({"eu-west": table}, at("10.0.0.1")))
        await asyncio.sleep(1)
        world.answer(ok=True)
        changed = GatewayState({"eu-west": table}, at("10.0.0.2"))
        world.now(changed)
        await asyncio.sleep(1)
        world.answer(ok=False, message="not now")
        await asyncio.sleep(130)
        assert world.published[1:] == [changed] * 3
        world.answer(ok=True)
        await asyncio.sleep(130)
        assert len(world.published) == 4
