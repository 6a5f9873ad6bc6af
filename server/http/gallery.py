"""`/gallery`: enroll, read, list, erase."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Header, Query, Response, UploadFile

from server.errors import BadRequest
from server.fields import filter_of, records_of
from server.http.access import KeyedRoute, Reader, ServiceDep, Writer
from server.http.schemas import EnrolledModel, ErasedModel, ItemModel, PageModel

router = APIRouter(prefix="/gallery", tags=["gallery"], route_class=KeyedRoute)
Images = Annotated[list[UploadFile], File(description="JPEG, PNG or WebP crops of one person each")]


@router.post("", status_code=201)
async def enroll(
    service: ServiceDep,
    actor: Writer,
    images: Images,
    site: Annotated[str, Form(examples=["lobby"])],
    camera: Annotated[str | None, Form(examples=["door"], description="of all images")] = None,
    identity: Annotated[str | None, Form(description="label of the person, if it is known")] = None,
    captured_at: Annotated[str | None, Form(examples=["2026-05-04T09:30:00Z"])] = None,
    metadata: Annotated[
        str | None, Form(examples=['{"track": 12}'], description="a JSON object of plain values")
    ] = None,
    records: Annotated[
        str | None, Form(description="a JSON array, one object an image, instead of the single fields")
    ] = None,
    partial: Annotated[bool, Form(description="store the good images and report the bad ones")] = False,
    idempotency_key: Annotated[
        str | None, Header(description="repeating a request under its key enrolls nothing twice")
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
    return EnrolledModel.of(
        await service.enrolling.enroll(
            site, data, records_of(records, shared, len(data)), idempotency_key, partial
        )
    )


@router.get("")
async def listing(
    service: ServiceDep,
    actor: Reader,
    site: str,
    camera: str | None = None,
    identity: str | None = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(description="1 to 1000")] = 100,
) -> PageModel:
    """Items of a site in order of enrolling."""
    items, following = await service.items.page(site, filter_of(None, camera, identity), cursor, limit)
    return PageModel(items=[ItemModel.of(item) for item in items], cursor=following)


@router.delete("")
async def erase_identity(service: ServiceDep, actor: Writer, site: str, identity: str) -> ErasedModel:
    """Erase a person: every item of the identity, with images and embeddings of every version."""
    if not identity:
        raise BadRequest("identity is empty; name the person to erase")
    return ErasedModel.of(await service.items.erase_identity(site, identity, actor))


@router.get("/{item_id}")
async def read(service: ServiceDep, actor: Reader, item_id: str) -> ItemModel:
    """One item."""
    return ItemModel.of(await service.items.get(item_id))


@router.get("/{item_id}/image", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
async def image(service: ServiceDep, actor: Reader, item_id: str) -> Response:
    """The uploaded bytes. Every read is noted in the audit log."""
    data = await service.items.image(item_id, actor)
    kind = "image/png" if data[:4] == b"\x89PNG" else "image/webp" if data[:4] == b"RIFF" else "image/jpeg"
    return Response(
        data, media_type=kind, headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    )


@router.delete("/{item_id}")
async def erase(service: ServiceDep, actor: Writer, item_id: str) -> ErasedModel:
    """Erase one item."""
    return ErasedModel.of(await service.items.erase_item(item_id, actor))
