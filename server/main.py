"""One process: service, HTTP and gRPC on one loop, one signal handler."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from reid.bundle import Bundle, BundleError
from reid.engines import EngineError
from server.auth import Auth
from server.engines import Engines
from server.errors import Problem, StartError
from server.gallery.indexes import Indexes, choose_indexes
from server.gallery.store import Store
from server.http.app import create_app
from server.http.serving import HttpServer
from server.listening import joined, listen, require_certificate
from server.service import Service
from server.settings import Settings
from server.sites import Sites
from server.work import clear_work_folders, work_folders

if TYPE_CHECKING:
    from server.grpc.serving import GrpcServer
from server.standby import end_by_signal, open_when_free

log = logging.getLogger("resight")
_STORE_THREADS = 32
_ANSWERED_S = 2.0  # of the time that running requests have at the end


def open_service(settings: Settings) -> Service:
    """Everything behind the protocols: bundle verified, engine warm, galleries in memory.

    With `settings.standby`, it waits while another server has the gallery. With `settings.reembed`, galleries
    of another model are left to `service.reembedding`: it may take hours.

    Raises StartError with the sentence that says what to change.
    """
    try:
        bundle = Bundle.load(settings.bundle)
    except BundleError as error:
        raise StartError(str(error)) from error
    store = open_when_free(settings, bundle) if settings.standby else Store(settings.place, settings.data)
    try:
        return _open_behind(store, bundle, settings)
    except BaseException as error:
        store.close()
        if isinstance(error, (EngineError, Problem)):  # Problem: the database failed while it was read
            raise StartError(str(error)) from error
        raise


def _open_behind(store: Store, bundle: Bundle, settings: Settings) -> Service:
    """The rest of `open_service`, once this process has the gallery."""
    engines = Engines(bundle, settings, store)
    clear_work_folders(settings.data)
    store.purge.copies = lambda: work_folders(settings.data)  # thumbnails are added below
    if store.requests.drop_spent(settings.spent_key_s):
        store.purge.after_erasure()
    indexes = _indexes(store, bundle, engines, settings)
    sites = Sites(store, engines, indexes)
    try:
        stale = sites.load(settings.reembed)
    except BaseException:
        indexes.close()
        raise
    service = Service(settings, bundle, store, engines, sites, stale)
    store.purge.copies = lambda: work_folders(settings.data) | service.thumbnails.remains()
    if not stale:
        service.rebuilder.drop_unused()
    return service


def _indexes(store: Store, bundle: Bundle, engines: Engines, settings: Settings) -> Indexes:
    """How galleries are searched. Raises StartError where that cannot be had."""
    if settings.index != "milvus":
        return choose_indexes(
            settings.search, settings.device, engines.fallbacks, settings.index, settings.index_from
        )
    from server.gallery.milvus import MilvusRows
    from server.gallery.milvus_indexes import MilvusIndexes

    assert store.owner is not None
    token = settings.milvus_token.get_secret_value() if settings.milvus_token is not None else None
    rows = MilvusRows(settings.milvus_uri, token, store.owner.gallery, bundle.manifest.dim)
    return MilvusIndexes(rows, settings.milvus_log_days, store.owner.lost)


def serve(settings: Settings) -> None:
    """Serves until SIGINT or SIGTERM, then lets running requests finish.

    Raises StartError, also where another server has taken the gallery over.
    """
    _allow_files()
    require_certificate(settings)
    if settings.standby:
        end_by_signal()
    service = open_service(settings)
    try:
        asyncio.run(_serve(service, settings))
    finally:
        service.close()


async def _serve(service: Service, settings: Settings) -> None:
    listener = listen(settings.host, settings.port)
    # Writes wait for each other, for 30 s where another program holds the database. With the usual handful of
    # threads, a few of them would keep every read waiting.
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_STORE_THREADS, thread_name_prefix="store"))
    auth = Auth(service.store, settings.needs_key)
    key = auth.first_key()
    if key is not None:
        print(
            f"No API key existed, so one with scope admin was made. It is shown this once:\n\n    {key}\n",
            flush=True,
        )
    http = HttpServer(create_app(service, auth), settings, service.telemetry)
    rpc = None
    if settings.grpc_port:
        from server.grpc.app import create_server

        try:
            rpc = await create_server(service, auth, joined(settings.host, settings.grpc_port))
        except (RuntimeError, OSError) as error:
            raise StartError(
                f"gRPC port {settings.grpc_port} cannot be had ({error}); choose another with --grpc-port, "
                f"or 0 for none"
            ) from error
        await rpc.start()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    owner = service.store.owner
    assert owner is not None
    owner.when_lost = lambda: loop.call_soon_threadsafe(stop.set)
    if owner.lost.is_set():
        stop.set()
    preparing = asyncio.create_task(_prepare(service, rpc))
    if not service.reembedding.sites:  # whoever gets the first answer finds the jobs begun again
        await preparing
    serving = asyncio.create_task(http.serve(sockets=[listener]))
    _say(service, settings, listener.getsockname()[1])
    ends = {serving, asyncio.create_task(stop.wait())}
    await asyncio.wait({preparing, *ends}, return_when=asyncio.FIRST_COMPLETED)
    if not _failed(preparing):
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    http.should_exit = True
    service.reembedding.stop()
    # whoever waits for a calibration is told so while there is time to answer
    loop.call_later(max(0.0, settings.drain_s - _ANSWERED_S), service.calibrating.stop)
    if rpc is not None:
        rpc.say_stopping()
    service.jobs.stop_all()
    if rpc is not None:
        await rpc.stop(settings.drain_s)
    await serving
    failure = (await asyncio.gather(preparing, return_exceptions=True))[0]
    owner.when_lost = lambda: None  # the loop ends
    if owner.lost.is_set():
        raise StartError(owner.sentence)
    if failure is not None:
        raise failure


async def _prepare(service: Service, rpc: GrpcServer | None) -> None:
    """What is done behind open ports: galleries of another model, then jobs that were cut off."""
    if await asyncio.to_thread(service.reembedding.run):
        await asyncio.to_thread(service.adapting.resume)
        service.reembedding.ended.set()
        service.schedule.start()
        if rpc is not None:
            rpc.say_serving()


def _failed(task: asyncio.Task[None]) -> bool:
    return task.done() and task.exception() is not None


def _allow_files() -> None:
    """Raises the soft limit on open files, often 1024, so that connections do not take those of the store."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))


def _say(service: Service, settings: Settings, port: int) -> None:
    info, items = service.engines.info, sum(len(site.state.index) for site in service.sites.by_name.values())
    engine = f"{info.engine} {info.version} on {info.device} in {info.precision}"
    scheme, over = ("https", " over TLS") if settings.tls_cert is not None else ("http", "")
    print(
        f"Resight serves {service.bundle.manifest.name} with {engine}: {len(service.sites.by_name)} "
        f"site(s), {items} item(s)\n"
        f"HTTP {scheme}://{joined(settings.host, port)}{settings.root_path} (for browsers; docs at /docs)"
        + (f", gRPC {joined(settings.host, settings.grpc_port)}{over}" if settings.grpc_port else ""),
        file=sys.stderr,
        flush=True,
    )
