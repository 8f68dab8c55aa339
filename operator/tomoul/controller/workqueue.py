"""WorkQueue: keys to reconcile, with the semantics of client-go's queue.

A key waits at most once; added while it is being worked on, it is worked on once more afterwards, never by two workers
at a time. Failures wait 0.5 s, doubling to 300 s, with jitter. What is put off for something else to go first waits
1 s, doubling to 30 s: as a rule a watch tells of that sooner.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_DELAY, LONGEST_DELAY, JITTER = 0.5, 300.0, 0.1
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0


class WorkQueue(Generic[K]):
    """A queue for one event loop. Every `get` is followed by one `done`."""

    def __init__(
        self,
        *,
        now: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = lambda: random.uniform(1 - JITTER, 1 + JITTER),  # noqa: S311
        taken: Callable[[K, float], None] = lambda key, waited: None,
    ) -> None:
        """`taken` hears of each key that a worker gets, and how many seconds it waited."""
        self._now = now
        self._jitter = jitter
        self._taken = taken
        self._moved = now()
        self._ready: deque[K] = deque()
        self._since: dict[K, float] = {}  # keys that wait to be worked on ("dirty"), with the time of their first add
        self._processing: set[K] = set()
        self._later: dict[K, tuple[float, asyncio.TimerHandle]] = {}
        self._failures: dict[K, int] = {}
        self._put_off: dict[K, int] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        """Keys that wait for a worker; delayed ones do not count."""
        return len(self._since)

    @property
    def delayed(self) -> int:
        """Keys that wait for their time."""
        return len(self._later)

    @property
    def processing(self) -> int:
        """Keys that are being worked on."""
        return len(self._processing)

    @property
    def oldest_age(self) -> float:
        """Seconds that the longest waiting key has waited, or 0."""
        return self._now() - min(self._since.values()) if self._since else 0.0

    @property
    def idle_seconds(self) -> float:
        """Seconds for which keys have waited and no worker has taken or finished one; 0 while none waits."""
        return min(self.oldest_age, self._now() - self._moved)

    @property
    def failures(self) -> Mapping[K, int]:
        """Failures in a row of the keys whose last attempt failed."""
        return self._failures

    def is_active(self, key: K) -> bool:
        """Whether the key waits for a worker or is being worked on."""
        return key in self._since or key in self._processing

    def add(self, key: K) -> None:
        """Have the key worked on, now or once its present worker is done."""
        if (later := self._later.pop(key, None)) is not None:
            later[1].cancel()
        if key in self._since:
            return
        self._since[key] = self._now()
        if key not in self._processing:
            self._ready.append(key)
            self._wake_one()

    def add_after(self, key: K, delay: float) -> None:
        """Add the key in `delay` seconds; of several such calls the earliest counts."""
        if key in self._since and key not in self._processing:
            return  # it waits already, and will see everything that this call is about
        due = self._now() + delay
        if (later := self._later.get(key)) is not None:
            if later[0] <= due:
                return
            later[1].cancel()
        self._later[key] = (due, asyncio.get_running_loop().call_later(delay, self.add, key))

    def attempts(self, key: K) -> int:
        """How often in a row the key was worked on in vain: failures, and times that it was put off."""
        return self._failures.get(key, 0) + self._put_off.get(key, 0)

    def retry(self, key: K, at_least: float = 0.0, longest: float = LONGEST_DELAY) -> float:
        """Add the key after a delay that grows with its failures, and return the delay in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = max(at_least, min(FIRST_DELAY * 2.0 ** min(failures, 30), longest) * self._jitter())
        self.add_after(key, delay)
        return delay

    def put_off(self, key: K) -> float:
        """Add the key once something else may have gone first, and return the delay in seconds. That is no failure."""
        times = self._put_off.get(key, 0)
        self._put_off[key] = times + 1
        delay = min(FIRST_WAIT * 2.0 ** min(times, 30), LONGEST_WAIT)
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """The key was worked on without a failure: its next one waits as the first."""
        self._failures.pop(key, None)
        self._put_off.pop(key, None)

    async def get(self) -> K:
        """The next key; waits for one."""
        while not self._ready:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except BaseException:
                if waiter.done() and not waiter.cancelled():
                    self._wake_one()  # the wake-up came together with the cancellation: somebody else must have it
                raise
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        key = self._ready.popleft()
        self._moved = self._now()
        self._taken(key, self._moved - self._since.pop(key))
        self._processing.add(key)
        return key

    def done(self, key: K) -> None:
        """The worker is done with the key."""
        self._processing.discard(key)
        self._moved = self._now()
        if key in self._since:
            self._ready.append(key)
            self._wake_one()

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
