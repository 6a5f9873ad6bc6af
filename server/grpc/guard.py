"""Before every gRPC call: the key, then room for the call, and only then its message.

gRPC reads the message of a unary call before it calls the method, a streamed one only when the method reads
it. So every method is registered as one that reads a stream: what is refused here was never read, and the
client could send no more than the first window of its stream (64 KiB).

Answers are written here too, each within a time, because gRPC itself waits without end for a client that does
not read. The call of such a client is given up. gRPC offers no way to end its stream as well: what gRPC holds
of it, one message at most, goes with the connection (see `options` in `serving.py`).
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from server.auth import IN_METADATA, Auth, key_of
from server.errors import BadRequest, RequestTimeout, TooLarge
from server.grpc.open_calls import OpenCalls
from server.grpc.places import Places, peer_of
from server.grpc.problems import abort
from server.grpc.unknown import unknown_fields
from server.inflight import Inflight, Share
from server.reembedding import Reembedding
from server.settings import Settings
from server.telemetry import Telemetry

log = logging.getLogger("resight")
_OPEN_MESSAGES = 4  # of calls without a key, being received at once
_OPEN_CALLS = 64  # running at once: most of them watch the server's health
_OPEN_BYTES = 64 * 1024  # of a message of a call without a key: the name of a service, not more
_actor: contextvars.ContextVar[str] = contextvars.ContextVar("actor")


def actor() -> str:
    """Who makes the call that is being answered."""
    return _actor.get()


class Guard(grpc.aio.ServerInterceptor):
    """Keys, limits and errors of all calls.

    Args:
        scopes: full name of a method -> scope of the key that it needs, None where it needs no key. A method
            that is not listed is not served.
    """

    def __init__(
        self,
        scopes: dict[str, str | None],
        auth: Auth,
        settings: Settings,
        inflight: Inflight,
        telemetry: Telemetry,
        reembedding: Reembedding,
    ) -> None:
        self.scopes, self.auth, self.settings = scopes, auth, settings
        self.inflight, self.telemetry, self.reembedding = inflight, telemetry, reembedding
        self.places = Places(settings.max_grpc_calls, settings.grpc_calls_per_peer)
        self.open_messages, self.open_calls = OpenCalls(_OPEN_MESSAGES), OpenCalls(_OPEN_CALLS)

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        """The method behind our checks, or None where there is no such method."""
        handler = await continuation(details)
        if handler is None or details.method not in self.scopes:
            return None
        scope = self.scopes[details.method]
        call = _Call(self, details.method, handler, scope)

        async def checked(requests: Any, context: Any) -> None:
            await call.run(context)

        return grpc.stream_stream_rpc_method_handler(checked, None, handler.response_serializer)


class _Call:
    """One call of a method."""

    def __init__(self, guard: Guard, method: str, handler: Any, scope: str | None) -> None:
        self.guard, self.method, self.handler, self.scope = guard, method, handler, scope
        self.peer = ""  # its address

    async def run(self, context: Any) -> None:
        """Answers the call, or ends it with the status of what went wrong."""
        began, outcome = time.perf_counter(), "CANCELLED"
        try:
            with self.guard.inflight.share() as share:
                self.peer = peer_of(context.peer())
                if self.scope is None:
                    await self.guard.open_calls.run(self._answer(context, share, self._soon), self.peer)
                else:
                    await self._answer_key(context, share, self.scope)
            outcome = "OK"
        except grpc.aio.BaseError:  # the method ended the call itself, or its client has gone
            raise
        except Exception as error:
            await abort(context, self.method, error)
        finally:
            code = context.code()
            outcome = code.name if code is not None else outcome
            self.guard.telemetry.requests.labels(self.method, outcome).inc()
            self.guard.telemetry.seconds.labels(self.method).observe(time.perf_counter() - began)

    async def _answer_key(self, context: Any, share: Share, scope: str) -> None:
        headers = dict(context.invocation_metadata())
        key = key_of(headers.get("authorization"), headers.get("x-api-key"))
        _actor.set(await self.guard.auth.admit(key, scope, IN_METADATA))
        self.guard.reembedding.require_ended()
        with self.guard.places.place(self.peer):
            await self._answer(context, share, self._in_time)

    async def _answer(self, context: Any, share: Share, receive: Callable[[Any], Awaitable[Any]]) -> None:
        """Reads what the method takes, and writes what it gives. `receive` bounds the time of a message."""
        handler = self.handler
        requests = self._requests(context, share)
        if not handler.request_streaming:
            requests = await receive(_only(requests))
        if handler.response_streaming:
            async for message in (handler.unary_stream or handler.stream_stream)(requests, context):
                await self._write(context, message)
        else:
            message = await (handler.unary_unary or handler.stream_unary)(requests, context)
            del requests
            share.release()
            await self._write(context, message)

    async def _write(self, context: Any, message: Any) -> None:
        """Gives a message to gRPC. Raises TooLarge for one that gRPC would not send, and CancelledError,
        which ends the call without a status, when the client does not read it in time: a status would have
        to wait behind it."""
        settings, size = self.guard.settings, message.ByteSize()
        if size > settings.max_request_bytes:
            raise TooLarge(
                f"the answer has {size} bytes; at most {settings.max_request_bytes} are sent in one message: "
                f"ask for less with limit or top_k"
            )
        if self.scope is None:
            limit = settings.header_timeout_s
        else:
            limit = min(settings.body_timeout_s, settings.pace_window_s + size / settings.min_bytes_per_s)
        try:
            await asyncio.wait_for(context.write(message), limit)
        except (TimeoutError, asyncio.TimeoutError):
            said = f"{self.method} of {self.peer} was given up: {size} bytes were not read within {limit:g} s"
            log.warning("%s", said)  # its status is CANCELLED, like that of a client that has left
            raise asyncio.CancelledError(f"nobody read an answer of {self.method}") from None

    async def _requests(self, context: Any, share: Share) -> AsyncIterator[Any]:
        """The messages of the call, each counted until the next is read."""
        while (data := await context.read()) is not grpc.aio.EOF:
            if self.scope is not None:
                share.add(len(data))
            elif len(data) > _OPEN_BYTES:  # nobody without a key takes room from those who have one
                raise TooLarge(f"the message of {self.method} has {len(data)} bytes; at most {_OPEN_BYTES}")
            yield self._parsed(data)
            share.release()

    def _parsed(self, data: bytes) -> Any:
        try:
            message = self.handler.request_deserializer(data)
        except DecodeError as error:
            raise BadRequest(f"the message of {self.method} is malformed: {error}") from error
        # health and reflection are of other makers, and clients may have other versions of them
        is_ours = self.method.startswith("/resight.")
        unknown = unknown_fields(message) if is_ours else []
        if unknown:  # a condition that is ignored would widen a query or an erasure
            raise BadRequest(
                f"the message of {self.method} has fields that this server does not know or reads as another "
                f"type: {', '.join(unknown)}; use the server's own resight.proto"
            )
        return message

    async def _in_time(self, message: Awaitable[Any]) -> Any:
        return await _within(message, self.guard.settings.body_timeout_s)

    async def _soon(self, message: Awaitable[Any]) -> Any:
        limit = self.guard.settings.header_timeout_s
        return await self.guard.open_messages.run(_within(message, limit), self.peer)


async def _only(requests: AsyncIterator[Any]) -> Any:
    async for request in requests:
        return request
    raise BadRequest("the call ended without a message")


async def _within(message: Awaitable[Any], seconds: float) -> Any:
    try:
        return await asyncio.wait_for(message, seconds)
    except (TimeoutError, asyncio.TimeoutError):
        raise RequestTimeout(f"the message was not complete after {seconds:g} s") from None
