"""Every error as problem+json."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from server.errors import BadRequest, Problem
from server.http.schemas import ProblemModel

MEDIA_TYPE = "application/problem+json"
# Every error of every route. `Api.openapi` adds the schema: FastAPI would give it the media type of the
# answers without an error.
RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "An error",
        "content": {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{ProblemModel.__name__}"}}},
    }
}


def answer(body: dict[str, Any]) -> JSONResponse:
    """A problem document as an answer."""
    headers = {"Retry-After": str(body["retry_after_s"])} if "retry_after_s" in body else {}
    if body["status"] == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body, body["status"], headers, media_type=MEDIA_TYPE)


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
        missing = first["type"] == "missing"
        detail = f"{field} is missing; this call needs it" if missing else f"{field}: {first['msg']}"
        return answer(BadRequest(detail).body())

    @app.exception_handler(HTTPException)
    async def from_framework(request: Request, error: HTTPException) -> JSONResponse:
        phrase = HTTPStatus(error.status_code).phrase
        path = request.scope["path"]  # not request.url, which a malformed Host header breaks
        code = phrase.lower().replace(" ", "-")
        body = {
            "type": f"urn:resight:problem:{code}",
            "title": phrase,
            "status": error.status_code,
            "code": code,
            "detail": f"{request.method} {path}: {error.detail}",
        }
        response = answer(body)
        response.headers.update(error.headers or {})  # Allow of a 405
        return response
