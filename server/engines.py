"""The compiled engines of the profiles in use: one batcher a profile, the base profile's always there."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager

from reid.bundle import Bundle
from reid.engines import Engine, EngineInfo, choose_with_reasons
from reid.profile import space_id
from server.batching import Batcher, best_batch
from server.engine_memory import engine_bytes, give_back_freed_memory
from server.errors import Conflict, EngineClosed, EngineFailed, Problem, Stopping
from server.gallery.store import Store
from server.settings import Settings

log = logging.getLogger("resight")
_COMPILERS = 2  # engines compiled at once


class _Slot:
    """The engine of one profile, compiled or being compiled. It stays open while somebody has a lease."""

    def __init__(self) -> None:
        self.compiled: Future[Batcher] = Future()
        self.leases = 0
        self.unused = False  # no site is on this profile any more


class Engines:
    """Sites that share a profile share its engine. Engines of adapted sites are kept while there is room for
    them (`max_engine_bytes`, at least one); the one not used for longest is closed first.

    Raises EngineError from the constructor when nothing can run the bundle here.
    """

    def __init__(self, bundle: Bundle, settings: Settings, store: Store) -> None:
        self.bundle, self.settings, self.store = bundle, settings, store
        self.base_profile = bundle.profile()
        self.base_id = store.versions.save_profile(self.base_profile)
        engine, self.refused = choose_with_reasons(bundle, settings.device, settings.engine)
        self.info: EngineInfo = engine.describe()
        manifest = bundle.manifest
        self.max_batch = best_batch(engine, manifest.height, manifest.width)
        self.base = self._batcher(engine)
        self.bytes_each = engine_bytes(bundle, self.info, self.max_batch)
        self.room = max(1, settings.max_engine_bytes // self.bytes_each)
        self.slots: OrderedDict[str, _Slot] = OrderedDict()  # the one not used for longest comes first
        self.lock = threading.Lock()  # never held while something is compiled, read or waited for
        self.compilers = ThreadPoolExecutor(_COMPILERS, thread_name_prefix="compile")
        self.stopping = False
        self.base_slot = _Slot()
        self.base_slot.compiled.set_result(self.base)

    def space(self, profile_id: str) -> str:
        """The embedding space of a profile under this bundle and precision."""
        return space_id(
            self.bundle.base_id, profile_id, self.bundle.manifest.preprocessing, self.info.precision
        )

    @contextmanager
    def lease(self, profile_id: str) -> Iterator[Batcher]:
        """The batcher of a kept profile, open until the block ends. Blocks while it is compiled (0.2 s and
        more).

        Raises Conflict for a profile that is not kept, EngineFailed where it cannot be compiled, Stopping.
        """
        slot = self._take(profile_id)
        try:
            yield slot.compiled.result()
        finally:
            self._give_back(slot)

    @asynccontextmanager
    async def lease_async(self, profile_id: str) -> AsyncIterator[Batcher]:
        """`lease` for the event loop, which serves others while the engine is compiled."""
        slot = self._take(profile_id)
        try:
            if not slot.compiled.done():
                # Shielded: others may be waiting for the same engine when this request is cancelled.
                await asyncio.shield(asyncio.wrap_future(slot.compiled))
            yield slot.compiled.result()
        finally:
            self._give_back(slot)

    def peek(self, profile_id: str) -> Batcher | None:
        """The batcher of a profile if it is compiled, to look at its queue. Use `lease` to submit to it."""
        with self.lock:
            slot = self.base_slot if profile_id == self.base_id else self.slots.get(profile_id)
        if slot is None or not slot.compiled.done() or slot.compiled.exception() is not None:
            return None
        return slot.compiled.result()

    @property
    def queued(self) -> int:
        """Crops that wait for an engine, of any profile."""
        with self.lock:
            profile_ids = [self.base_id, *self.slots]
        batchers = [self.peek(profile_id) for profile_id in profile_ids]
        return sum(batcher.queued for batcher in batchers if batcher is not None)

    def warm(self, profile_ids: Collection[str]) -> None:
        """Compiles engines before the first request needs them, as many as there is room for.

        One that cannot be compiled is logged: its sites answer EngineFailed, the others are served.
        """
        adapted = [profile_id for profile_id in profile_ids if profile_id != self.base_id]
        for profile_id in list(dict.fromkeys(adapted))[: self.room]:
            try:
                with self.lease(profile_id):
                    pass
            except Problem as error:
                log.error("profile %s cannot be served: %s", profile_id, error.detail)

    def keep_only(self, profile_ids: Collection[str]) -> None:
        """Closes the engines of all other profiles, each as soon as nobody has a lease on it."""
        with self.lock:
            for profile_id, slot in self.slots.items():
                slot.unused = profile_id not in profile_ids
            self._close_surplus()

    def close(self) -> None:
        """Finishes what is queued; leases are refused from now on."""
        with self.lock:
            self.stopping = True
            slots = [*self.slots.values(), self.base_slot]
            self.slots.clear()
        self.compilers.shutdown(wait=True)
        for slot in slots:
            if slot.compiled.exception() is None:
                slot.compiled.result().close()

    def _take(self, profile_id: str) -> _Slot:
        """A lease on the engine of a profile; the first one starts its compilation."""
        with self.lock:
            if self.stopping:
                raise Stopping("the server is stopping")
            if profile_id == self.base_id:
                slot = self.base_slot
            else:
                if profile_id not in self.slots:
                    self._start_compiling(profile_id)
                slot = self.slots[profile_id]
                slot.unused = False
                self.slots.move_to_end(profile_id)
            slot.leases += 1
            return slot

    def _give_back(self, slot: _Slot) -> None:
        with self.lock:
            slot.leases -= 1
            self._close_surplus()

    def _close_surplus(self) -> None:
        """Closes engines that no site uses or that there is no room for. Call it with the lock."""
        surplus = max(0, len(self.slots) - self.room)
        for place, (profile_id, slot) in enumerate(list(self.slots.items())):
            if (place < surplus or slot.unused) and not slot.leases:
                del self.slots[profile_id]
                self.compilers.submit(self._close_engine, profile_id, slot)

    def _close_engine(self, profile_id: str, slot: _Slot) -> None:
        slot.compiled.result().close(
            EngineClosed(f"the engine of profile {profile_id} was closed to make room; send this again")
        )

    def _start_compiling(self, profile_id: str) -> None:
        """Adds the slot of a profile. Call it with the lock."""
        slot = self.slots[profile_id] = _Slot()
        slot.leases += 1  # of the compilation itself
        self.compilers.submit(self._compile, profile_id, slot)

    def _compile(self, profile_id: str, slot: _Slot) -> None:
        """Fills a slot. A failure goes to all who wait and is not kept: the next request tries again."""
        try:
            batcher = self._compiled(profile_id)
        except Exception as error:  # whatever a runtime throws, those who wait must hear of it
            with self.lock:
                if self.slots.get(profile_id) is slot:
                    del self.slots[profile_id]
            slot.compiled.set_exception(_as_problem(profile_id, error))
            return
        slot.compiled.set_result(batcher)
        self._give_back(slot)

    def _compiled(self, profile_id: str) -> Batcher:
        if self.stopping:
            raise Stopping("the server is stopping")
        profile = self.store.versions.profile(profile_id)
        if profile is None:
            raise Conflict(f"profile {profile_id} is not in the store; roll the site back")
        batcher = self._batcher(self.base.engine.with_profile(profile))
        give_back_freed_memory()
        return batcher

    def _batcher(self, engine: Engine) -> Batcher:
        return Batcher(engine, self.bundle.manifest.dim, self.max_batch, self.settings.max_queued_crops)


def _as_problem(profile_id: str, error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    log.error("the engine of profile %s cannot be compiled", profile_id, exc_info=error)
    return EngineFailed(
        f"the engine of profile {profile_id} cannot be compiled ({type(error).__name__}: {error}); the log "
        f"has the details; adapt the site again or roll it back"
    )
