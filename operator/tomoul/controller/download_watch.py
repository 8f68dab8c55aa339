"""Download watch: asks loaders how far they are, while there are any and only then.

A loader has no rights in the cluster, so it cannot write how far it is anywhere: who wants to know asks it, at a port
that the NetworkPolicy opens for the operator alone. Other ways need more: a token in the pod to write annotations,
or the operator's right to read logs, which includes those of engines and what they tell of prompts.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Literal, Protocol

from aiohttp import ClientError
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from tomoul.controller.asking import Rounds, ask_all, asking_session, read_pod
from tomoul.controller.observed import Observed
from tomoul.plan.loading import DownloadFact
from tomoul.plan.weights import LOADER_PORT
from tomoul.plan.world import Key

logger = logging.getLogger(__name__)

TELL_SECONDS = 30.0
"""A ModelDeployment hears at most this often of more bytes, each time of all its pods: one write of its status."""
STALL_SECONDS = 120
"""The loader gives a silent connection up after half of it, so that by then a second one has brought nothing."""
MOST_PODS = 16
"""Loaders that are asked of one ModelDeployment, the first by name; the status tells of one."""
LARGEST_BYTES = 16 * 1024
LONGEST_ERROR = 300
WAIT_SECONDS = 1800
"""Who waits has the stall of another, unless that is gone and its lock is not: no files take so long to look at."""
_STALLS_AFTER = {"Listing": STALL_SECONDS, "Downloading": STALL_SECONDS, "Waiting": WAIT_SECONDS}


_Count = Annotated[int, Field(ge=0, lt=2**62)]


class _Answer(BaseModel):
    """As `loader.progress` makes it; a newer loader may say more."""

    model_config = ConfigDict(extra="ignore", strict=True)
    state: Literal["Listing", "Waiting", "Downloading", "Verifying", "Done"]
    bytes: _Count
    total: _Count
    bytesPerSecond: _Count  # noqa: N815 - as it is called in the answer
    movedAt: AwareDatetime  # noqa: N815
    stillSeconds: _Count = 0  # noqa: N815
    error: str = ""


class LoaderReader(Protocol):
    """Asks the loader of one pod."""

    async def __call__(self, address: str) -> bytes:
        """What it answers; OSError, ClientError or TimeoutError if it does not, ValueError if that is too long."""
        ...


class DownloadWatch:
    """Keeps `Observed` up to date on the loaders that it is told of."""

    def __init__(
        self,
        observed: Observed,
        on_told: Callable[[Key], None],
        read: LoaderReader,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_told` hears of the ModelDeployments whose loaders have said something new."""
        self._observed = observed
        self._on_told = on_told
        self._read = read
        self._now = now
        self._monotonic = monotonic
        self._loading: dict[Key, dict[Key, str]] = {}
        self._told_at: dict[Key, float] = {}
        self._rounds = Rounds()

    def follow(self, model: Key, loading: Mapping[Key, str]) -> None:
        """The pods of a ModelDeployment whose loaders run, with their addresses; none any more if empty."""
        asked = {pod: loading[pod] for pod in sorted(loading)[:MOST_PODS]}
        for pod in self._loading.get(model, {}).keys() - asked.keys():
            self._observed.set_download(pod, None)
        if asked:
            self._loading[model] = asked
        else:
            self._loading.pop(model, None)
            self._told_at.pop(model, None)
        self._rounds.need(bool(self._loading))

    async def run(self) -> None:
        """Ask for ever."""
        await self._rounds.run(self.ask)

    async def ask(self) -> None:
        """Ask every loader once."""
        asked = {pod: address for loading in self._loading.values() for pod, address in loading.items()}
        answers = await ask_all(asked, self._asked)
        found = {pod: fact for pod, fact in answers.items() if fact is not None}
        for model, loading in list(self._loading.items()):
            # Some may have ended, or begun, while the loaders were asked.
            self._tell(model, {pod: found[pod] for pod in loading.keys() & found.keys()})

    def _tell(self, model: Key, found: Mapping[Key, DownloadFact]) -> None:
        known = self._observed.downloads
        news = {pod: fact for pod, fact in found.items() if _said(known.get(pod)) != _said(fact)}
        due = self._monotonic() - self._told_at.get(model, -math.inf) >= TELL_SECONDS
        turned = any(_stalls(known.get(pod)) != _stalls(fact) for pod, fact in news.items())
        if not news or not (due or turned):
            return
        for pod, fact in news.items():
            self._observed.set_download(pod, fact)
        self._told_at[model] = self._monotonic()
        self._on_told(model)

    async def _asked(self, pod: Key, address: str) -> DownloadFact | None:
        try:
            return parsed(await self._read(address), self._now())
        except (OSError, ClientError, TimeoutError, ValueError) as error:
            # One that has just begun does not listen yet, one that has just ended not any more.
            logger.info("the loader of pod %s/%s tells nothing: %r", *pod, error)
            return None


def parsed(answer: bytes, now: datetime) -> DownloadFact:
    """What a loader's answer says; ValueError if it is none."""
    told = _Answer.model_validate_json(answer)
    return DownloadFact(
        state=told.state,
        bytes=told.bytes,
        total=told.total,
        bytes_per_second=told.bytesPerSecond,
        updated=now.replace(microsecond=0),
        stalled_since=told.movedAt if told.stillSeconds >= _STALLS_AFTER.get(told.state, math.inf) else None,
        error=told.error[:LONGEST_ERROR],
    )


def _said(fact: DownloadFact | None) -> DownloadFact | None:
    """All but when it was said."""
    return replace(fact, updated=datetime.min.replace(tzinfo=UTC)) if fact is not None else None


def _stalls(fact: DownloadFact | None) -> bool:
    return fact is not None and fact.stalled_since is not None


async def read_loader(address: str, port: int = LOADER_PORT) -> bytes:
    """The answer of the loader in the pod with that IP address, as LoaderReader says."""
    async with asking_session() as session:
        return await read_pod(session, address, port, "/progress", largest=LARGEST_BYTES)
