"""Remote: what the loader needs to know of a place that weights come from, and what can go wrong there."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import httpx2

from tomoul.plan.loading import LoadFailure

CHUNK_BYTES = 64 * 1024
"""Least piece to gather before it is written; what is gathered is lost when a connection is cut."""
TIMEOUT_SECONDS = 60.0
"""How long one read may bring nothing before the connection is given up and the download goes on with another."""

LONGEST_AFTER = 300.0
"""Longest time, in seconds, for which a server is left alone because it says so."""

_TOLD = 160
_BEGIN = re.compile(r"bytes (\d+)-")


AS_IT_IS = {"Accept-Encoding": "identity"}
"""Header of downloads: offsets and checksums are of the bytes themselves, and content networks compress some."""


class LoadError(Exception):
    """Trying again will not help. The message says what is wrong, `plan.loading.WAY_OUT` by the kind what to do."""

    def __init__(self, message: str, kind: LoadFailure = LoadFailure.UNSUITABLE) -> None:
        super().__init__(message)
        self.kind = kind


class TransientError(Exception):
    """Trying again may help: the network, or a server that is busy or broken."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        """`after`: seconds for which the server asks to be left alone."""
        super().__init__(message)
        self.after = min(after, LONGEST_AFTER)


@dataclass(frozen=True)
class RemoteFile:
    """One file at its source."""

    path: str
    """Path below the source's folder, with `/`."""
    size: int
    """In bytes."""
    checksum: str
    """`<algorithm>:<hex>`, as `checksum.matches` takes it."""
    address: str
    """What the source finds it by: a URL, a key, a digest."""
    version: str = ""
    """ETag, where the file could be overwritten while it is read."""


class Remote(Protocol):
    """A place that weights come from. Both methods raise LoadError or TransientError."""

    def files(self) -> Sequence[RemoteFile]:
        """The files that an engine needs, at least one."""
        ...

    def read(self, file: RemoteFile, offset: int) -> Iterator[bytes]:
        """The bytes of a file from `offset` on."""
        ...


def sound_secret(text: str, what: str) -> str:
    """A secret without the end of its line, which `echo` and editors leave in Secrets; LoadError if it is none.

    HTTP clients repeat a header that they cannot send in their errors, which end in logs and statuses.
    """
    found = text.strip()
    if not all("!" <= each <= "~" for each in found):
        raise LoadError(
            f"{what} has a character that none has: a line's end, a space, or none of ASCII's", LoadFailure.REFUSED
        )
    return found


def http_error(answer: httpx2.Response, what: str) -> LoadError | TransientError:
    """The error that an answer with a status of 400 or more means."""
    return status_error(answer.status_code, what, retry_after=answer.headers.get("Retry-After", ""))


def status_error(status: int, what: str, told: str = "", *, retry_after: str = "") -> LoadError | TransientError:
    """The error that an HTTP status of 400 or more means; `told` are the server's own words, if it has any."""
    message = f"{what}: HTTP {status}" + (f" ({' '.join(told.split())[:_TOLD]})" if told else "")
    if status in (408, 425, 429) or status >= 500:
        return TransientError(message, float(retry_after) if retry_after.isdecimal() else 0.0)
    kinds = {401: LoadFailure.REFUSED, 403: LoadFailure.REFUSED, 404: LoadFailure.NOT_FOUND, 410: LoadFailure.NOT_FOUND}
    return LoadError(message, kinds.get(status, LoadFailure.UNSUITABLE))


def bytes_from(answer: httpx2.Response, file: RemoteFile, offset: int, what: str) -> Iterator[bytes]:
    """The file's bytes from `offset` on, of an answer that may hold more: not everybody serves parts of files."""
    found = _BEGIN.match(answer.headers.get("Content-Range", ""))
    begin = 0 if answer.status_code != 206 else int(found[1]) if found else offset
    if begin > offset:
        raise TransientError(f"{what}: the answer began at {begin} in the place of {offset}")
    length = answer.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) != file.size - begin:
        # Such as a network's own page; what is once on the volume has to be downloaded anew.
        raise TransientError(f"{what}: answered with {length} bytes in the place of {file.size - begin}")
    skipped = offset - begin
    try:
        # Without a size: what is gathered to one is lost when the connection is cut.
        for piece in answer.iter_raw():
            if rest := piece[skipped:]:
                yield rest
            skipped = max(skipped - len(piece), 0)
    except (httpx2.HTTPError, OSError) as error:
        raise TransientError(f"{what}: {error!r}") from error
