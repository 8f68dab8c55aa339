"""Teller: what a person is told of what happens, each thing once."""

from collections.abc import Callable, Iterable, Sequence

from tomoul.local.process import Process


class Teller:
    """Reports what is new since it was last asked to."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._messages: frozenset[str] = frozenset()
        self._ends: dict[Process, int] = {}
        self._words: dict[Process, str] = {}

    def tell_messages(self, messages: Sequence[str]) -> None:
        """Those that were not among the last."""
        for message in messages:
            if message not in self._messages:
                self._report(message)
        self._messages = frozenset(messages)

    def tell_ends(self, processes: Iterable[Process]) -> None:
        """Processes that have ended by themselves; why, if they say; and no word twice while none becomes ready."""
        for process in processes:
            if process.ready:
                self._words.pop(process, None)
            if process.ends <= self._ends.get(process, 0):
                continue
            self._ends[process] = process.ends
            words = f"{process.name} has ended, status {process.last_exit}; it is started again"
            # What a signal has ended did not know it.
            if process.last_exit is not None and process.last_exit > 0 and (last := process.last_words(1)):
                words += f"; its log ends: {last[0]}"
            if words != self._words.get(process):
                self._words[process] = words
                self._report(words)
