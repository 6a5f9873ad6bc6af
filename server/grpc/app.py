"""The gRPC server around a service: Gallery, Adaptation, health and reflection."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from server.auth import Auth
from server.errors import BadRequest, Problem
from server.fields import filter_of, label_of
from server.grpc import messages
from server.service import Service

log = logging.getLogger("resight")
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.FAILED_PRECONDITION,
    503: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


async def _abort(context: Any, error: Exception) -> None:
    """Ends the call with the problem's sentence."""
    if isinstance(error, Problem):
        trailers = [("resight-code", error.code)] + [
            (f"resight-{k.replace('_', '-')}", str(v)) for k, v in error.facts.items()
        ]
        context.set_trailing_metadata(tuple(trailers))
        await context.abort(_CODES[error.status], error.detail)
    log.exception("a gRPC call failed", exc_info=error)
    await context.abort(
        grpc.StatusCode.INTERNAL, "something went wrong in the server; its log has the details"
    )


def _call(scope: str) -> Callable[[Any], Any]:
    """Checks the key and turns problems into statuses, for a method that answers once."""

    def wrap(method: Any) -> Any:
        @functools.wraps(method)
        async def checked(self: Any, request: Any, context: Any) -> Any:
            try:
                return await method(self, request, self.authorise(context, scope))
            except Exception as error:
                await _abort(context, error)

        return checked

    return wrap


def _stream(scope: str) -> Callable[[Any], Any]:
    """The same for a method that answers with a stream."""

    def wrap(method: Any) -> Any:
        @functools.wraps(method)
        async def checked(self: Any, request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                async for answer in method(self, request, self.authorise(context, scope)):
                    yield answer
            except Exception as error:
                await _abort(context, error)

        return checked

    return wrap


class _Base:
    def __init__(self, service: Service, auth: Auth) -> None:
        self.service, self.auth = service, auth

    def authorise(self, context: Any, scope: str) -> str:
        """The actor of a call; the key is in the metadata `authorization: Bearer KEY`."""
        headers = {key: value for key, value in context.invocation_metadata()}
        kind, _, token = str(headers.get("authorization", "")).partition(" ")
        return self.auth.check(token if kind.lower() == "bearer" else headers.get("x-api-key"), scope)


class Gallery(_Base, rpc.GalleryServicer):
    """See resight.proto."""

    @_call("write")
    async def Enroll(self, request: pb.EnrollRequest, actor: str) -> pb.EnrollResponse:
        """One batch."""
        return await self._enroll(request)

    @_stream("write")
    async def EnrollStream(
        self, requests: AsyncIterator[pb.EnrollRequest], actor: str
    ) -> AsyncIterator[pb.EnrollResponse]:
        """Batch after batch."""
        async for request in requests:
            yield await self._enroll(request)

    @_call("read")
    async def Query(self, request: pb.QueryRequest, actor: str) -> pb.QueryResponse:
        """One ranking."""
        threshold = request.threshold if request.HasField("threshold") else None
        if threshold is not None and not -1 <= threshold <= 1:
            raise BadRequest(f"threshold is {threshold}; a cosine lies between -1 and 1")
        found = await self.service.querying.query(
            request.site,
            list(request.images),
            request.item_id or None,
            request.top_k or 10,
            filter_of(request.filter_json),
            label_of(request.camera, "camera"),
            request.exclude_same_camera,
            threshold,
        )
        return await asyncio.to_thread(messages.answer, found)  # twenty thousand matches take a while

    @_call("write")
    async def Erase(self, request: pb.EraseRequest, actor: str) -> pb.EraseResponse:
        """An item or an identity."""
        if bool(request.item_id) == bool(request.identity):
            raise BadRequest("send either item_id, or site and identity")
        if request.item_id:
            return pb.EraseResponse(erased=await self.service.items.erase_item(request.item_id, actor))
        return pb.EraseResponse(
            erased=await self.service.items.erase_identity(request.site, request.identity, actor)
        )

    async def _enroll(self, request: pb.EnrollRequest) -> pb.EnrollResponse:
        records = [messages.record(crop, i) for i, crop in enumerate(request.crops)]
        images = [crop.image for crop in request.crops]
        found = await self.service.enrolling.enroll(
            request.site, images, records, request.idempotency_key or None, request.partial
        )
        return messages.enrolled(found)


class Adaptation(_Base, rpc.AdaptationServicer):
    """See resight.proto."""

    @_call("admin")
    async def Adapt(self, request: pb.AdaptRequest, actor: str) -> pb.Job:
        """Starts a job."""
        return messages.job(
            await self.service.adapting.adapt(
                request.site, request.tier or "auto", request.max_samples or None, request.seed
            )
        )

    @_call("admin")
    async def RollBack(self, request: pb.RollBackRequest, actor: str) -> pb.Job:
        """Starts a job."""
        return messages.job(await self.service.adapting.roll_back(request.site))

    @_call("read")
    async def GetJob(self, request: pb.JobRequest, actor: str) -> pb.Job:
        """A job now."""
        return messages.job(await asyncio.to_thread(self.service.jobs.get, request.job))

    @_stream("read")
    async def WatchJob(self, request: pb.JobRequest, actor: str) -> AsyncIterator[pb.Job]:
        """A job until it has ended."""
        await asyncio.to_thread(self.service.jobs.get, request.job)
        async for values in self.service.jobs.watch(request.job):
            yield messages.job(values)

    @_call("admin")
    async def CancelJob(self, request: pb.JobRequest, actor: str) -> pb.Job:
        """Asks a job to end."""
        return messages.job(await asyncio.to_thread(self.service.jobs.cancel, request.job))


async def create_server(service: Service, auth: Auth, address: str) -> grpc.aio.Server:
    """A server on `host:port`, not started. Raises OSError where the port cannot be had."""
    limit = service.settings.max_request_bytes
    options = [
        ("grpc.max_receive_message_length", limit),
        ("grpc.max_send_message_length", limit),
        ("grpc.so_reuseport", 0),
    ]
    # More calls than this wait in the client: bodies in memory stay bounded as over HTTP.
    calls = max(4, service.settings.max_inflight_bytes // limit * 16)
    server = grpc.aio.server(options=options, maximum_concurrent_rpcs=calls)
    rpc.add_GalleryServicer_to_server(Gallery(service, auth), server)
    rpc.add_AdaptationServicer_to_server(Adaptation(service, auth), server)
    checker = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checker, server)
    services = pb.DESCRIPTOR.services_by_name
    names = [services[name].full_name for name in ("Gallery", "Adaptation")]
    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    server.add_insecure_port(address)
    for name in ["", *names]:
        await checker.set(name, health_pb2.HealthCheckResponse.SERVING)
    return server
