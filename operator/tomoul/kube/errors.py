"""What the API server, or the way to it, can answer instead of a result."""

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
    """400 or 422: the API server refuses what was sent; sending it again does not help."""


class Unavailable(KubeError):
    """401, 5xx, no connection, no answer in time: worth another try later."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds that the server asked to wait, or None."""


class WebhookAway(Unavailable):
    """500: an admission webhook that the API server has to ask does not answer."""


class Throttled(Unavailable):
    """429: too many requests; wait `retry_after` seconds."""
