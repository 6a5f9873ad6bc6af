"""`/gallery`: enroll, read, list, erase."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Header, Query, Response, UploadFile

from server.fields import filter_of, records_of
from server.fields.vectors import vectors_of
from server.http.access import KeyedRoute, Reader, ServiceDep, Writer
from server.http.declared import EMPTY_IS_NONE, none_sent
from server.http.schemas import (
    FILTER_EXAMPLE,
    FILTER_HELP,
    TIME_HELP,
    WITHOUT_METADATA_HELP,
    EnrolledModel,
    ErasedModel,
    ItemModel,
    PageModel,
)
from server.media import media_type_of

router = APIRouter(prefix="/gallery", tags=["gallery"], route_class=KeyedRoute)
_IMAGE_TYPES: dict[str, Any] = {f"image/{name}": {} for name in ("jpeg", "png", "webp", "avif", "heic")}
Images = Annotated[list[UploadFile], File(description="JPEG, PNG, WebP or AVIF crops of one person each")]
SiteName = Annotated[str, Query(examples=["lobby"], description="the site; its name is never empty")]
Camera = Annotated[str | None, Query(description="short for the camera in filter", examples=["door"])]
Identity = Annotated[str | None, Query(description="short for the identity in filter")]
After = Annotated[str | None, Query(description=f"captured at this time or later: {TIME_HELP}")]
Before = Annotated[str | None, Query(description=f"captured before this time: {TIME_HELP}")]
Filter = Annotated[str | None, Query(description=FILTER_HELP, examples=[FILTER_EXAMPLE])]


@router.post("", status_code=201)
async def enroll(
    service: ServiceDep,
    actor: Writer,
    images: Annotated[
        list[UploadFile],
        File(default_factory=none_sent, description="JPEG, PNG, WebP or AVIF crops of one person each"),
    ],
    vector: Annotated[
        list[str],
        Form(
            default_factory=none_sent,
            examples=[["[0.12, -0.03]"]],
            description="instead of images, one or several times: a vector as /embed answers it, as a JSON "
            "array of numbers or base64 of little-endian float32. Its item has no image",
        ),
    ],
    site: Annotated[str, Form(examples=["lobby"])],
    raw_space_id: Annotated[
        str | None, Form(description="of the vectors: the site's own; those of another are refused")
    ] = None,
    camera: Annotated[
        str | None,
        Form(
            examples=["door"], description="of all images; empty: not known", json_schema_extra=EMPTY_IS_NONE
        ),
    ] = None,
    identity: Annotated[
        str | None,
        Form(description="label of the person; empty: not known", json_schema_extra=EMPTY_IS_NONE),
    ] = None,
    captured_at: Annotated[
        str | None,
        Form(
            examples=["2026-05-04T09:30:00Z"],
            description=f"{TIME_HELP}; empty: not known",
            json_schema_extra=EMPTY_IS_NONE,
        ),
    ] = None,
    metadata: Annotated[
        str | None,
        Form(
            examples=['{"track": 12}'],
            description="a JSON object of text, finite numbers, integers of 64 bits, true, false and null; "
            "`track`, what the camera's tracker calls it, counts when the site is calibrated",
            json_schema_extra=EMPTY_IS_NONE,
        ),
    ] = None,
    records: Annotated[
        str | None,
        Form(description="a JSON array, one object an image or vector, instead of the single fields"),
    ] = None,
    partial: Annotated[bool, Form(description="store the good images and report the bad ones")] = False,
    idempotency_key: Annotated[
        str | None,
        Header(description="1 to 256 characters; repeating a request under its key enrolls nothing twice"),
    ] = None,
) -> EnrolledModel:
    """Enroll crops. Answers when they are on disk and in the index: all of them, or none."""
    shared: dict[str, Any] = {
        "camera": camera,
        "identity": identity,
        "captured_at": captured_at,
        "metadata": metadata,
    }
    data = [await image.read() for image in images]
    vectors = await asyncio.to_thread(vectors_of, vector)  # may be two million numbers
    count, what = (len(vectors), "vectors") if vectors else (len(data), "images")
    new = records_of(records, shared, count, what)
    return EnrolledModel.of(
        await service.enrolling.enroll(site, data, new, idempotency_key, partial, vectors, raw_space_id)
    )


@router.get("", response_model=PageModel)
async def listing(
    service: ServiceDep,
    actor: Reader,
    site: SiteName,
    camera: Camera = None,
    identity: Identity = None,
    captured_after: After = None,
    captured_before: Before = None,
    filter: Filter = None,
    cursor: Annotated[str | None, Query(description="of the page before; without it, the first page")] = None,
    limit: Annotated[int, Query(description="1 to 1000")] = 100,
    without_metadata: Annotated[bool, Query(description=WITHOUT_METADATA_HELP)] = False,
    with_vectors: Annotated[
        bool,
        Query(
            description="each item with its vector. A page may then end before limit, and the audit log "
            "notes that vectors were read"
        ),
    ] = False,
) -> Response:
    """Items of a site in order of enrolling: those that meet every condition."""
    where = filter_of(
        filter,
        camera=camera,
        identity=identity,
        captured_after=captured_after,
        captured_before=captured_before,
    )
    page = await service.items.page(site, where, cursor, limit, without_metadata, with_vectors, actor)
    # in a thread: vectors are up to 700,000 numbers
    body = await asyncio.to_thread(lambda: PageModel.of(page).model_dump_json())
    return Response(body, media_type="application/json")


@router.delete("")
async def erase_where(
    service: ServiceDep,
    actor: Writer,
    site: SiteName,
    camera: Camera = None,
    identity: Identity = None,
    captured_after: After = None,
    captured_before: Before = None,
    filter: Filter = None,
    all: Annotated[bool, Query(description="erase every item of the site; no condition may be sent")] = False,
) -> ErasedModel:
    """Erase the items that `GET /gallery` lists under the same conditions, like a person's: with images and
    embeddings of every version. Without a condition nothing is erased, unless `all=true` says so."""
    where = filter_of(
        filter,
        camera=camera,
        identity=identity,
        captured_after=captured_after,
        captured_before=captured_before,
    )
    return ErasedModel.of(await service.items.erase_where(site, where, actor, all))


@router.get("/{item_id}")
async def read(service: ServiceDep, actor: Reader, item_id: str) -> ItemModel:
    """One item."""
    return ItemModel.of(await service.items.get(item_id))


@router.get("/{item_id}/image", response_class=Response, responses={200: {"content": _IMAGE_TYPES}})
async def image(service: ServiceDep, actor: Reader, item_id: str) -> Response:
    """The uploaded bytes. Every read is noted in the audit log."""
    data = await service.items.image(item_id, actor)
    return Response(
        data,
        media_type=media_type_of(data),
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
    )


@router.delete("/{item_id}")
async def erase(
    service: ServiceDep,
    actor: Writer,
    item_id: str,
    site: Annotated[str | None, Query(description="erase the item only if it is of this site")] = None,
) -> ErasedModel:
    """Erase one item."""
    return ErasedModel.of(await service.items.erase_item(item_id, actor, site))
