"""Containers: what is kept of a pod's containers, without what changes while nothing happens."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tomoul.plan.failures import telling_line
from tomoul.plan.podfact import ContainerFact, Termination

# Pulls fail and wait in turn, in the same words but for this.
_PULL_BACK_OFF = re.compile(r'^Back-off pulling image "[^"]*"(: ErrImagePull: )?')


def containers(status: Mapping[str, Any]) -> tuple[ContainerFact, ...]:
    """The containers of a pod with this status, init containers first."""
    return tuple(
        _container(each, init=init)
        for field, init in (("initContainerStatuses", True), ("containerStatuses", False))
        for each in status.get(field, ())
    )


def time_of(text: str | None) -> datetime | None:
    """A time as the API server writes it; None for none."""
    return datetime.fromisoformat(text) if text else None


def _container(status: Mapping[str, Any], *, init: bool) -> ContainerFact:
    state = status.get("state") or {}
    waiting = state.get("waiting") or {}
    reason = waiting.get("reason", "")
    # The message of a crash loop has the seconds until the next start, which is no news.
    message = "" if reason == "CrashLoopBackOff" else waiting.get("message", "")
    ended = state.get("terminated") or (status.get("lastState") or {}).get("terminated")
    return ContainerFact(
        name=status["name"],
        init=init,
        ready=bool(status.get("ready")),
        started=bool(status.get("started")),
        running_since=time_of((state.get("running") or {}).get("startedAt")),
        waiting=reason,
        waiting_message=_PULL_BACK_OFF.sub("", message),
        ended=Termination(ended.get("exitCode", 0), ended.get("reason", ""), telling_line(ended.get("message", "")))
        if ended
        else None,
    )
