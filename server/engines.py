"""What embeds with the profiles in use: the bundle's own engine, which is always there, engines with a
profile's table folded in, and one that all profiles with camera tables share.

Centres play no part here: profiles with equal tables have one engine, named by `Profile.tables_id`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager

from reid.bundle import Bundle
from reid.engines import Engine, EngineError, EngineInfo, GpuOptions, RowsEngine, choose_with_reasons
from reid.engines.cores import Cores, SharesCores
from reid.engines.trial import check_probe
from reid.profile import Centres, Profile, ProfileError, has_centres, space_id, tables_id_of
from server.batching import Batcher, BulkEngine, best_batch
from server.engine_memory import engine_bytes, give_back_freed_memory
from server.engine_trials import EngineTrials
from server.errors import Conflict, EngineClosed, EngineFailed, Problem, Stopping
from server.gallery.store import Store
from server.profile_engine import PackedTables, ProfileEngine
from server.queries import Queries
from server.settings import Settings
from server.stored_precision import stored_precision
from server.tuning import Tuning, kept_tuning

log = logging.getLogger("resight")
_COMPILERS = 2  # engines compiled at once
_PACKED_BYTES = 256 * 1024 * 1024  # memory for packed tables; the store has those that are not in it


class _Slot:
    """What embeds with one set of tables, ready or being made. It stays while somebody has a lease."""

    def __init__(self) -> None:
        self.compiled: Future[ProfileEngine] = Future()
        self.leases = 0
        self.unused = False  # no site is on this profile any more

    @property
    def made(self) -> ProfileEngine | None:
        """What it holds; None while that is being made."""
        done = self.compiled.done() and self.compiled.exception() is None
        return self.compiled.result() if done else None


class Engines:
    """Sites whose profiles have equal tables share what embeds. Folded engines are kept while there is room
    for them (`max_engine_bytes`, at least one), packed tables likewise; those not used for longest go first.
    The engine for packed tables is compiled once, when the first of them are needed, and stays; it takes the
    room of a folded one, of two where bulk work has an engine of its own. Where it has, there is also one for
    bulk work beside the bundle's own engine.

    Raises EngineError from the constructor when nothing can run the bundle here.
    """

    def __init__(self, bundle: Bundle, settings: Settings, store: Store) -> None:
        self.bundle, self.settings, self.store = bundle, settings, store
        self.base_profile = bundle.profile()
        self.base_id = store.versions.save_profile(self.base_profile)
        # the bundle may lie where nothing can be written
        gpu = GpuOptions(cache=settings.data / "tensorrt")
        self.fallbacks = gpu.fallbacks
        trials = EngineTrials(bundle, settings.data)
        stored = None if settings.reembed else stored_precision(bundle, store)
        engine, self.refused = choose_with_reasons(
            bundle, settings.device, settings.engine, gpu=gpu, trial=trials, stored=stored
        )
        self.trials = trials.results
        self.info: EngineInfo = engine.describe()
        # A session on a GPU takes seconds to minutes, so no profile gets one of its own there.
        self.all_share = self.info.engine == "onnxruntime" and self.info.device != "cpu"
        self.tuning: Tuning | None = None  # of an engine that shares cores
        if isinstance(engine, SharesCores):
            self.tuning = kept_tuning(bundle, self.info, settings.data)
            if self.tuning.note is not None:
                log.warning("%s", self.tuning.note)
            if self.tuning.query_threads:
                engine = engine.with_cores(Cores(threads=self.tuning.query_threads))
        manifest = bundle.manifest
        self.max_batch = best_batch(engine, manifest.height, manifest.width)
        self.compilers = ThreadPoolExecutor(_COMPILERS, thread_name_prefix="compile")
        self.stopping = False
        self.queries = Queries()
        self.base_engine, self.base = engine, self._batcher(engine)
        self._open_bulk(self.base, engine)
        self.bytes_each = engine_bytes(bundle, self.info, self.max_batch)
        self.room = max(1, settings.max_engine_bytes // self.bytes_each)
        # by tables id; the one not used for longest comes first
        self.slots: OrderedDict[str, _Slot] = OrderedDict()
        self.shared: Batcher | None = None  # of every profile with camera tables
        self.shared_layers: tuple[str, ...] = ()
        self.opening_shared = threading.Lock()
        self.lock = threading.Lock()  # never held while something is compiled, read or waited for
        self.base_slot = _Slot()
        self.base_slot.compiled.set_result(ProfileEngine(self.base))

    def space(self, profile_id: str) -> str:
        """The space in which embeddings of a profile are compared, under this bundle and precision."""
        precision = self.bundle.precision_id(self.info.precision)
        return space_id(self.bundle.base_id, profile_id, self.bundle.manifest.preprocessing, precision)

    def raw_space(self, profile_id: str) -> str:
        """The space of what is embedded and stored: that of the profile's tables, whatever its centres."""
        return self.space(tables_id_of(profile_id))

    def profile(self, profile_id: str) -> Profile:
        """The bundle's own profile or a kept one. Raises Conflict for one that is not kept."""
        if profile_id == self.base_id:  # cleaning up drops it where no version names it yet
            return self.base_profile
        profile = self.store.versions.profile(profile_id)
        if profile is None:
            raise Conflict(f"profile {profile_id} is not in the store; roll the site back")
        return profile

    def centres(self, profile_id: str) -> Centres | None:
        """How a profile compares embeddings. Raises Conflict for one that is not kept."""
        return self.profile(profile_id).centres if has_centres(profile_id) else None

    @property
    def lanes(self) -> dict[str, int]:
        """How many engines are open beside the bundle's own: folded ones, and the shared one."""
        with self.lock:
            made = [slot.made for slot in self.slots.values()]
            folded = sum(each is not None and each.packed is None for each in made)
            return {"folded": folded, "shared": int(self.shared is not None)}

    @contextmanager
    def lease(self, profile_id: str) -> Iterator[ProfileEngine]:
        """What embeds with a kept profile, open until the block ends. Blocks while it is compiled (0.2 s and
        more).

        Raises Conflict for a profile that is not kept, EngineFailed where it cannot be compiled, Stopping.
        """
        slot = self._take(profile_id)
        try:
            yield slot.compiled.result()
        finally:
            self._give_back(slot)

    @asynccontextmanager
    async def lease_async(self, profile_id: str) -> AsyncIterator[ProfileEngine]:
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
        tables_id = tables_id_of(profile_id)
        with self.lock:
            slot = self.base_slot if tables_id == self.base_id else self.slots.get(tables_id)
        made = slot.made if slot is not None else None
        return made.batcher if made is not None else None

    @property
    def queued(self) -> int:
        """Crops that wait for an engine, of any profile."""
        with self.lock:
            tables_ids = [self.base_id, *self.slots]
        batchers = {self.shared, *(self.peek(tables_id) for tables_id in tables_ids)}
        return sum(batcher.queued for batcher in batchers if batcher is not None)

    def warm(self, profile_ids: Collection[str]) -> None:
        """Makes ready what the first requests need: engines while there is room for them, and the shared one
        where a profile has camera tables.

        One that cannot be compiled is logged: its sites answer EngineFailed, the others are served.
        """
        if self.all_share and self.base_profile.site:
            try:
                self._open_shared()  # TensorRT builds it for minutes, which no request should wait for
            except (EngineError, ProfileError) as error:
                log.error("adapted profiles cannot be served: %s", error)
        by_tables = {tables_id_of(profile_id): profile_id for profile_id in profile_ids}
        by_tables.pop(self.base_id, None)
        warmed = 0
        for profile_id in by_tables.values():
            if warmed >= self.room and self.shared is not None:
                return
            try:
                if warmed >= self.room and not self.profile(profile_id).cameras:
                    continue
                with self.lease(profile_id):
                    warmed += 1
            except (Problem, ProfileError) as error:
                log.error("profile %s cannot be served: %s", profile_id, error)

    def keep_only(self, profile_ids: Collection[str]) -> None:
        """Closes the folded engines of all other profiles, each as soon as nobody has a lease on it, and
        forgets their packed tables."""
        used = {tables_id_of(profile_id) for profile_id in profile_ids}
        with self.lock:
            for tables_id, slot in self.slots.items():
                slot.unused = tables_id not in used
            self._close_surplus()

    def close(self) -> None:
        """Finishes what is queued; leases are refused from now on."""
        with self.lock:
            self.stopping = True
            slots = [*self.slots.values(), self.base_slot]
            self.slots.clear()
        self.compilers.shutdown(wait=True)
        for slot in slots:
            made = slot.made
            if made is not None and made.packed is None:
                made.batcher.close()
        if self.shared is not None:
            self.shared.close()

    def _take(self, profile_id: str) -> _Slot:
        """A lease on what embeds with a profile; the first one starts its compilation."""
        tables_id = tables_id_of(profile_id)
        with self.lock:
            if self.stopping:
                raise Stopping("the server is stopping")
            if tables_id == self.base_id:
                slot = self.base_slot
            else:
                if tables_id not in self.slots:
                    self._start_compiling(profile_id)
                slot = self.slots[tables_id]
                slot.unused = False
                self.slots.move_to_end(tables_id)
            slot.leases += 1
            return slot

    def _give_back(self, slot: _Slot) -> None:
        with self.lock:
            slot.leases -= 1
            self._close_surplus()

    def _close_surplus(self) -> None:
        """Closes and forgets what no site uses or there is no room for. Call it with the lock."""
        made = {tables_id: slot.made for tables_id, slot in self.slots.items()}
        packed = [
            each.packed.nbytes for each in made.values() if each is not None and each.packed is not None
        ]
        folded = sum(each is not None and each.packed is None for each in made.values())
        room = max(1, self.room - self._shared_room())
        surplus, surplus_bytes = folded - room, sum(packed) - _PACKED_BYTES
        for tables_id, each in made.items():  # the one not used for longest comes first
            if each is None:
                continue
            if each.packed is None:
                goes, surplus = surplus > 0, surplus - 1
            else:
                goes, surplus_bytes = surplus_bytes > 0, surplus_bytes - each.packed.nbytes
            slot = self.slots[tables_id]
            if (goes or slot.unused) and not slot.leases:
                del self.slots[tables_id]
                if each.packed is None:
                    self.compilers.submit(self._close_engine, tables_id, each.batcher)

    def _close_engine(self, tables_id: str, batcher: Batcher) -> None:
        batcher.close(
            EngineClosed(f"the engine of profile {tables_id} was closed to make room; send this again")
        )

    def _start_compiling(self, profile_id: str) -> None:
        """Adds the slot of a profile. Call it with the lock."""
        slot = self.slots[tables_id_of(profile_id)] = _Slot()
        slot.leases += 1  # of the compilation itself
        self.compilers.submit(self._compile, profile_id, slot)

    def _compile(self, profile_id: str, slot: _Slot) -> None:
        """Fills a slot. A failure goes to all who wait and is not kept: the next request tries again."""
        tables_id = tables_id_of(profile_id)
        try:
            made = self._compiled(profile_id)
        except Exception as error:  # whatever a runtime throws, those who wait must hear of it
            with self.lock:
                if self.slots.get(tables_id) is slot:
                    del self.slots[tables_id]
            slot.compiled.set_exception(_as_problem(profile_id, error))
            return
        slot.compiled.set_result(made)
        self._give_back(slot)

    def _compiled(self, profile_id: str) -> ProfileEngine:
        if self.stopping:
            raise Stopping("the server is stopping")
        profile = self.profile(profile_id)
        if profile.cameras or self.all_share:
            shared, layers = self._open_shared()
            return ProfileEngine(shared, PackedTables.of(profile, layers))
        batcher = self._batcher(self.base_engine.with_profile(profile))
        give_back_freed_memory()
        return ProfileEngine(batcher)

    def _open_shared(self) -> tuple[Batcher, tuple[str, ...]]:
        """The batcher that profiles with camera tables share, and the layers of their packed tables."""
        with self.opening_shared:
            if self.shared is None:
                engine = self.base_engine.with_rows()
                self.shared_layers = engine.layers
                self.shared = self._batcher(engine)
                self._open_bulk(self.shared, engine)
                give_back_freed_memory()
            return self.shared, self.shared_layers

    def _shared_room(self) -> int:
        """How many folded engines the shared one takes the room of."""
        if self.shared is None:
            return 0
        return 2 if self.tuning is not None and self.tuning.streams else 1

    def _open_bulk(self, batcher: Batcher, engine: Engine | RowsEngine) -> None:
        """Gives a batcher an engine for bulk work as soon as that is compiled. Folded engines get none: it
        would take the room of another site's."""
        tuning = self.tuning
        if tuning is None or not tuning.streams or not isinstance(engine, SharesCores):
            return

        def opened() -> None:
            if self.stopping:
                return
            cores = Cores(streams=tuning.streams)
            try:
                bulk = engine.with_cores(cores)
                if isinstance(bulk, Engine):
                    check_probe(self.bundle, bulk)
            except Exception as error:  # whatever a runtime throws: the engine for queries does all then
                log.exception("bulk work has no engine of its own")
                self.fallbacks.note("bulk work by the engine for queries", str(error))
                return
            batcher.serve_bulk_with(BulkEngine(bulk, tuning.batch, cores.at_once))
            give_back_freed_memory()

        self.compilers.submit(opened)

    def _batcher(self, engine: Engine | RowsEngine) -> Batcher:
        dim, most = self.bundle.manifest.dim, self.settings.max_queued_crops
        return Batcher(engine, dim, self.max_batch, most, self.queries)


def _as_problem(profile_id: str, error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    log.error("the engine of profile %s cannot be compiled", profile_id, exc_info=error)
    return EngineFailed(
        f"the engine of profile {profile_id} cannot be compiled ({type(error).__name__}: {error}); the log "
        f"has the details; adapt the site again or roll it back"
    )
