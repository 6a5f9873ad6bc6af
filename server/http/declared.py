"""Every route takes what it declares and nothing else.

A parameter that nobody reads does harm in silence: `topk=1` returns ten matches, a second `identity`
erases somebody else. So a request with an unknown, repeated, empty or misplaced parameter is a 400 that names
it and says what is known.
"""

from __future__ import annotations

import typing
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from fastapi import Request, Response, params
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect

from server.errors import BadRequest, Problem, TooLarge
from server.fields.json_text import json_of, shown

_FIELDS = 100  # of a form, beside the vectors of a request
EMPTY_IS_NONE: Any = {"x-empty-is-none": True}  # json_schema_extra of a field that may be sent empty


def none_sent() -> list[Any]:
    """The default of a form field that may hold several values.

    `list` itself is slow here: pydantic asks for a factory's signature at each request, and Python gets that
    of a builtin by parsing text, which was a tenth of the event loop's work for a query.
    """
    return []


class DeclaredRoute(APIRoute):
    """A route that compares each request with the parameters it declares, before anything is done."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler behind the comparison."""
        handle = super().get_route_handler()
        declared = _Declared(self.dependant)

        async def compared(request: Request) -> Response:
            await declared.check(request)
            return await handle(request)

        return compared


class _Declared:
    """What a route takes."""

    def __init__(self, dependant: Dependant) -> None:
        self.query: dict[str, Any] = {}
        self.headers: dict[str, Any] = {}
        self.body: dict[str, Any] = {}
        self._add(dependant)
        self.takes_form = any(isinstance(info, params.Form) for info in self.body.values())

    def _add(self, dependant: Dependant) -> None:
        """Adds what a function takes, and what the functions take that it depends on."""
        self.query |= {field.alias: field.field_info for field in dependant.query_params}
        self.headers |= {field.alias: field.field_info for field in dependant.header_params}
        self.body |= {field.alias: field.field_info for field in dependant.body_params}
        for needed in dependant.dependencies:
            self._add(needed)

    async def check(self, request: Request) -> None:
        """Raises BadRequest for what is not declared."""
        _check_names(
            request.query_params.multi_items(), self.query, "query parameter", "form field", self.body
        )
        for name in self.headers:
            values = request.headers.getlist(name)
            if len(values) > 1:
                raise BadRequest(f"the header {name} is sent {len(values)} times; send it once")
            if values == [""]:
                raise BadRequest(f"the header {name} is empty; leave it out or give it a value")
        if self.takes_form:
            await self._check_form(request)
        elif self.body:
            await self._check_json(request)
        elif request.headers.get("content-length", "0").strip("0") or "transfer-encoding" in request.headers:
            raise BadRequest(
                f"{request.method} {request.url.path} takes no body; send its parameters in the URL: "
                f"{_listed(self.query)}"
            )

    async def _check_form(self, request: Request) -> None:
        kind = _media_type(request)
        if kind not in ("multipart/form-data", "application/x-www-form-urlencoded"):
            raise BadRequest(f"the body's Content-Type is {shown(kind)}; send multipart/form-data")
        settings = request.app.state.service.settings
        most = max(settings.max_images, settings.max_tracklet)
        try:
            # One file more than any call takes, so that the call itself says how many it takes.
            form = await request.form(
                max_files=most + 1, max_fields=most + _FIELDS, max_part_size=settings.max_request_bytes
            )
        except (Problem, ClientDisconnect):
            raise
        except (HTTPException, MultiPartException) as error:
            if "Too many fields" in str(error):
                raise TooLarge(
                    f"more than {most + _FIELDS} fields in one request; at most {most} vectors are accepted"
                ) from error
            if "Too many files" in str(error):
                raise TooLarge(
                    f"more than {most} images in one request; at most {most} are accepted"
                ) from error
            raise BadRequest(f"the body cannot be read as a form: {error}") from error
        except Exception as error:  # bytes that are no form
            raise BadRequest("the body cannot be read as a form") from error
        try:
            self._check_fields(form)
        except BadRequest:
            await form.close()  # FastAPI, which closes the files of a form, has not seen this one
            raise

    def _check_fields(self, form: FormData) -> None:
        _check_names(form.multi_items(), self.body, "form field", "query parameter", self.query)
        for name, value in form.multi_items():
            is_file = isinstance(self.body[name], params.File)
            if is_file and not isinstance(value, UploadFile):
                raise BadRequest(f"{name} is sent as text; send it as a file, with a file name")
            if not is_file and isinstance(value, UploadFile):
                raise BadRequest(f"{name} is sent as a file; send it as text, without a file name")

    async def _check_json(self, request: Request) -> None:
        kind = _media_type(request)
        if kind != "application/json":
            raise BadRequest(f"the body's Content-Type is {shown(kind)}; send application/json")
        try:
            text = (await request.body()).decode()
        except UnicodeDecodeError as error:
            raise BadRequest(f"the body is not UTF-8: {error.reason} at byte {error.start}") from error
        json_of(text, "the body")


def _check_names(
    sent: Iterable[tuple[str, Any]],
    known: dict[str, Any],
    kind: str,
    other_kind: str,
    other: dict[str, Any],
) -> None:
    sent = list(sent)
    counts = Counter(name for name, _ in sent)
    for name, value in sent:
        if name not in known:
            hint = f"; here it is a {other_kind}" if name in other else ""
            raise BadRequest(f"unknown {kind} {shown(name)}{hint}; known: {_listed(known)}")
        if counts[name] > 1 and not _takes_many(known[name].annotation):
            raise BadRequest(f"{kind} {name} is sent {counts[name]} times; send it once")
        if value == "" and known[name].json_schema_extra != EMPTY_IS_NONE:
            raise BadRequest(f"{kind} {name} is empty; leave it out or give it a value")


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _takes_many(annotation: Any) -> bool:
    return typing.get_origin(annotation) is list or any(map(_takes_many, typing.get_args(annotation)))


def _listed(known: dict[str, Any]) -> str:
    return ", ".join(known) or "none"
