"""Bytes of crops -> unit vectors, for enrolls, queries and re-embedding."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from reid.bundle import Bundle
from reid.images import ImageError, ImageTooLarge, Limits, UnsupportedImage, decode_crop
from server.batching import Lane
from server.engines import Engines
from server.errors import Conflict, Problem, TooLarge, Unprocessable, UnsupportedMedia
from server.gallery.records import Item
from server.profile_engine import ProfileEngine
from server.settings import Settings

# What was accepted once is decoded again, whatever the limits say today.
STORED = Limits(max_bytes=2**31, max_pixels=2**31, min_side=1, max_aspect=2.0**31)


class Embedding:
    """Decodes crops in threads of its own and embeds them with the engine of a profile."""

    def __init__(self, bundle: Bundle, engines: Engines, settings: Settings) -> None:
        self.engines, self.limits = engines, settings.limits
        self.height, self.width = bundle.manifest.height, bundle.manifest.width
        self.decoders = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode")

    def close(self) -> None:
        """Finishes what is being decoded."""
        self.decoders.shutdown(wait=True)

    def admit(self, profile_id: str, count: int) -> None:
        """Raises Overloaded before decoding where the engine would refuse `count` crops after it."""
        batcher = self.engines.peek(profile_id)
        if batcher is not None:
            batcher.check_room(count)

    async def decode(
        self, images: Sequence[bytes], partial: bool = False
    ) -> tuple[np.ndarray, dict[int, Problem]]:
        """uint8 [n,H,W,3] of the images that decode, and the problems of the others by their index.

        Raises the first problem unless `partial`.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.decoders, self._decode, images, partial)

    def _decode(self, images: Sequence[bytes], partial: bool) -> tuple[np.ndarray, dict[int, Problem]]:
        crops: list[np.ndarray] = []
        problems: dict[int, Problem] = {}
        for index, data in enumerate(images):
            try:
                crops.append(decode_crop(data, self.height, self.width, self.limits))
            except ImageError as error:
                problems[index] = _problem_of(error)(f"image {index}: {error}", index=index)
                if not partial:
                    raise problems[index] from error
        shape = (0, self.height, self.width, 3)
        return (np.stack(crops) if crops else np.empty(shape, np.uint8)), problems

    async def embed(
        self, profile_id: str, crops: np.ndarray, cameras: Sequence[str | None], lane: Lane
    ) -> np.ndarray:
        """uint8 [n,H,W,3] and the camera of each -> float32 [n,D], unit length, before any centre is
        subtracted. Raises EmbedError where the engine fails."""
        async with self.engines.lease_async(profile_id) as engine:
            return await asyncio.wrap_future(engine.submit(crops, cameras, lane))

    def embed_stored(
        self, engine: ProfileEngine, images: Mapping[int, bytes], items: Sequence[Item]
    ) -> Future[np.ndarray]:
        """Items and their stored bytes by seq -> float32 [n,D] as `embed` gives it. Decodes here. Raises
        Conflict like `decode_stored`."""
        crops = [self.decode_stored(images[item.seq], item.id) for item in items]
        return engine.submit(np.stack(crops), [item.camera for item in items], "bulk")

    def decode_stored(self, data: bytes, item_id: str) -> np.ndarray:
        """uint8 [H,W,3] of stored bytes. Raises Conflict naming the item if they no longer decode."""
        try:
            return decode_crop(data, self.height, self.width, STORED)
        except ImageError as error:
            raise Conflict(
                f"the stored image of item {item_id} no longer decodes ({error}); erase the item and "
                f"start the job again"
            ) from error


def _problem_of(error: ImageError) -> type[Problem]:
    if isinstance(error, ImageTooLarge):
        return TooLarge
    return UnsupportedMedia if isinstance(error, UnsupportedImage) else Unprocessable
