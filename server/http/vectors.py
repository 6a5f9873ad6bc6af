"""`/embed`: vectors of crops."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Form, Response
from pydantic import BaseModel, Field

from server.fields.cameras import cameras_of
from server.http.access import KeyedRoute, Reader, ServiceDep
from server.http.declared import EMPTY_IS_NONE
from server.http.gallery import Images
from server.vectors import Vectors

router = APIRouter(tags=["vectors"], route_class=KeyedRoute)


class VectorsModel(BaseModel):
    """Vectors, one an image, in the order of the images."""

    site: str
    version: int
    raw_space_id: str = Field(description="vectors of different raw spaces cannot be compared")
    dim: int = Field(description="numbers of each vector")
    vectors: list[list[float]] = Field(
        description="float32, unit length, as embedded: before a camera's centre is subtracted"
    )


@router.post("/embed", response_model=VectorsModel)
async def embed(
    service: ServiceDep,
    actor: Reader,
    images: Images,
    site: Annotated[str, Form(examples=["lobby"])],
    camera: Annotated[
        str | None,
        Form(
            examples=["door"], description="of all images; empty: not known", json_schema_extra=EMPTY_IS_NONE
        ),
    ] = None,
    cameras: Annotated[
        str | None,
        Form(
            examples=['["door", null]'],
            description="instead of camera: a JSON array, one camera an image; null: not known",
        ),
    ] = None,
) -> Response:
    """Embed crops as the site does now. Nothing is stored."""
    data = [await image.read() for image in images]
    vectors = await service.vectoring.embed(site, data, cameras_of(cameras, camera, len(data)))
    # in a thread: a hundred thousand numbers take a while to write
    body = await asyncio.to_thread(_written, vectors)
    return Response(body, media_type="application/json")


def _written(vectors: Vectors) -> str:
    return VectorsModel(
        site=vectors.site,
        version=vectors.version,
        raw_space_id=vectors.raw_space_id,
        dim=vectors.dim,
        vectors=vectors.vectors.tolist(),
    ).model_dump_json()
