"""What can go wrong, once for both protocols: every error names what, where, and what to do."""

from __future__ import annotations

from typing import Any, ClassVar

FAILURE = "something went wrong in the server; its log has the details"  # of an exception nobody expected


class Problem(Exception):
    """An answer that is an error: problem+json (RFC 9457) over HTTP, a status with the same text over gRPC.

    Args:
        detail: the sentence for the person who reads it.
        facts: further members of the answer, for programs (`index` of a bad crop, `retry_after_s`, ...).
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"  # stable, for programs
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, **facts: Any) -> None:
        super().__init__(detail)
        # What a detail quotes may be no text that UTF-8 can hold, like half of a surrogate pair.
        self.detail, self.facts = detail.encode("utf-8", "backslashreplace").decode(), facts

    def body(self) -> dict[str, Any]:
        """The members of the problem document."""
        kind = f"urn:resight:problem:{self.code}"
        return {
            "type": kind,
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            **self.facts,
        }


class BadRequest(Problem):
    """A field that is missing, malformed or contradicts another."""

    status, code, title = 400, "bad-request", "Bad request"


class Unauthorized(Problem):
    """No key, or one that is not known."""

    status, code, title = 401, "unauthorized", "API key required"


class Forbidden(Problem):
    """A known key without the scope."""

    status, code, title = 403, "forbidden", "Scope missing"


class OtherSite(Forbidden):
    """A browser sent it for the page of another site."""

    code, title = "other-site", "Page of another site"


class NotFound(Problem):
    """No such item, site or job."""

    status, code, title = 404, "not-found", "Not found"


class RequestTimeout(Problem):
    """The request did not arrive in time."""

    status, code, title = 408, "request-timeout", "Request timeout"


class Conflict(Problem):
    """The state of the site does not allow it now."""

    status, code, title = 409, "conflict", "Conflict"


class TooLarge(Problem):
    """More bytes, pixels or crops than are accepted."""

    status, code, title = 413, "too-large", "Too large"


class UnsupportedMedia(Problem):
    """A format that is not accepted."""

    status, code, title = 415, "unsupported-media", "Unsupported image"


class Unprocessable(Problem):
    """Understood, but it cannot be done with this content."""

    status, code, title = 422, "unprocessable", "Unprocessable"


class HeadersTooLarge(Problem):
    """More header bytes than are accepted."""

    status, code, title = 431, "headers-too-large", "Headers too large"


class Overloaded(Problem):
    """Refused before memory grows; worth trying again after `retry_after_s`."""

    status, code, title = 503, "overloaded", "Overloaded"

    def __init__(self, detail: str, retry_after_s: int = 1, **facts: Any) -> None:
        super().__init__(detail, retry_after_s=retry_after_s, **facts)


class StoreUnavailable(Problem):
    """The database failed; nothing of the request was committed. Try again after `retry_after_s`."""

    status, code, title = 503, "store-unavailable", "Store unavailable"

    def __init__(self, detail: str, retry_after_s: int = 5, **facts: Any) -> None:
        super().__init__(detail, retry_after_s=retry_after_s, **facts)


class IndexUnavailable(Problem):
    """The index of galleries is away, like a Milvus that does not answer: no query is answered, everything
    else is. Try again after `retry_after_s`."""

    status, code, title = 503, "index-unavailable", "Index unavailable"

    def __init__(self, detail: str, retry_after_s: int = 5, **facts: Any) -> None:
        super().__init__(detail, retry_after_s=retry_after_s, **facts)


class Stopping(Overloaded):
    """The server is ending; whoever takes its place will answer."""

    code, title = "stopping", "Stopping"


class EngineClosed(Overloaded):
    """The engine was closed, since others were used more recently; the next request gets a new one."""

    code, title = "engine-closed", "Engine closed"


class EngineFailed(Overloaded):
    """The engine of one profile cannot be compiled; every other profile is served."""

    code, title = "engine-failed", "Engine failed"


class StartError(RuntimeError):
    """The server cannot start with this bundle, store or setting; the sentence says what to change."""


class GalleryInUse(StartError):
    """Another process has the gallery or the data folder."""


class StoreAway(StartError):
    """The database does not answer, or fails."""
