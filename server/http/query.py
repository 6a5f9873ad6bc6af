"""`/query`: ranked matches."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, File, Form, Response, UploadFile

from server.fields import filter_of, query_camera_of, threshold_of
from server.fields.vectors import vectors_of
from server.http.access import KeyedRoute, Reader, ServiceDep
from server.http.declared import none_sent
from server.http.schemas import FILTER_EXAMPLE, FILTER_HELP, WITHOUT_METADATA_HELP, AnswerModel
from server.query import Answer

router = APIRouter(tags=["query"], route_class=KeyedRoute)


@router.post("/query", response_model=AnswerModel)
async def query(
    service: ServiceDep,
    actor: Reader,
    site: Annotated[str, Form(examples=["lobby"])],
    images: Annotated[
        list[UploadFile],
        File(default_factory=none_sent, description="one crop, or the crops of one tracklet"),
    ],
    vector: Annotated[
        list[str],
        Form(
            default_factory=none_sent,
            examples=[["[0.12, -0.03]"]],
            description="a vector as /embed answers it, instead of an image: a JSON array of numbers, or "
            "base64 of little-endian float32; sent several times: those of one tracklet",
        ),
    ],
    raw_space_id: Annotated[
        str | None, Form(description="of the vectors: the site's own; those of another are refused")
    ] = None,
    item_id: Annotated[
        str | None, Form(description="an enrolled item instead of images; it is no match of its own")
    ] = None,
    top_k: Annotated[int, Form()] = 10,
    query_camera: Annotated[
        str | None,
        Form(description="where the query was seen; it restricts nothing by itself: filter does"),
    ] = None,
    camera: Annotated[str | None, Form(deprecated=True, description="the older name of query_camera")] = None,
    exclude_same_camera: Annotated[bool, Form(description="leave out items of the query's camera")] = False,
    filter: Annotated[str | None, Form(examples=[FILTER_EXAMPLE], description=FILTER_HELP)] = None,
    threshold: Annotated[
        str | None,
        Form(
            examples=["0.8", '{"false_alarms_per_1000": 5}'],
            description="lowest cosine to return; or a JSON object with false_alarms_per_1000: the cosine by "
            "which so many of 1,000 queries of unknown people find somebody, at the gallery's present size",
        ),
    ] = None,
    without_metadata: Annotated[bool, Form(description=WITHOUT_METADATA_HELP)] = False,
    group_by: Annotated[
        str | None,
        Form(
            description="identity: rank people instead of items, each once with their best items, and decide "
            "whether the first one is the person of the query"
        ),
    ] = None,
    include_hidden: Annotated[
        bool, Form(description="hidden people too, who are no match otherwise")
    ] = False,
    rerank: Annotated[
        bool,
        Form(
            description="put the 200 nearest items in the order of the neighbours that they share with the "
            "query (k-reciprocal re-ranking); scores stay cosines and need not descend. Not with group_by"
        ),
    ] = False,
) -> Response:
    """Rank a site's gallery. Everything in one answer is of one version."""
    data = [await image.read() for image in images]
    ranking = await service.querying.query(
        site,
        data,
        item_id,
        top_k,
        filter_of(filter),
        query_camera_of(query_camera, camera),
        exclude_same_camera,
        threshold_of(threshold),
        group_by,
        include_hidden,
        await asyncio.to_thread(vectors_of, vector),  # a tracklet's may be a hundred thousand numbers
        raw_space_id,
        rerank,
    )
    timing = ", ".join(f"{name};dur={1000 * seconds:.2f}" for name, seconds in ranking.seconds.items())
    # In a thread: twenty thousand matches take a fifth of a second to write, in which the loop serves others.
    body = await asyncio.to_thread(_written, ranking, without_metadata)
    return Response(body, media_type="application/json", headers={"Server-Timing": timing})


def _written(ranking: Answer, without_metadata: bool) -> str:
    if without_metadata:
        ranking = ranking.without_metadata()
    return AnswerModel.of(ranking).model_dump_json()
