"""Small pictures of items, for pages that show many: made once, kept on disk, erased with the item.

A file is `thumbnails/ab/ID.jpg`, where ID begins with ab.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import threading
import time
from pathlib import Path

from PIL import Image

from reid.images import ImageError, decode
from server.embedding import STORED
from server.errors import NotFound, Unprocessable
from server.gallery.records import Item
from server.gallery.store import Store
from server.items import require_item

log = logging.getLogger("resight")
_SIZE = (192, 384)  # most pixels across and down; a smaller picture keeps its size
_QUALITY = 85
_NOTED_FOR_S = 3600.0  # who looked at an item is noted once in this time: pages show the same ones again
_MOST_LOOKS = 100_000


class Thumbnails:
    """The small pictures of a gallery.

    No file of an erased item is there once its erasure is answered: one is written only while its item is in
    the database, and looking and writing are one step that an erasure waits for.

    Args:
        data: the data folder.
    """

    def __init__(self, store: Store, data: Path) -> None:
        self.store = store
        self.folder = Path(os.path.abspath(data)) / "thumbnails"
        self.lock = threading.Lock()  # of the files
        self.not_removed: set[Path] = set()  # of erased items: the file system refused
        self.looks: dict[tuple[str, str], float] = {}  # who, which item -> when it was noted
        self._drop_strays()
        store.database.when_erased = self.erase

    async def get(self, item_id: str, actor: str) -> bytes:
        """JPEG bytes. That somebody looked is noted in the audit log, once an hour for each item.

        Raises NotFound, also where the image was not kept, and Unprocessable where it no longer decodes.
        """
        return await asyncio.to_thread(self._get, item_id, actor)

    def erase(self, ids: list[str]) -> None:
        """Removes the pictures of erased items."""
        with self.lock:
            self._remove({self._path(item_id) for item_id in ids})

    def remains(self) -> set[Path]:
        """Files of erased items that could not be removed yet; tries once more."""
        with self.lock:
            self._remove(set(self.not_removed))
            return set(self.not_removed)

    def _get(self, item_id: str, actor: str) -> bytes:
        item = require_item(self.store, item_id)
        path = self._path(item.id)
        try:
            data = path.read_bytes()
        except OSError:  # not made yet, or damaged: made again
            data = self._make(item)
            self._keep(item, path, data)
        self._note(item, actor)
        return data

    def _make(self, item: Item) -> bytes:
        original = self.store.items.image(item.seq)
        if original is None:
            raise NotFound(f"the image of item {item.id!r} was not kept")
        try:
            picture = Image.fromarray(decode(original, STORED))
        except ImageError as error:
            raise Unprocessable(f"the stored image of item {item.id} no longer decodes: {error}") from error
        picture.thumbnail(_SIZE)
        written = io.BytesIO()
        picture.save(written, "JPEG", quality=_QUALITY)
        return written.getvalue()

    def _keep(self, item: Item, path: Path, data: bytes) -> None:
        """A full disk costs the next look some time, and this one nothing."""
        with self.lock:
            if self.store.items.get(item.id) is None:  # erased meanwhile
                return
            part = path.with_suffix(".part")
            try:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                part.write_bytes(data)
                part.replace(path)
            except OSError as error:
                log.warning("the thumbnail of item %s cannot be kept: %s", item.id, error)
                part.unlink(missing_ok=True)

    def _note(self, item: Item, actor: str) -> None:
        now = time.monotonic()
        with self.lock:
            if now - self.looks.get((actor, item.id), -_NOTED_FOR_S) < _NOTED_FOR_S:
                return
            if len(self.looks) >= _MOST_LOOKS:
                self.looks.clear()
            self.looks[actor, item.id] = now
        self.store.audit.note(actor, "read-thumbnail", item.site, {}, item.id)

    def _remove(self, paths: set[Path]) -> None:
        for path in paths:
            try:
                path.unlink(missing_ok=True)
                self.not_removed.discard(path)
            except OSError as error:
                self.not_removed.add(path)
                log.warning("%s of an erased item cannot be removed: %s", path, error)

    def _drop_strays(self) -> None:
        """Removes what a killed server has left: pictures of items that were erased, halves of files."""
        files = [path for path in self.folder.glob("*/*") if path.is_file()]
        present = self.store.items.present([path.stem for path in files])
        self._remove({path for path in files if path.suffix != ".jpg" or path.stem not in present})

    def _path(self, item_id: str) -> Path:
        return self.folder / item_id[:2] / f"{item_id}.jpg"
