"""Enroll, query, list, read, erase over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np

from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from server.errors import BadRequest
from server.fields import AllowedAlarms, allowed_alarms, filter_of, query_camera_of
from server.fields.labels import label_of
from server.gallery.index import SCORE_DIGITS
from server.grpc import messages
from server.grpc.guard import actor
from server.media import media_type_of
from server.service import Service

_PART = 256 * 1024  # bytes of an image in one message
# A threshold comes in float32, which makes 0.8 a little more than 0.8. Rounded to these digits it is what the
# client meant, so an item whose score is sent as the threshold is kept, as it is over HTTP.
_THRESHOLD_DIGITS = SCORE_DIGITS + 1


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
            filter_of(request.filter_json or None, "filter_json"),
            query_camera_of(request.query_camera, request.camera),
            request.exclude_same_camera,
            _threshold_of(request),
            request.group_by or None,
            request.include_hidden,
            messages.vectors(request.vectors),
            request.raw_space_id or None,
            request.rerank,
        )
        # in a thread: twenty thousand matches take a while
        return await asyncio.to_thread(messages.answer, ranking, request.without_metadata)

    async def Embed(self, request: pb.EmbedRequest, context: Any) -> pb.EmbedResponse:
        """Vectors of crops."""
        images = [crop.image for crop in request.crops]
        cameras = [label_of(crop.camera, f"crops[{i}].camera") for i, crop in enumerate(request.crops)]
        vectors = await self.service.vectoring.embed(request.site, images, cameras)
        return pb.EmbedResponse(
            site=vectors.site,
            version=vectors.version,
            raw_space_id=vectors.raw_space_id,
            dim=vectors.dim,
            vectors=[pb.Vector(values=row) for row in vectors.vectors],
        )

    async def List(self, request: pb.ListRequest, context: Any) -> pb.ListResponse:
        """A page of items."""
        where = messages.item_filter(request)
        page = await self.service.items.page(
            request.site,
            where,
            request.cursor or None,
            request.limit or 100,
            request.without_metadata,
            request.with_vectors,
            actor(),
        )
        return await asyncio.to_thread(messages.page, page)

    async def Erase(self, request: pb.EraseRequest, context: Any) -> pb.EraseResponse:
        """An item, or the items that meet every condition."""
        where = messages.item_filter(request)
        if not request.item_id:
            erased = await self.service.items.erase_where(request.site, where, actor(), request.all)
        elif request.all or not where.is_open:
            raise BadRequest("item_id names one item, which contradicts all, filter_json and the conditions")
        else:
            erased = await self.service.items.erase_item(request.item_id, actor(), request.site or None)
        until = erased.index_keeps_until
        return pb.EraseResponse(erased=erased.count, purged=erased.purged, index_keeps_until=until)

    async def GetItem(self, request: pb.GetItemRequest, context: Any) -> pb.Item:
        """One item."""
        return messages.item(await self.service.items.get(request.item_id))

    async def GetImage(self, request: pb.GetImageRequest, context: Any) -> AsyncIterator[pb.ImagePart]:
        """The uploaded bytes in parts, which every client takes: most read no message beyond 4 MiB."""
        data = await self.service.items.image(request.item_id, actor())
        kind = media_type_of(data)
        for start in range(0, len(data), _PART):
            yield pb.ImagePart(data=data[start : start + _PART], media_type=kind)

    async def _enroll(self, request: pb.EnrollRequest) -> pb.EnrollResponse:
        if not request.crops:
            raise BadRequest("no crops: send at least one in crops, with its image or its vector")
        records = [messages.record(crop, i) for i, crop in enumerate(request.crops)]
        images, vectors = _contents(request.crops)
        committed = await self.service.enrolling.enroll(
            request.site,
            images,
            records,
            request.idempotency_key or None,
            request.partial,
            vectors,
            request.raw_space_id or None,
        )
        return messages.enrolled(committed)


def _contents(crops: Sequence[pb.Crop]) -> tuple[list[bytes], list[np.ndarray]]:
    """The images of crops, or their vectors. Raises BadRequest where both are sent."""
    with_vector = [crop for crop in crops if crop.HasField("vector")]
    if not with_vector:
        return [crop.image for crop in crops], []
    for index, crop in enumerate(crops):
        if crop.image:
            also = "an image and a vector" if crop.HasField("vector") else "an image, and others a vector"
            raise BadRequest(f"crops[{index}] has {also}; send each in a request of their own")
    return [], messages.vectors([crop.vector for crop in crops])


def _threshold_of(request: pb.QueryRequest) -> float | AllowedAlarms | None:
    """Raises BadRequest."""
    if request.HasField("false_alarms_per_1000"):
        if request.HasField("threshold"):
            raise BadRequest("threshold and false_alarms_per_1000 contradict each other; send one of them")
        return allowed_alarms(request.false_alarms_per_1000)
    return round(request.threshold, _THRESHOLD_DIGITS) if request.HasField("threshold") else None
