"""`/adapt` and `/sites`: adaptation jobs and their events, sites, rollbacks and calibrations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query
from sse_starlette.sse import EventSourceResponse

from server.http.access import Admin, KeyedRoute, Reader, ServiceDep
from server.http.schemas import AdaptAfterModel, AdaptModel, ErasedModel, JobModel
from server.reports import CalibrationReport, SiteReport

router = APIRouter(tags=["adaptation"], route_class=KeyedRoute)


@router.post("/adapt", status_code=202)
async def adapt(service: ServiceDep, actor: Admin, body: AdaptModel) -> JobModel:
    """Adapt a site to its own crops, tier by tier, each of which has to show that it helps. Queries go on
    meanwhile. A site that nothing helps keeps its version, and the job is `declined`, with reasons.

    A job that the end of the server interrupts goes on when the server is started again.
    """
    job = await service.adapting.adapt(
        body.site, str(body.tier), body.max_samples, body.seed, body.gate, body.refit
    )
    return JobModel.of(job)


@router.get("/adapt/{job}")
async def job_state(service: ServiceDep, actor: Reader, job: str) -> JobModel:
    """A job's state, progress and report."""
    return JobModel.of(await asyncio.to_thread(service.jobs.get, job))


@router.get("/adapt/{job}/events", response_class=EventSourceResponse)
async def events(service: ServiceDep, actor: Reader, job: str) -> EventSourceResponse:
    """The job's progress as server-sent events named `job`, until it has ended."""
    await asyncio.to_thread(service.jobs.get, job)

    async def stream() -> AsyncIterator[dict[str, str]]:
        async for snapshot in service.jobs.watch(job):
            yield {"event": "job", "data": JobModel.of(snapshot).model_dump_json()}

    return EventSourceResponse(stream())


@router.delete("/adapt/{job}")
async def cancel(service: ServiceDep, actor: Admin, job: str) -> JobModel:
    """Ask a job to end. The site keeps its version, and no start of the server takes the job up again."""
    return JobModel.of(await asyncio.to_thread(service.jobs.cancel, job))


@router.get("/sites")
async def sites(service: ServiceDep, actor: Reader) -> list[SiteReport]:
    """Every site."""
    return [service.status.site(site) for site in service.sites.all()]


@router.get("/sites/{site}")
async def one_site(service: ServiceDep, actor: Reader, site: str) -> SiteReport:
    """One site: its version, embedding space and size."""
    return service.status.site(service.sites.get(site))


@router.delete("/sites/{site}")
async def delete_site(service: ServiceDep, actor: Admin, site: str) -> ErasedModel:
    """Delete a site with everything in it: items, images, embeddings, versions, profiles, jobs and schedule.
    While it has a job, the answer is 409: cancel the job first."""
    return ErasedModel.of(await service.site_deletion.delete(site, actor))


@router.post("/sites/{site}/rollback", status_code=202)
async def roll_back(service: ServiceDep, actor: Admin, site: str) -> JobModel:
    """Undo the last adaptation: a new version with the profile before the live one. Items enrolled since are
    re-embedded and kept."""
    return JobModel.of(await service.adapting.roll_back(site))


@router.post("/sites/{site}/calibrate")
async def calibrate(
    service: ServiceDep,
    actor: Admin,
    site: str,
    labels: Annotated[
        str | None,
        Query(
            description="identity: people whom two cameras have seen; tracklets: tracks of cameras alone, "
            "which is a guess; all: both; answers: the model's card, moved by answers of the review queue, a "
            "guess too. Without it identities, or where they do not suffice, all, or answers"
        ),
    ] = None,
) -> CalibrationReport:
    """Measure now what scores of the site mean, by identities of its items, by tracks, or by both. Where
    these do not suffice the answer is 409, which says what is missing, and the calibration before stays."""
    return await service.calibrating.calibrate(site, labels)


@router.put("/sites/{site}/adapt-after")
async def adapt_after(service: ServiceDep, actor: Admin, site: str, body: AdaptAfterModel) -> SiteReport:
    """Have a site adapted again by itself, `auto` and gated: after so many new items, after so many hours, or
    what of both comes first. With neither of them, no longer. The site's answer says `adapt_after`."""
    return service.status.site(await service.schedule.set(site, body.items, body.hours))
