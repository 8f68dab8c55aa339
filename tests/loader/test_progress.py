"""What a loader says of itself: how far, how fast, and for how long nothing has come."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tomoul.loader.progress import WINDOW_SECONDS, Progress

BEGAN = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0
        self.progress = Progress(monotonic=lambda: self.seconds, now=lambda: BEGAN + timedelta(seconds=self.seconds))

    @property
    def said(self) -> dict[str, Any]:
        return self.progress.report()


def test_the_speed_is_that_of_the_last_half_minute_and_none_once_nothing_has_come_for_so_long() -> None:
    clock = Clock()
    clock.progress.begin(1000, 10_000)
    for _ in range(5):
        clock.seconds += 10
        clock.progress.add(100)
    assert clock.said["bytesPerSecond"] == 10
    clock.seconds += 2 * WINDOW_SECONDS
    assert clock.said["bytesPerSecond"] == 0


def test_silence_is_counted_from_the_last_byte_and_not_while_bytes_are_looked_at() -> None:
    clock = Clock()
    clock.progress.begin(0, 100)
    clock.progress.enter("Downloading")
    clock.progress.add(50)
    clock.seconds = 90
    assert (clock.said["stillSeconds"], clock.said["movedAt"]) == (90, "2026-01-01T12:00:00Z")
    with clock.progress.verifying():
        assert (clock.said["state"], clock.said["stillSeconds"]) == ("Verifying", 0)
        # Another file's bytes are right meanwhile.
        with clock.progress.verifying():
            clock.seconds = 1000
        assert clock.said["state"] == "Verifying"
    assert (clock.said["state"], clock.said["stillSeconds"]) == ("Downloading", 0)


def test_an_error_is_told_until_bytes_come_again() -> None:
    clock = Clock()
    clock.progress.failed("HTTP 503")
    assert clock.said["error"] == "HTTP 503"
    clock.progress.add(1)
    assert clock.said["error"] == ""
