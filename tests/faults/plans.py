"""Plans: what goes wrong between the operator and the API server. Each knows when it is over."""

import itertools
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

from tests.faults.call import Call
from tests.faults.proxy import RESET, SILENCE, Answer, Event, Fault, Reset, Silence, refusal

Moment = Literal["before", "at", "after"]
APART = ("leases", "events")
"""What no end state depends on: a lease is renewed for ever, and Events tell of what happened on the way."""
REFUSALS = {409: "Conflict", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}
MOMENTS: Sequence[Moment] = ("before", "at", "after")


class Kill(Fault):
    """The operator is killed once at every `stride`-th of its different writes.

    `before`: the API server never hears of it. `at`: it is done, and the answer does not arrive. `after`: the answer
    has been sent, so the operator may have begun with the next thing.
    """

    def __init__(self, kill: Callable[[], None], moments: Sequence[Moment], stride: int = 1) -> None:
        self._kill = kill
        self._moments = itertools.cycle(moments)
        self._stride = stride
        self._seen: dict[str, Moment | None] = {}
        self.kills: list[str] = []

    def before(self, call: Call) -> Reset | None:
        if not _counts(call) or str(call) in self._seen:
            return None
        chosen = next(self._moments) if len(self._seen) % self._stride == 0 else None
        self._seen[str(call)] = chosen
        if chosen != "before":
            return None
        return self._killed(call, chosen)

    def after(self, call: Call, answer: Answer) -> Answer | Reset:
        chosen = self._seen.get(str(call)) if _counts(call) else None
        if chosen not in ("at", "after"):
            return answer
        self._seen[str(call)] = None
        self._killed(call, chosen)
        return RESET if chosen == "at" else answer

    def _killed(self, call: Call, moment: str) -> Reset:
        self.kills.append(f"{moment} {call}")
        self._kill()
        return RESET


class LostAnswers(Fault):
    """Of every different write the first answer is lost."""

    def __init__(self) -> None:
        self.lost: set[str] = set()

    def after(self, call: Call, answer: Answer) -> Answer | Reset:
        if not call.writes or str(call) in self.lost:
            return answer
        self.lost.add(str(call))
        return RESET


class Storm(Fault):
    """Each status in turn is the answer for some seconds: 409 to what is written, any other to everything."""

    def __init__(self, seconds: float, *statuses: int) -> None:
        self._began: float | None = None
        self._seconds = seconds
        self._statuses = statuses
        self.refused = 0

    def before(self, call: Call) -> Answer | None:
        if self._began is None:
            self._began = time.monotonic()
        turn = int((time.monotonic() - self._began) / self._seconds)
        if turn >= len(self._statuses) or (self._statuses[turn] == 409 and not call.writes):
            return None
        self.refused += 1
        status = self._statuses[turn]
        return refusal(status, REFUSALS[status], 1 if status == 429 else None)


class Unauthorized(Fault):
    """Of each verb the second call is answered with 401, as while a token is rotated."""

    def __init__(self) -> None:
        self._calls: dict[str, int] = {}
        self.refused: list[str] = []

    def before(self, call: Call) -> Answer | None:
        self._calls[call.verb] = self._calls.get(call.verb, 0) + 1
        if self._calls[call.verb] != 2:
            return None
        self.refused.append(call.verb)
        return refusal(401, "Unauthorized")


class Gone(Fault):
    """The first `times` watches of every kind are told that their version is too old."""

    def __init__(self, times: int) -> None:
        self._times = times
        self.told: dict[str, int] = {}

    def before(self, call: Call) -> Answer | None:
        if call.verb != "watch" or self.told.get(call.resource, 0) >= self._times:
            return None
        self.told[call.resource] = self.told.get(call.resource, 0) + 1
        status: dict[str, Any] = {"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired"}
        event = {"type": "ERROR", "object": {**status, "message": "too old resource version"}}
        return Answer(200, json.dumps(event).encode() + b"\n", (("Content-Type", "application/json"),))


