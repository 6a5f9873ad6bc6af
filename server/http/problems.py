"""Every error as problem+json."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from server.errors import Problem
from server.http.schemas import ProblemModel

log = logging.getLogger("resight")
RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {"model": ProblemModel, "description": "An error, as application/problem+json"}
}


def answer(body: dict[str, Any]) -> JSONResponse:
    """A problem document as an answer."""
    headers = {"Retry-After": str(body["retry_after_s"])} if "retry_after_s" in body else {}
    if body["status"] == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body, body["status"], headers, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Registers the handlers."""

    @app.exception_handler(Problem)
    async def known(request: Request, error: Problem) -> JSONResponse:
        return answer(error.body())

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        field = (
            ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
            or "the body"
        )
        return answer(_plain(400, "bad-request", f"{field}: {first['msg']}"))

    @app.exception_handler(HTTPException)
    async def from_framework(request: Request, error: HTTPException) -> JSONResponse:
        phrase = HTTPStatus(error.status_code).phrase
        return answer(
            _plain(
                error.status_code,
                phrase.lower().replace(" ", "-"),
                f"{request.method} {request.url.path}: {error.detail}",
            )
        )

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> JSONResponse:
        log.exception("%s %s failed", request.method, request.url.path, exc_info=error)
        return answer(_plain(500, "internal", "something went wrong in the server; its log has the details"))


def _plain(status: int, code: str, detail: str) -> dict[str, Any]:
    return {
        "type": f"urn:resight:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
