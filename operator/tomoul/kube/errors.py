"""What the API server, or the way to it, can answer instead of a result."""

from collections.abc import Mapping

import orjson

# ruff: noqa: N818 - these are the API server's own words


class KubeError(Exception):
    """The API server did not do what it was asked for."""


class NotFound(KubeError):
    """404: there is no such object, or no such kind."""


class Conflict(KubeError):
    """409: the object exists already, has changed since it was read, or is another one (uid)."""


class Gone(KubeError):
    """410: the resourceVersion to watch from is too old; list again."""


class Forbidden(KubeError):
    """403: this ServiceAccount may not do that."""


class Invalid(KubeError):
    """400, 422 and what is like them: the API server refuses what was sent; sending it again does not help."""


class Unavailable(KubeError):
    """401, 5xx, no connection, no answer in time: worth another try later."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds that the server asked to wait, or None."""


class InternalError(Unavailable):
    """500: what the API server has to do for this object has failed, such as to find an address for a Service."""


class WebhookAway(InternalError):
    """500: an admission webhook that the API server has to ask does not answer."""


class Throttled(Unavailable):
    """429: too many requests; wait `retry_after` seconds."""


_BY_STATUS: Mapping[int, type[KubeError]] = {
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
}
_WORTH_ANOTHER_TRY = (401, 408)


def error_of(status: int, message: str, retry_after: float | None = None) -> KubeError:
    """What an HTTP status of the API server means; `retry_after` are the seconds that it asked to wait."""
    told = f"{status}: {message}"
    if status == 500 and "failed to create typed patch object" in message:
        # What an apply with an unknown or mistyped field gets; waiting does not help.
        return Invalid(told)
    if status == 500 and "failed calling webhook" in message:
        return WebhookAway(told, retry_after)
    if status == 500:
        return InternalError(told, retry_after)
    if status == 429:
        return Throttled(told, retry_after if retry_after is not None else 1.0)
    if status in _BY_STATUS:
        return _BY_STATUS[status](told)
    if 400 <= status < 500 and status not in _WORTH_ANOTHER_TRY:
        return Invalid(told)
    return Unavailable(told, retry_after)


def words_of(text: str) -> str:
    """The words of a `Status`, or the text itself where a proxy answered."""
    try:
        status = orjson.loads(text)
    except ValueError:
        return text[:500]
    return str(status.get("message", text[:500])) if isinstance(status, dict) else text[:500]
