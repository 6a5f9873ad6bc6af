"""Problems as gRPC statuses."""

from __future__ import annotations

import logging
from typing import Any

import grpc

from server.errors import FAILURE, IndexUnavailable, Problem, Stopping, StoreUnavailable

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
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


async def abort(context: Any, method: str, error: Exception) -> None:
    """Ends a call with the status and the sentence of a problem. Any other error is logged first."""
    if isinstance(error, Problem):
        problem = error
    else:
        log.exception("%s failed", method, exc_info=error)
        problem = Problem(FAILURE)
    trailers = [("resight-code", problem.code)]
    trailers += [(f"resight-{name.replace('_', '-')}", _ascii(v)) for name, v in problem.facts.items()]
    await context.abort(_status(problem), problem.detail, tuple(trailers))


def _status(problem: Problem) -> grpc.StatusCode:
    if isinstance(problem, (StoreUnavailable, IndexUnavailable, Stopping)):  # fewer calls would not help
        return grpc.StatusCode.UNAVAILABLE
    return CODES[problem.status]


def _ascii(value: Any) -> str:
    """A fact as a trailer, which holds printable ASCII only."""
    text = str(value).encode("ascii", "backslashreplace").decode()
    return "".join(c if c.isprintable() else "?" for c in text)
