"""`/session`: a browser signs in with an API key, asks who it is, and signs out."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from server.auth import Auth
from server.errors import Problem
from server.fields import iso
from server.http.access import session_cookie, session_token
from server.http.declared import DeclaredRoute
from server.sessions import CSRF_HEADER, Session, Sessions

router = APIRouter(route_class=DeclaredRoute, include_in_schema=False)
_NO_STORE = {"Cache-Control": "no-store"}


class SignInModel(BaseModel):
    """Body of `POST /session`."""

    key: str = Field(min_length=1)
    model_config = ConfigDict(extra="forbid", strict=True)


class SessionModel(BaseModel):
    """Who the browser is."""

    required: bool = Field(description="whether this server wants a key at all")
    scope: Literal["read", "write", "admin"] | None = Field(description="what it may do; null: not signed in")
    key: str | None = Field(description="id of the session's key")
    csrf_token: str | None = Field(description=f"for the header {CSRF_HEADER} of whatever is no GET")
    ends_at: str | None = Field(description="ISO 8601, UTC")

    @classmethod
    def of(cls, session: Session | None) -> SessionModel:
        """A session, or the lack of one, at a server that wants a key."""
        if session is None:
            return cls(required=True, scope=None, key=None, csrf_token=None, ends_at=None)
        return cls.model_validate(
            {
                "required": True,
                "scope": session.scope,
                "key": session.key_id,
                "csrf_token": session.csrf_token,
                "ends_at": iso(session.ends_at),
            }
        )


_LOCAL = SessionModel(required=False, scope="admin", key=None, csrf_token=None, ends_at=None)


@router.post("/session", status_code=201)
async def sign_in(request: Request, response: Response, body: SignInModel) -> SessionModel:
    """A session from an API key. The cookie is of this origin alone and no script can read it."""
    if not _auth(request).required:
        return _LOCAL
    sessions = _sessions(request)
    token, session = await sessions.begin(body.key.strip())
    earlier = session_token(request)
    if earlier is not None:
        sessions.end(earlier)
    response.headers.update(_NO_STORE)
    response.set_cookie(
        session_cookie(request),
        token,
        max_age=int(sessions.lifetime_s),
        path=_path(request),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return SessionModel.of(session)


@router.get("/session")
async def who(request: Request, response: Response) -> SessionModel:
    """Who this browser is; nobody where it is not signed in, or no longer."""
    response.headers.update(_NO_STORE)
    if not _auth(request).required:
        return _LOCAL
    token = session_token(request)
    if token is None:
        return SessionModel.of(None)
    try:
        return SessionModel.of(await _sessions(request).get(token))
    except Problem as problem:
        if problem.status != 401:
            raise
        return SessionModel.of(None)


@router.delete("/session", status_code=204)
async def sign_out(request: Request, response: Response) -> None:
    """Ends the session. Pages of other origins cannot: the cookie does not come with their requests."""
    token = session_token(request)
    if token is not None:
        _sessions(request).end(token)
    response.delete_cookie(session_cookie(request), path=_path(request), httponly=True, samesite="strict")


def _auth(request: Request) -> Auth:
    auth: Auth = request.app.state.auth
    return auth


def _sessions(request: Request) -> Sessions:
    sessions: Sessions = request.app.state.sessions
    return sessions


def _path(request: Request) -> str:
    return f"{request.scope.get('root_path', '')}/"
