"""Callers that go on calling while something happens to the platform."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx

from e2e.gateway import CHAT, Gateway
from e2e.progress import Progress
from e2e.waiting import eventually


@contextmanager
def calling(gateways: Sequence[Gateway], progress: Progress, what: str) -> Iterator[None]:
    """Calls and streams at each gateway before, while and after something happens; all are answered, to their end."""
    stop = threading.Event()
    outcomes: list[str] = []

    def more() -> None:
        reached = len(outcomes) + 25
        eventually(lambda: len(outcomes), lambda count: count >= reached)

    with ThreadPoolExecutor(2 * len(gateways)) as callers:
        running = [
            callers.submit(until, stop, gateway, outcomes)
            for gateway in gateways
            for until in (_call_until, _stream_until)
        ]
        try:
            more()
            yield
            more()
        finally:
            stop.set()
    for each in running:
        each.result()
    progress.say(f"{len(outcomes)} calls and streams while {what}")
    assert set(outcomes) == {"200 eu-west"}


def _call_until(stop: threading.Event, gateway: Gateway, outcomes: list[str]) -> None:
    """Call without a pause until told to stop; add status and region, or the error, of every call."""
    while not stop.is_set():
        try:
            answer = gateway.chat("Hello", region="eu-west")
            known = answer.status_code == 200
            outcomes.append(f"{answer.status_code} {answer.headers['x-tomoul-region'] if known else answer.text}")
        except httpx.HTTPError as error:
            outcomes.append(repr(error))


def _stream_until(stop: threading.Event, gateway: Gateway, outcomes: list[str]) -> None:
    """Stream without a pause until told to stop; add status and region, or what went wrong, of every stream."""
    body = {"model": CHAT, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 48, "stream": True}
    while not stop.is_set():
        try:
            with gateway.client.stream(
                "POST", "/v1/chat/completions", json=body, headers={"X-Tomoul-Region": "eu-west"}
            ) as answer:
                text = answer.read().decode()
            whole = answer.status_code == 200 and '"finish_reason":"' in text and text.endswith("data: [DONE]\n\n")
            outcomes.append(f"{answer.status_code} {answer.headers['x-tomoul-region'] if whole else text}")
        except httpx.HTTPError as error:
            outcomes.append(repr(error))