class EndedAtOnce(Fault):
    """For some seconds each watch ends as soon as it has begun."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began: float | None = None
        self.ended: Counter[str] = Counter()

    def before(self, call: Call) -> Answer | None:
        if call.verb != "watch":
            return None
        self._began = self._began or time.monotonic()
        if self.over():
            return None
        self.ended[call.resource] += 1
        return Answer(200, b"", (("Content-Type", "application/json"),))

    def over(self) -> bool:
        return self._began is not None and time.monotonic() - self._began > self._seconds


class Maintenance(Fault):
    """For some seconds a load balancer answers everything with a page of its own, and 200."""

    def __init__(self, seconds: float) -> None:
        self._until: float | None = None
        self._seconds = seconds
        self.pages: Counter[str] = Counter()

    def before(self, call: Call) -> Answer | None:
        self._until = self._until or time.monotonic() + self._seconds
        if time.monotonic() > self._until:
            return None
        self.pages[call.verb] += 1
        return Answer(200, b"<html>\nWe are back soon.\n</html>\n", (("Content-Type", "text/html"),))


class BlackHole(Fault):
    """Each third renewal of the lease is never heard of again, as by a connection that a firewall has forgotten."""

    def __init__(self) -> None:
        self._renewals = 0
        self.lost = 0

    def before(self, call: Call) -> Silence | None:
        if (call.verb, call.resource) != ("update", "leases"):
            return None
        self._renewals += 1
        if self._renewals % 3:
            return None
        self.lost += 1
        return SILENCE


class Failing(Fault):
    """The API server fails to do what is asked of some objects, `times` times in all."""

    def __init__(self, resource: str, namespace: str, message: str, times: float = math.inf) -> None:
        self._which = (resource, namespace)
        self._message = message
        self._left = times
        self.failed = 0

    def before(self, call: Call) -> Answer | None:
        if not call.writes or (call.resource, call.namespace) != self._which or self._left <= 0:
            return None
        self._left -= 1
        self.failed += 1
        body = {"kind": "Status", "status": "Failure", "code": 500, "reason": "InternalError", "message": self._message}
        return Answer(500, json.dumps(body).encode())


class Unlistable(Fault):
    """A right is missing: what there is of a kind can be neither listed nor watched."""

    def __init__(self, resource: str) -> None:
        self._resource = resource

    def before(self, call: Call) -> Answer | None:
        refuses = call.verb in ("list", "watch") and call.resource == self._resource
        return refusal(403, "Forbidden") if refuses else None


class Losing(Fault):
    """Watches lose events; with `bookmarks`, they do not even tell that they live."""

    def __init__(self, *, bookmarks: bool) -> None:
        self._bookmarks = bookmarks
        self.lost = 0

    def event(self, call: Call, event: Event) -> Event | None:
        if event["type"] == "BOOKMARK" and not self._bookmarks:
            return event
        self.lost += 1
        return None


class Lying(Fault):
    """Watches call what has changed deleted; while `mute`, lists of it are refused."""

    def __init__(self, resource: str, *, mute: bool = False) -> None:
        self._resource = resource
        self.mute = mute
        self.lies = 0

    def before(self, call: Call) -> Answer | None:
        refuses = self.mute and call.verb == "list" and call.resource == self._resource
        return refusal(500, REFUSALS[500]) if refuses else None

    def event(self, call: Call, event: Event) -> Event:
        if call.resource != self._resource or event["type"] != "MODIFIED":
            return event
        self.lies += 1
        return {**event, "type": "DELETED"}


class Stale(Fault):
    """Once frozen, lists and reads are answered as they were the first time."""

    def __init__(self) -> None:
        self.frozen = False
        self.stale = 0
        self._first: dict[str, Answer] = {}

    def before(self, call: Call) -> Answer | None:
        if not self.frozen or call.verb not in ("get", "list") or call.resource == "leases":
            return None
        found = self._first.get(_url(call))
        self.stale += found is not None
        return found

    def after(self, call: Call, answer: Answer) -> Answer:
        if call.verb in ("get", "list") and not self.frozen:
            self._first[_url(call)] = answer
        return answer


def _url(call: Call) -> str:
    return f"{call.path}?{sorted(call.query.items())}"


def _counts(call: Call) -> bool:
    return call.writes and call.resource not in APART
