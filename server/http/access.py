"""What a route needs from the application: the service, and who is asking."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from server.auth import Auth
from server.service import Service


def service_of(request: Request) -> Service:
    """The application's service."""
    found: Service = request.app.state.service
    return found


def _actor(request: Request, scope: str) -> str:
    auth: Auth = request.app.state.auth
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    key = request.headers.get("x-api-key") or (token if kind.lower() == "bearer" else None)
    return auth.check(key, scope)


def _read(request: Request) -> str:
    return _actor(request, "read")


def _write(request: Request) -> str:
    return _actor(request, "write")


def _admin(request: Request) -> str:
    return _actor(request, "admin")


ServiceDep = Annotated[Service, Depends(service_of)]
Reader = Annotated[str, Depends(_read)]
Writer = Annotated[str, Depends(_write)]
Admin = Annotated[str, Depends(_admin)]
