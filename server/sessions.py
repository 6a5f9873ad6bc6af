"""Sessions of browsers: made from an API key, so that the page need not keep the key.

The browser gets a random token in a cookie that no script can read. Kept is the token's digest alone, in
memory: the end of the server ends every session. One ends with its key, and twelve hours after it began.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import secrets
import time

import anyio.to_thread

from server.auth import Auth
from server.errors import Forbidden, Unauthorized

LIFETIME_S = 12 * 3600.0  # a long shift
CSRF_HEADER = "X-CSRF-Token"
_MOST = 10_000  # sessions; the oldest makes room
_ENDED = "this session has ended; sign in again with an API key"


@dataclasses.dataclass(frozen=True)
class Session:
    """A browser that is signed in.

    Args:
        csrf_token: what a request that changes something has to send beside the cookie, which a browser sends
            by itself. ends_at: seconds since 1970.
    """

    key_id: str
    scope: str
    csrf_token: str
    ends_at: float


class Sessions:
    """The sessions there are.

    Args:
        lifetime_s: how long one lasts.
    """

    def __init__(self, auth: Auth, lifetime_s: float = LIFETIME_S) -> None:
        self.auth, self.lifetime_s = auth, lifetime_s
        self.by_digest: dict[str, tuple[str, float]] = {}  # key id and end, oldest first

    async def begin(self, key: str) -> tuple[str, Session]:
        """A new session and its token. Raises Unauthorized for a key that is not known."""
        key_id = await self.auth.admit(key, "read")
        token = secrets.token_urlsafe(32)
        self._drop_ended()
        if len(self.by_digest) >= _MOST:
            del self.by_digest[next(iter(self.by_digest))]
        self.by_digest[_digest(token)] = (key_id, time.time() + self.lifetime_s)
        return token, await self.get(token)

    async def get(self, token: str) -> Session:
        """The session of a token. Raises Unauthorized where it has ended or its key was revoked."""
        digest = _digest(token)
        key_id, ends_at = self.by_digest.get(digest, ("", 0.0))
        if ends_at <= time.time():
            raise Unauthorized(_ENDED)
        scope = await anyio.to_thread.run_sync(self.auth.scope_of, key_id)
        if scope is None:
            self.by_digest.pop(digest, None)
            raise Unauthorized("the API key of this session was revoked; sign in with another one")
        return Session(key_id, scope, _csrf_token(token), ends_at)

    async def admit(self, token: str, scope: str, csrf_token: str | None, changes: bool) -> str:
        """The actor behind a request with a session's cookie.

        Args:
            changes: whether the request may change something, so that `csrf_token` has to be right: pages of
                other origins can make a browser send the cookie, but do not know that token.

        Raises Unauthorized, or Forbidden.
        """
        session = await self.get(token)
        if changes and not hmac.compare_digest((csrf_token or "").encode(), session.csrf_token.encode()):
            raise Forbidden(
                f"the header {CSRF_HEADER} is missing or another session's; GET /session says this one's"
            )
        self.auth.require_scope(session.scope, scope)
        return session.key_id

    def end(self, token: str) -> None:
        """Ends a session."""
        self.by_digest.pop(_digest(token), None)

    def _drop_ended(self) -> None:
        now = time.time()
        for digest in [each for each, (_, ends_at) in self.by_digest.items() if ends_at <= now]:
            del self.by_digest[digest]


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _csrf_token(token: str) -> str:
    """Follows from the token, so that nothing more has to be kept; the way back is not known to anybody."""
    return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest()
