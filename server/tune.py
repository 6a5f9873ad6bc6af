"""`resight tune`: measures how the CPU's cores are best shared out, with the server's batcher and decoding.

Ways take turns, so that whatever else the machine does meets them all, and the best round of each counts.
"""

from __future__ import annotations

import io
import statistics
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from PIL import Image

from reid.bundle import Bundle, BundleError
from reid.engines import Engine, EngineError, choose_with_reasons
from reid.engines.agreement import probe_crops
from reid.engines.cores import Cores, SharesCores
from reid.images import decode_crop
from server.batching import Batcher, BulkEngine, best_batch
from server.engine_trials import EngineTrials
from server.errors import StartError
from server.gallery.store import Store
from server.settings import Settings
from server.stored_precision import stored_precision
from server.tuning import Tuning, cores, keep_tuning

BATCHES = (4, 8, 16, 32)
_REQUEST, _AT_ONCE = 64, 3  # crops a request, requests at once
_ENOUGH = 0.95  # of the fastest, where a smaller batch or fewer streams suffice for that
_WORTH_THREADS = 0.9  # of the default's time, which another number of threads has to reach
_TURN_S, _ROUNDS = 0.5, 5


class Way(NamedTuple):
    """How bulk work may be done. streams 0: by the engine for queries, at its own batch size."""

    streams: int
    batch: int


class Measured(NamedTuple):
    """What came out: crops a second of each way, seconds of one crop by number of threads, and the choice."""

    rates: dict[Way, float]
    seconds: dict[int, float]
    tuning: Tuning


def tune(settings: Settings, turn_s: float = _TURN_S, rounds: int = _ROUNDS) -> Measured:
    """Measures the engine that a server with these settings takes, and writes the choice beside the gallery.

    Raises StartError where there is no such engine, or it does not share cores, or nothing can be written.
    """
    try:
        bundle = Bundle.load(settings.bundle)
        if settings.data.exists() and not settings.data.is_dir():
            raise StartError(f"data folder {settings.data} cannot be used: it is a file")
        trials = EngineTrials(bundle, settings.data)
        engine = choose_with_reasons(
            bundle, settings.device, settings.engine, trial=trials, stored=_stored(bundle, settings)
        ).engine
    except (BundleError, EngineError) as error:
        raise StartError(str(error)) from error
    info = engine.describe()
    if not isinstance(engine, SharesCores):
        raise StartError(
            f"a server takes {info.engine} on {info.device} here, where nothing can be tuned; only OpenVINO "
            "shares the CPU's cores out"
        )
    measured = measure(bundle, engine, settings.decode_threads, turn_s, rounds)
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
        keep_tuning(measured.tuning, bundle, info, settings.data)
    except OSError as error:
        raise StartError(f"data folder {settings.data} cannot be written: {error.strerror}") from error
    return measured


def _stored(bundle: Bundle, settings: Settings) -> str | None:
    """In which precision a gallery is that exists already; None where there is none."""
    if settings.reembed or (settings.store is None and not (settings.data / "gallery.db").exists()):
        return None
    store = Store(settings.place, beside=True)
    try:
        return stored_precision(bundle, store)
    finally:
        store.close()


def measure(
    bundle: Bundle, engine: Engine, decode_threads: int, turn_s: float = _TURN_S, rounds: int = _ROUNDS
) -> Measured:
    """Measures an engine that shares cores."""
    assert isinstance(engine, SharesCores)
    available = cores()
    by_threads: dict[int, Engine] = {0: engine}
    by_threads |= {n: engine.with_cores(Cores(threads=n)) for n in _halves(available)[1:]}
    seconds = _latencies(by_threads, bundle.size, turn_s, rounds)
    threads = quickest(seconds)
    queries, own_batch = by_threads[threads], best_batch(by_threads[threads], *bundle.size)
    by_streams = {n: engine.with_cores(Cores(streams=n)) for n in _halves(available) if n > 1}
    ways = [Way(0, own_batch), *(Way(streams, batch) for streams in by_streams for batch in BATCHES)]
    jpegs = _jpegs(*bundle.size)
    best = dict.fromkeys(ways, 0.0)
    with ThreadPoolExecutor(decode_threads) as decoders:
        for number in range(rounds + 1):  # the first warms up
            for way in ways:
                batcher = Batcher(queries, bundle.manifest.dim, own_batch)
                if way.streams:
                    at_once = Cores(streams=way.streams).at_once
                    batcher.serve_bulk_with(BulkEngine(by_streams[way.streams], way.batch, at_once))
                rate = _rate(batcher, decoders, jpegs, bundle.size, turn_s if number else 0.0)
                batcher.close()
                best[way] = max(best[way], rate if number else 0.0)
    streams, batch = chosen(best)
    return Measured(best, seconds, Tuning(threads, streams, batch, measured=True))


def quickest(seconds: dict[int, float]) -> int:
    """The number of threads with which one crop is embedded soonest; 0, the runtime's own choice, unless
    another is clearly better."""
    best = min(seconds, key=lambda threads: seconds[threads])
    return best if seconds[best] <= _WORTH_THREADS * seconds[0] else 0


def chosen(rates: dict[Way, float]) -> Way:
    """Of the ways that are about as fast as the fastest, the one with the fewest streams, and of these that
    with the smallest batch: it takes the least memory and delays a query the least."""
    enough = _ENOUGH * max(rates.values())
    return min(way for way, rate in rates.items() if rate >= enough)


def _halves(available: int) -> list[int]:
    """All cores, half of them, a quarter and an eighth."""
    return list(dict.fromkeys(max(1, available >> shift) for shift in range(4)))


def _latencies(
    engines: dict[int, Engine], size: tuple[int, int], turn_s: float, rounds: int
) -> dict[int, float]:
    """Median seconds of one crop, the best round of each engine."""
    crop, best = probe_crops(*size, 1), dict.fromkeys(engines, float("inf"))
    for _ in range(rounds):
        for threads, engine in engines.items():
            engine.embed(crop)
            taken: list[float] = []
            until = time.perf_counter() + turn_s / 2
            while not taken or time.perf_counter() < until:
                began = time.perf_counter()
                engine.embed(crop)
                taken.append(time.perf_counter() - began)
            best[threads] = min(best[threads], statistics.median(taken))
    return best


def _jpegs(height: int, width: int) -> list[bytes]:
    """Crops as they are sent, to be decoded; what they show plays no part."""
    encoded = []
    for pixels in probe_crops(height, width, 16):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
        encoded.append(buffer.getvalue())
    return [encoded[number % len(encoded)] for number in range(_REQUEST)]


def _rate(
    batcher: Batcher,
    decoders: ThreadPoolExecutor,
    jpegs: Sequence[bytes],
    size: tuple[int, int],
    seconds: float,
) -> float:
    """Crops a second from bytes to vectors, with some requests always on their way."""

    def decode() -> np.ndarray:
        return np.stack([decode_crop(data, *size) for data in jpegs])

    decoding: deque[Future[np.ndarray]] = deque(decoders.submit(decode) for _ in range(_AT_ONCE))
    embedding: deque[Future[np.ndarray]] = deque()
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds or not done:
        embedding.append(batcher.submit(decoding.popleft().result(), "bulk"))
        decoding.append(decoders.submit(decode))
        if len(embedding) == _AT_ONCE:
            done += len(embedding.popleft().result())
    rate = done / (time.perf_counter() - began)
    for future in [*decoding, *embedding]:
        future.result()
    return rate
