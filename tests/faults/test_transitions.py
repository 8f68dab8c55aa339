"""However a model got to a spec, what comes of it is the same as if it had been written so at first."""

import random
import time
from typing import Any

import pytest

from tests.faults.conftest import ALL
from tests.faults.state import State
from tests.faults.world import World, example_model

Spec = dict[str, Any]
BOTH: list[Spec] = [{"name": "eu-west", "replicas": 1}, {"name": "us-east", "replicas": 2}]
GOOD: dict[str, Spec] = {
    "one region": {},
    "two regions": {"regions": BOTH},
    "a pool without a cache": {"cache": {"mode": "Tenant", "noStore": "NotStored"}, "regions": BOTH},
    "no cache": {"cache": {"mode": "Disabled", "noStore": "Refuse"}},
    "another image": {"engine": {"type": "LlamaCpp", "image": "example.com/engine:2"}},
    # What Auto chose for the rollout before is kept on purpose, and would show.
    "a longer drain": {"rollout": {"strategy": "Surge", "drainSeconds": 9}},
}
REFUSED: dict[str, Spec] = {
    "an unknown region": {"regions": [*BOTH, {"name": "mars", "replicas": 1}]},
    "an unknown accelerator": {"resources": {"accelerator": "abacus", "count": 1}},
    "an argument that breaks a promise": {"engine": {"type": "LlamaCpp", "args": ["--port", "1"]}},
}
ENDS = list(GOOD) if ALL else ["one region", "a pool without a cache"]
WALKS = 20 if ALL else 2


@pytest.mark.parametrize("end", ENDS)
def test_no_way_through_other_specs_good_and_refused_shows_in_the_end(world: World, end: str) -> None:
    def put(name: str) -> None:
        world.apply(example_model("walker", "eu-west", **(GOOD | REFUSED)[name]))

    def put_region(state: str) -> None:
        region = world.region("us-east")
        region["spec"]["state"] = state
        world.apply(region)

    with world.running():
        put(end)
        fresh: State = world.settles()
        for seed in range(WALKS):
            chance = random.Random(f"{end} {seed}")
            steps = [chance.choice([*GOOD, *REFUSED]) for _ in range(6)]
            states = [chance.choice(("Draining", "Disabled", "Active", "", "", "")) for _ in steps]
            for name, state in zip(steps, states, strict=True):
                put(name)
                if state:
                    put_region(state)
                time.sleep(chance.choice((0, 0.02, 0.5)))  # what comes of one may be half done when the next comes
            put(end)
            put_region("Active")
            try:
                world.becomes(fresh)
            except AssertionError as error:
                raise AssertionError(f"after {[*zip(steps, states, strict=True)]}: {error}") from error
            assert world.ended == []
