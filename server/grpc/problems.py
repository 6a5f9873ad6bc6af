"""Problems as gRPC statuses."""

from __future__ import annotations

import logging
from typing import Any

import grpc

from server.errors import Problem, StoreUnavailable

log = logging.getLogger("resight")
CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.FAILED_PRECONDITION,
    503: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


async def abort(context: Any, method: str, error: Exception) -> None:
    """Ends a call with the status of an error: the problem's sentence, or INTERNAL and a line in the log."""
    if isinstance(error, Problem):
        trailers = [("resight-code", error.code)] + [
            (f"resight-{k.replace('_', '-')}", _ascii(v)) for k, v in error.facts.items()
        ]
        code = grpc.StatusCode.UNAVAILABLE if isinstance(error, StoreUnavailable) else CODES[error.status]
        await context.abort(code, error.detail, tuple(trailers))
    log.exception("%s failed", method, exc_info=error)
    await context.abort(
        grpc.StatusCode.INTERNAL, "something went wrong in the server; its log has the details"
    )


def _ascii(value: Any) -> str:
    """A fact as a trailer, which holds printable ASCII only."""
    text = str(value).encode("ascii", "backslashreplace").decode()
    return "".join(c if c.isprintable() else "?" for c in text)
