"""How often an object is repaired that somebody else changes back."""

from tomoul.controller.contests import BURST, PAUSE_SECONDS, Contests
from tomoul.kube.resources import DEPLOYMENTS, SERVICES
from tomoul.plan.world import Key

CHAT = Key("models", "chat")


def test_repairs_that_come_now_and_then_are_done_at_once_for_ever() -> None:
    now = 0.0
    contests = Contests(lambda: now)
    for _ in range(1000):
        assert contests.wait(SERVICES, CHAT) == 0
        now += PAUSE_SECONDS


def test_of_an_object_that_is_changed_back_at_once_ten_repairs_are_done_and_then_one_in_a_while() -> None:
    now, done = 0.0, 0
    contests = Contests(lambda: now)
    for _ in range(36_000):
        done += contests.wait(SERVICES, CHAT) == 0
        now += 0.1
    assert BURST + 3600 / PAUSE_SECONDS - 2 <= done <= BURST + 3600 / PAUSE_SECONDS + 1
    assert contests.wait(DEPLOYMENTS, CHAT) == 0, "another object"
    assert 0 < contests.wait(SERVICES, CHAT) <= PAUSE_SECONDS
    now += BURST * PAUSE_SECONDS
    assert [contests.wait(SERVICES, CHAT) for _ in range(BURST)] == [0] * BURST, "peace has come meanwhile"


def test_changes_of_our_own_mind_are_done_at_once_and_those_that_somebody_else_turns_back_are_damped() -> None:
    now = 0.0
    contests = Contests(lambda: now)
    assert [contests.turn(SERVICES, CHAT, f"{number % 2}") for number in range(1000)] == [0] * 1000
    done = 0
    for _ in range(1000):
        done += contests.turn(SERVICES, CHAT, "ours") == 0
        now += 0.1
    assert done <= 1 + BURST + 100 / PAUSE_SECONDS + 1
    assert contests.turn(SERVICES, CHAT, "new") == 0, "what is wanted has changed"
    assert contests.turn(DEPLOYMENTS, CHAT, "ours") == 0, "another object"


def test_only_so_many_objects_are_remembered() -> None:
    contests = Contests(lambda: 0.0)
    for number in range(5000):
        contests.wait(SERVICES, Key("models", f"chat-{number}"))
    assert len(contests._repairs) == 1000
