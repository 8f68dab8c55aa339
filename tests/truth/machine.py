"""Calls of all kinds in any order, each judged by all that were made before it."""

import secrets
from contextlib import suppress

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.truth.endpoint import TENANTS, Call
from tests.truth.oracle import Oracle
from tests.truth.orders import WORDS


def in_any_order(
    oracle: Oracle,
    examples: int = 8,
    steps: int = 10,
    phases: tuple[Phase, ...] = (Phase.generate, Phase.shrink),
) -> None:
    """Sequences of calls by several tenants, of prompts that begin alike; fails with the shortest that shows a lie."""

    endpoint = oracle.endpoint

    class Calls(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            # Engines keep what earlier sequences left, so each has prompts of its own.
            nonce = secrets.token_hex(4)
            self.stems = [f"{nonce} {stem}{WORDS}" for stem in ("All", "Any")]
            self.last: Call | None = None

        @rule(
            tenant=st.sampled_from(TENANTS[:2]),
            model=st.sampled_from(sorted(oracle.scopes)),
            stem=st.integers(0, 1),
            tail=st.sampled_from(["", " and this", " and that"]),
            no_store=st.booleans(),
        )
        def call(self, tenant: str, model: str, stem: int, tail: str, no_store: bool) -> None:
            self.ask(Call(tenant, model, self.stems[stem] + tail, no_store))

        @precondition(lambda self: self.last is not None)
        @rule(tenant=st.sampled_from(TENANTS[:2]), no_store=st.booleans())
        def the_same_prompt(self, tenant: str, no_store: bool) -> None:
            assert self.last is not None
            self.ask(Call(tenant, self.last.model, self.last.prompt, no_store))

        @precondition(lambda self: self.last is not None and oracle.cacheable(self.last))
        @rule()
        def the_same_call_again_is_a_hit(self) -> None:
            assert self.last is not None
            counted = endpoint.counted(self.last)
            oracle.judge([(self.last, counted)])
            assert counted.cached == endpoint.most(counted), f"not found again: {self.last}"

        def ask(self, call: Call) -> None:
            oracle.judge([(call, endpoint.counted(call))])
            self.last = call

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Calls,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=True,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )


def found_out(oracle: Oracle) -> bool:
    """Whether the oracle catches an endpoint that lies."""
    # What is left of a sequence that failed may make it fail sooner when it is tried again.
    with suppress(AssertionError, Flaky):
        in_any_order(oracle, phases=(Phase.generate,))
    return bool(oracle.lies)
