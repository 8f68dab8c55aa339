"""What may come from the prompt cache, worked out from the calls alone."""

from collections.abc import Iterable, Mapping
from enum import Enum
from itertools import takewhile

from tests.truth.endpoint import Call, Counted, Endpoint

TEMPLATE_TOKENS = 6
"""All prompts begin with the chat template's first tokens."""
BEGINNING = 16
"""More tokens than two prompts share by the template and by chance."""
EVERYTHING = 1 << 30


class Scope(Enum):
    """Whose earlier calls a call may find in the cache of a model."""

    NOBODY = "nobody's"
    TENANT = "its own tenant's"
    ALL = "everybody's"


class Oracle:
    """Judges what an endpoint's answers say by all calls that it has answered before."""

    def __init__(self, endpoint: Endpoint, scopes: Mapping[str, Scope]) -> None:
        """`scopes` by model."""
        self.endpoint, self.scopes = endpoint, scopes
        self.hits = 0
        self.lies: list[str] = []

    def judge(self, calls: Iterable[tuple[Call, Counted]]) -> None:
        """Fail if more came from the cache than could be there by calls that may be found.

        The calls, the newest of the endpoint, ran at the same time, so each may have found what any other left.
        """
        together = list(calls)
        before = self.endpoint.asked[: -len(together)]
        for place, (call, counted) in enumerate(together):
            others = [other for index, (other, _) in enumerate(together) if index != place]
            allowed = self._allowed(call, [*before, *others])
            if counted.cached > allowed:
                last = "\n".join(map(str, before[-12:]))
                self.lies.append(
                    f"{counted.cached} tokens cached, at most {allowed} could be there: {call}, after\n{last}"
                )
                raise AssertionError(self.lies[-1])
            self.hits += counted.cached > BEGINNING

    def cacheable(self, call: Call) -> bool:
        """Whether the same call again would find itself."""
        return not call.no_store and self.scopes[call.model] is not Scope.NOBODY

    def _allowed(self, call: Call, earlier: Iterable[Call]) -> int:
        if not self.cacheable(call):
            return 0
        anybodys = self.scopes[call.model] is Scope.ALL
        found = (
            _common(call.prompt, other.prompt)
            for other in earlier
            if other.model == call.model and not other.no_store and (anybodys or other.tenant == call.tenant)
        )
        return max(found, default=0)


def _common(one: str, other: str) -> int:
    """Tokens with which both prompts begin; the tests' models have one for each byte, and prompts are ASCII."""
    if one == other:
        return EVERYTHING
    return TEMPLATE_TOKENS + sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
