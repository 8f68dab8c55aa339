"""A step of the walk: what is sent, what came back, and whether that is what should."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


class UnexpectedError(Exception):
    """A call did not show what it should; the message says what was expected."""


@dataclass(frozen=True)
class Seen:
    """What came back."""

    summary: str
    region: str


@dataclass(frozen=True)
class Step:
    """One row of the walk."""

    title: str
    sent: str
    run: Callable[[], Awaitable[Seen]]


@dataclass(frozen=True)
class Result:
    """A step and how it went."""

    step: Step
    seen: Seen
    passed: bool


def expect(held: bool, expected: str, got: object) -> None:
    """Raise UnexpectedError unless it `held`."""
    if not held:
        raise UnexpectedError(f"expected {expected}, got {got}")
