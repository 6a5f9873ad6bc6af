"""What a route needs from the application: the service, and who is asking."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.dependencies.models import Dependant
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from server.auth import Auth, key_of
from server.errors import Problem
from server.http.connection import KEY
from server.http.declared import DeclaredRoute
from server.service import Service
from server.sessions import CSRF_HEADER, Sessions


def service_of(request: Request) -> Service:
    """The application's service."""
    service: Service = request.app.state.service
    return service


class KeyedRoute(DeclaredRoute):
    """A route that checks the API key before the first byte of the body is read.

    Which scope the key needs is said by the route's parameter of type Reader, Writer or Admin. A route
    without such a parameter belongs to a router without keys; making it here raises TypeError.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler with the check before it."""
        scope, handle = _scope_of(self.dependant), super().get_route_handler()
        if scope is None:
            raise TypeError(f"{self.path} has no parameter of type Reader, Writer or Admin")

        async def checked(request: Request) -> Response:
            request.state.actor = await _admitted(request, scope)
            if connection := request.scope.get(KEY):
                connection.all.recognise(connection)
            request.app.state.service.reembedding.require_ended()
            try:
                return await handle(request)
            except HTTPException as error:
                # FastAPI answers 400 to whatever happens while a body is read; the cause says it better.
                if isinstance(error.__cause__, (Problem, ClientDisconnect)):
                    raise error.__cause__ from None
                raise

        return checked


async def _admitted(request: Request, scope: str) -> str:
    """The actor of a request, by the key in its headers or, without one, by the session of a browser. Raises
    Unauthorized or Forbidden."""
    auth: Auth = request.app.state.auth
    key = key_of(request.headers.get("authorization"), request.headers.get("x-api-key"))
    token = session_token(request)
    if key is None and token is not None and auth.required:
        sessions: Sessions = request.app.state.sessions
        csrf_token, changes = request.headers.get(CSRF_HEADER), request.method not in ("GET", "HEAD")
        return await sessions.admit(token, scope, csrf_token, changes)
    return await auth.admit(key, scope)


def session_cookie(request: Request) -> str:
    """The name of the cookie. Browsers send a host's cookies to all of its ports, so it names the port."""
    server = request.scope.get("server")
    return f"resight-session-{server[1] if server else 0}"


def session_token(request: Request) -> str | None:
    """What the session's cookie holds."""
    return request.cookies.get(session_cookie(request)) or None


def _actor(request: Request) -> str:
    actor: str = request.state.actor
    return actor


async def _read(request: Request) -> str:
    return _actor(request)


async def _write(request: Request) -> str:
    return _actor(request)


async def _admin(request: Request) -> str:
    return _actor(request)


_SCOPES = {_read: "read", _write: "write", _admin: "admin"}


def _scope_of(dependant: Dependant) -> str | None:
    for dependency in dependant.dependencies:
        if dependency.call in _SCOPES:
            return _SCOPES[dependency.call]
    return None


ServiceDep = Annotated[Service, Depends(service_of)]
Reader = Annotated[str, Depends(_read)]
Writer = Annotated[str, Depends(_write)]
Admin = Annotated[str, Depends(_admin)]
