import asyncio

import pytest

from tomoul.controller.workqueue import LONGEST_DELAY, WorkQueue

pytestmark = [pytest.mark.looptime]


def queue() -> WorkQueue[str]:
    return WorkQueue(now=asyncio.get_running_loop().time, jitter=lambda: 1.0)


async def test_a_key_that_is_added_often_is_worked_on_once() -> None:
    keys = queue()
    for _ in range(3):
        keys.add("a")
    keys.add("b")
    assert [await keys.get(), await keys.get()] == ["a", "b"]
    assert len(keys) == 0


async def test_a_key_added_while_it_is_worked_on_is_worked_on_once_more_afterwards_and_not_by_two_at_a_time() -> None:
    keys = queue()
    keys.add("a")
    assert await keys.get() == "a"
    keys.add("a")
    keys.add("a")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(keys.get(), 10)
    keys.done("a")
    assert await keys.get() == "a"
    keys.done("a")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(keys.get(), 10)


async def test_of_several_delayed_adds_the_earliest_counts() -> None:
    keys, loop = queue(), asyncio.get_running_loop()
    keys.add_after("a", 5)
    keys.add_after("a", 2)
    keys.add_after("a", 9)
    began = loop.time()
    await keys.get()
    assert loop.time() - began == pytest.approx(2)
    keys.done("a")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(keys.get(), 60)


async def test_a_burst_of_delayed_adds_is_one_turn_per_delay() -> None:
    keys, loop, turns = queue(), asyncio.get_running_loop(), []

    async def worker() -> None:
        while True:
            key = await keys.get()
            turns.append(loop.time())
            keys.done(key)

    task = asyncio.create_task(worker())
    for _ in range(100):
        keys.add_after("table", 0.3)
        await asyncio.sleep(0.01)
    await asyncio.sleep(1)
    task.cancel()
    assert 3 <= len(turns) <= 4


async def test_adding_now_overtakes_a_delayed_add() -> None:
    keys = queue()
    keys.add_after("a", 5)
    keys.add("a")
    await keys.get()
    keys.done("a")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(keys.get(), 60)


async def test_failures_wait_twice_as_long_each_time_up_to_a_cap_and_forget_starts_over() -> None:
    keys = queue()
    assert [keys.retry("a") for _ in range(4)] == [0.5, 1, 2, 4]
    assert dict(keys.failures) == {"a": 4}
    for _ in range(50):
        delay = keys.retry("a")
    assert delay == LONGEST_DELAY
    keys.forget("a")
    assert not keys.failures
    assert keys.retry("a") == 0.5
    assert keys.retry("b", at_least=7) == 7


async def test_a_failure_of_what_may_be_back_at_any_time_waits_no_longer_than_it_is_told() -> None:
    keys = queue()
    delays = [keys.retry("a", longest=60) for _ in range(10)]
    assert delays == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert keys.retry("a") == 300, "and once it is refused for good, longer"


async def test_what_is_put_off_is_looked_at_less_and_less_often_and_is_no_failure() -> None:
    keys = queue()
    assert [keys.put_off("a") for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert not keys.failures
    keys.retry("a")
    assert keys.attempts("a") == 8
    keys.forget("a")
    assert (keys.attempts("a"), keys.put_off("a")) == (0, 1)


async def test_every_key_reaches_one_worker_although_workers_are_cancelled_while_they_wait() -> None:
    keys, seen = queue(), []

    async def worker() -> None:
        while True:
            key = await keys.get()
            seen.append(key)
            await asyncio.sleep(0)
            keys.done(key)

    tasks = [asyncio.create_task(worker()) for _ in range(4)]
    await asyncio.sleep(0)
    for number in range(20):
        keys.add(str(number))
        if number < 3:
            tasks[number].cancel()  # it may have been woken for the key a moment ago
    await asyncio.sleep(1)
    tasks[3].cancel()
    assert sorted(seen, key=int) == [str(number) for number in range(20)]


async def test_the_age_is_that_of_the_key_that_waits_longest() -> None:
    keys = queue()
    assert keys.oldest_age == 0
    keys.add("a")
    await asyncio.sleep(2)
    keys.add("b")
    await asyncio.sleep(1)
    assert keys.oldest_age == pytest.approx(3)
    assert keys.is_active("a")
    assert not keys.is_active("c")


async def test_the_queue_tells_how_long_keys_waited_and_since_when_no_worker_has_moved() -> None:
    loop, waits = asyncio.get_running_loop(), []
    keys: WorkQueue[str] = WorkQueue(now=loop.time, taken=lambda key, waited: waits.append((key, round(waited))))
    await asyncio.sleep(50)
    assert keys.idle_seconds == 0, "nothing waits"
    keys.add("a")
    keys.add("b")
    await asyncio.sleep(7)
    assert keys.idle_seconds == pytest.approx(7)
    await keys.get()
    await asyncio.sleep(2)
    assert keys.idle_seconds == pytest.approx(2), "the worker of `a` has moved since"
    keys.done("a")
    await keys.get()
    assert waits == [("a", 7), ("b", 9)]
    assert keys.idle_seconds == 0


async def test_what_is_left_to_do_waits_is_worked_on_or_comes_later() -> None:
    keys = queue()
    keys.add("a")
    keys.add("b")
    await keys.get()
    keys.retry("c")
    assert (len(keys), keys.processing, keys.delayed) == (1, 1, 1)
    keys.done("a")
    await asyncio.sleep(1)
    assert (len(keys), keys.processing, keys.delayed) == (2, 0, 0)
