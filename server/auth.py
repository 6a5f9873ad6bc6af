"""API keys: random, kept as digests, compared in constant time. Scopes: read, write, admin."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import uuid
from typing import NamedTuple

import anyio.to_thread

from server.errors import BadRequest, Forbidden, Unauthorized
from server.gallery.store import Store

SCOPES = ("read", "write", "admin")  # each holds the ones before it
LOCAL = "local"  # the actor where no key is needed
IN_HEADERS = "header 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
IN_METADATA = "metadata 'authorization: Bearer KEY' or 'x-api-key: KEY'"  # gRPC takes no capitals there


class NewKey(NamedTuple):
    """A key at the only time when its text is known; `id` is what revoking it needs."""

    id: str
    text: str


class Auth:
    """Who may do what.

    Args:
        store: where the digests are. required: False lets everybody do everything.
    """

    def __init__(self, store: Store, required: bool) -> None:
        self.store, self.required = store, required

    def first_key(self) -> str | None:
        """An admin key for a server that needs one and has none; shown once and never again."""
        if not self.required or self.store.keys.all():
            return None
        return add_key(self.store, "admin", LOCAL).text

    async def admit(self, key: str | None, scope: str, place: str = IN_HEADERS) -> str:
        """`check` for the event loop: a key is looked up in the store by another thread."""
        if key is None or not self.required:
            return self.check(key, scope, place)
        return await anyio.to_thread.run_sync(self.check, key, scope, place)

    def check(self, key: str | None, scope: str, place: str = IN_HEADERS) -> str:
        """The actor behind a key. Raises Unauthorized, which says in what `place` a key is sent, or
        Forbidden."""
        if not self.required:
            return LOCAL
        if not key:
            raise Unauthorized(f"send an API key: {place}")
        digest, known = _digest(key), None
        for row in self.store.keys.all():
            if hmac.compare_digest(row["digest"], digest):
                known = row
        if known is None:
            raise Unauthorized("this API key is not known or was revoked")
        self.require_scope(known["scopes"], scope)
        return str(known["id"])

    def scope_of(self, key_id: str) -> str | None:
        """The scope of a key by its id; None where there is no such key, or no longer. Reads the store."""
        for row in self.store.keys.all():
            if row["id"] == key_id:
                return str(row["scopes"])
        return None

    def require_scope(self, has: str, needed: str) -> None:
        """Raises Forbidden where the scope of a key does not hold the one that a call needs."""
        if SCOPES.index(has) < SCOPES.index(needed):
            raise Forbidden(f"this key may {has}; this call needs a key with scope {needed}")


def key_of(authorization: str | None, x_api_key: str | None) -> str | None:
    """The API key in the headers of a request, from either of the two places it may stand in."""
    kind, _, token = (authorization or "").partition(" ")
    if kind.lower() == "bearer" and token:
        return token
    return x_api_key


def add_key(store: Store, scope: str, actor: str) -> NewKey:
    """`make_key` with a line in the audit log, which names the key's id and scope, never its text."""
    made = make_key(store, scope)
    store.audit.note(actor, "add-key", None, {"key": made.id, "scope": scope})
    return made


def revoke_key(store: Store, key_id: str, actor: str) -> bool:
    """Revokes a key, with a line in the audit log; False, and no line, where there is no such key."""
    revoked = store.keys.revoke(key_id)
    if revoked:
        store.audit.note(actor, "revoke-key", None, {"key": key_id})
    return revoked


def make_key(store: Store, scope: str) -> NewKey:
    """A new key with a scope. Its text is not kept. Raises BadRequest for an unknown scope."""
    if scope not in SCOPES:
        raise BadRequest(f"scope {scope!r} is unknown; there are {', '.join(SCOPES)}")
    key = NewKey("key-" + uuid.uuid4().hex[:8], "rs_" + secrets.token_urlsafe(32))
    store.keys.add(key.id, _digest(key.text), scope)
    return key


def _digest(key: str) -> str:
    """Keys are 256 random bits, so a plain hash is enough: there is nothing to guess."""
    return hashlib.sha256(key.encode()).hexdigest()
