"""Adaptation jobs and sites over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from server.grpc import messages
from server.grpc.guard import actor
from server.service import Service


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

    async def Calibrate(self, request: pb.CalibrateRequest, context: Any) -> pb.Calibration:
        """Measures what scores mean."""
        return messages.calibration(await self.service.calibrating.calibrate(request.site, request.labels))

    async def ListSites(self, request: pb.ListSitesRequest, context: Any) -> pb.ListSitesResponse:
        """Every site."""
        reports = [self.service.status.site(site) for site in self.service.sites.all()]
        return pb.ListSitesResponse(sites=[messages.site(report) for report in reports])

    async def GetSite(self, request: pb.GetSiteRequest, context: Any) -> pb.Site:
        """One site."""
        return messages.site(self.service.status.site(self.service.sites.get(request.site)))

    async def DeleteSite(self, request: pb.DeleteSiteRequest, context: Any) -> pb.EraseResponse:
        """Everything of a site goes."""
        erased = await self.service.site_deletion.delete(request.site, actor())
        until = erased.index_keeps_until
        return pb.EraseResponse(erased=erased.count, purged=erased.purged, index_keeps_until=until)
