"""`/console/...`: what the console needs beside the API. These calls change with it; programs use the API."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from server import auth
from server.console import CalibrationOverview, SiteOverview, SystemOverview
from server.errors import BadRequest, NotFound
from server.fields import iso
from server.http.access import Admin, KeyedRoute, Reader, ServiceDep

router = APIRouter(prefix="/console", route_class=KeyedRoute, include_in_schema=False)


class KeyModel(BaseModel):
    """An API key, without its text."""

    id: str
    scope: str
    created_at: str | None


class NewKeyModel(BaseModel):
    """Body of `POST /console/keys`."""

    scope: Literal["read", "write", "admin"]
    model_config = ConfigDict(extra="forbid", strict=True)


class MadeKeyModel(BaseModel):
    """A new key, at the only time when its text is known."""

    id: str
    key: str


class LineModel(BaseModel):
    """A line of the audit log."""

    seq: int
    at: str | None
    actor: str
    action: str
    site: str | None
    detail: dict[str, Any]


class AuditModel(BaseModel):
    """A page of the audit log, newest first."""

    lines: list[LineModel]
    cursor: int | None = Field(description="of the next page; null on the last")


@router.get("/sites/{site}")
async def site_overview(service: ServiceDep, actor: Reader, site: str) -> SiteOverview:
    """A site's cameras, versions and jobs."""
    return await asyncio.to_thread(service.console.site, site)


@router.get("/sites/{site}/calibration")
async def calibration(service: ServiceDep, actor: Reader, site: str) -> CalibrationOverview:
    """What scores of a site mean, and what each rate of false alarms costs."""
    return await asyncio.to_thread(service.console.calibration, site)


@router.get("/system")
async def system_overview(service: ServiceDep, actor: Reader) -> SystemOverview:
    """What really runs, and how busy it is."""
    return await asyncio.to_thread(service.console.system)


@router.get("/thumbnails/{item_id}")
async def thumbnail(service: ServiceDep, actor: Reader, item_id: str) -> Response:
    """A small picture of an item. No browser keeps it: it is gone when the item is."""
    data = await service.thumbnails.get(item_id, actor)
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(data, media_type="image/jpeg", headers=headers)


@router.get("/keys")
async def keys(service: ServiceDep, actor: Admin) -> list[KeyModel]:
    """Every API key, oldest first."""
    rows = await asyncio.to_thread(service.store.keys.all)
    return [KeyModel(id=r["id"], scope=r["scopes"], created_at=iso(r["created_at"])) for r in rows]


@router.post("/keys", status_code=201)
async def add_key(service: ServiceDep, actor: Admin, body: NewKeyModel, response: Response) -> MadeKeyModel:
    """A new key. Its text is in this answer and nowhere else."""
    made = await asyncio.to_thread(auth.add_key, service.store, body.scope, actor)
    response.headers["Cache-Control"] = "no-store"
    return MadeKeyModel(id=made.id, key=made.text)


@router.delete("/keys/{key_id}", status_code=204)
async def revoke_key(service: ServiceDep, actor: Admin, key_id: str) -> None:
    """Revoke a key: from now on neither it nor its sessions are let in."""
    if not await asyncio.to_thread(auth.revoke_key, service.store, key_id, actor):
        raise NotFound(f"there is no key {key_id[:80]!r}")


@router.get("/audit")
async def audit(
    service: ServiceDep,
    actor: Admin,
    cursor: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    limit: Annotated[int, Query()] = 100,
) -> AuditModel:
    """The audit log: who looked at an image, who erased what, newest first."""
    if not 1 <= limit <= 1000:
        raise BadRequest(f"limit is {limit}; it must lie between 1 and 1000")
    rows = await asyncio.to_thread(service.store.audit.latest, cursor, limit + 1)
    following = rows[limit - 1]["seq"] if len(rows) > limit else None
    lines = [LineModel.model_validate(row | {"at": iso(row["at"])}) for row in rows[:limit]]
    return AuditModel(lines=lines, cursor=following)
