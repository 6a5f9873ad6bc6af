"""The gRPC server around a service: Gallery, Adaptation, health and reflection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from server.auth import Auth
from server.errors import BadRequest
from server.fields import filter_of, query_camera_of
from server.grpc import messages
from server.grpc.guard import Guard, actor
from server.grpc.health import Health
from server.grpc.serving import GrpcServer, options
from server.inflight import Inflight
from server.listening import read_tls_file
from server.service import Service
from server.settings import Settings

_GALLERY, _ADAPTATION = "resight.v1.Gallery", "resight.v1.Adaptation"
# The scope of the key that each method needs; None: no key.
SCOPES: dict[str, str | None] = {
    f"/{_GALLERY}/Enroll": "write",
    f"/{_GALLERY}/EnrollStream": "write",
    f"/{_GALLERY}/Query": "read",
    f"/{_GALLERY}/List": "read",
    f"/{_GALLERY}/Erase": "write",
    f"/{_ADAPTATION}/Adapt": "admin",
    f"/{_ADAPTATION}/RollBack": "admin",
    f"/{_ADAPTATION}/GetJob": "read",
    f"/{_ADAPTATION}/WatchJob": "read",
    f"/{_ADAPTATION}/CancelJob": "admin",
    f"/{_ADAPTATION}/SetAdaptAfter": "admin",
    f"/{_ADAPTATION}/DeleteSite": "admin",
    f"/{health.SERVICE_NAME}/Check": None,
    f"/{health.SERVICE_NAME}/Watch": None,
    f"/{reflection.SERVICE_NAME}/ServerReflectionInfo": None,
}


class Gallery(rpc.GalleryServicer):
    """See resight.proto."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def Enroll(self, request: pb.EnrollRequest, context: Any) -> pb.EnrollResponse:
        """One batch."""
        return await self._enroll(request)

    async def EnrollStream(
        self, requests: AsyncIterator[pb.EnrollRequest], context: Any
    ) -> AsyncIterator[pb.EnrollResponse]:
        """Batch after batch."""
        async for request in requests:
            yield await self._enroll(request)

    async def Query(self, request: pb.QueryRequest, context: Any) -> pb.QueryResponse:
        """One ranking."""
        ranking = await self.service.querying.query(
            request.site,
            list(request.images),
            request.item_id or None,
            request.top_k or 10,
            filter_of(request.filter_json or None),
            query_camera_of(request.query_camera, request.camera),
            request.exclude_same_camera,
            request.threshold if request.HasField("threshold") else None,
        )
        return await asyncio.to_thread(messages.answer, ranking)  # twenty thousand matches take a while

    async def List(self, request: pb.ListRequest, context: Any) -> pb.ListResponse:
        """A page of items."""
        where = messages.item_filter(request)
        items, following = await self.service.items.page(
            request.site, where, request.cursor or None, request.limit or 100
        )
        return pb.ListResponse(items=[messages.item(i) for i in items], cursor=following or "")

    async def Erase(self, request: pb.EraseRequest, context: Any) -> pb.EraseResponse:
        """An item, or the items that meet every condition."""
        where = messages.item_filter(request)
        if not request.item_id:
            erased = await self.service.items.erase_where(request.site, where, actor(), request.all)
        elif request.all or not where.is_open:
            raise BadRequest("item_id names one item, which contradicts all, filter_json and the conditions")
        else:
            erased = await self.service.items.erase_item(request.item_id, actor(), request.site or None)
        return pb.EraseResponse(erased=erased.count, purged=erased.purged)

    async def _enroll(self, request: pb.EnrollRequest) -> pb.EnrollResponse:
        records = [messages.record(crop, i) for i, crop in enumerate(request.crops)]
        images = [crop.image for crop in request.crops]
        committed = await self.service.enrolling.enroll(
            request.site, images, records, request.idempotency_key or None, request.partial
        )
        return messages.enrolled(committed)


class Adaptation(rpc.AdaptationServicer):
    """See resight.proto."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def Adapt(self, request: pb.AdaptRequest, context: Any) -> pb.Job:
        """Starts a job."""
        return messages.job(
            await self.service.adapting.adapt(
                request.site,
                request.tier or "auto",
                request.max_samples or None,
                request.seed,
                request.gate if request.HasField("gate") else True,
                request.refit,
            )
        )

    async def RollBack(self, request: pb.RollBackRequest, context: Any) -> pb.Job:
        """Starts a job."""
        return messages.job(await self.service.adapting.roll_back(request.site))

    async def GetJob(self, request: pb.JobRequest, context: Any) -> pb.Job:
        """A job now."""
        return messages.job(await asyncio.to_thread(self.service.jobs.get, request.job))

    async def WatchJob(self, request: pb.JobRequest, context: Any) -> AsyncIterator[pb.Job]:
        """A job until it has ended."""
        await asyncio.to_thread(self.service.jobs.get, request.job)
        async for snapshot in self.service.jobs.watch(request.job):
            yield messages.job(snapshot)

    async def CancelJob(self, request: pb.JobRequest, context: Any) -> pb.Job:
        """Asks a job to end."""
        return messages.job(await asyncio.to_thread(self.service.jobs.cancel, request.job))

    async def SetAdaptAfter(self, request: pb.SetAdaptAfterRequest, context: Any) -> pb.AdaptAfter:
        """When a site is adapted by itself."""
        after = request.adapt_after
        site = await self.service.schedule.set(
            request.site,
            after.items if after.HasField("items") else None,
            after.hours if after.HasField("hours") else None,
        )
        return messages.adapt_after(site.adapt_after)

    async def DeleteSite(self, request: pb.DeleteSiteRequest, context: Any) -> pb.EraseResponse:
        """Everything of a site goes."""
        erased = await self.service.site_deletion.delete(request.site, actor())
        return pb.EraseResponse(erased=erased.count, purged=erased.purged)


async def create_server(service: Service, auth: Auth, address: str) -> GrpcServer:
    """A server on `host:port`, not started. Raises OSError where the port cannot be had."""
    inflight = Inflight(service.settings.max_inflight_bytes)
    service.telemetry.watch_inflight("grpc", inflight)
    guard = Guard(SCOPES, auth, service.settings, inflight, service.telemetry, service.reembedding)
    server = grpc.aio.server(options=options(service.settings), interceptors=[guard])
    rpc.add_GalleryServicer_to_server(Gallery(service), server)
    rpc.add_AdaptationServicer_to_server(Adaptation(service), server)
    names = [_GALLERY, _ADAPTATION]
    health_service = Health(["", *names], serving=service.reembedding.ended.is_set())
    health_pb2_grpc.add_HealthServicer_to_server(health_service, server)
    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    _listen(server, address, service.settings)
    return GrpcServer(server, health_service)


def _listen(server: grpc.aio.Server, address: str, settings: Settings) -> None:
    if settings.tls_cert is None or settings.tls_key is None:
        server.add_insecure_port(address)
        return
    key, chain = (
        read_tls_file("--tls-key", settings.tls_key),
        read_tls_file("--tls-cert", settings.tls_cert),
    )
    server.add_secure_port(address, grpc.ssl_server_credentials([(key, chain)]))
