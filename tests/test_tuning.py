"""How the CPU's cores are shared out: what resight tune measures, keeps and chooses, what a server does."""

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import server.tuning
from reid.bundle import Bundle
from reid.engines import choose_engine
from reid.engines.agreement import probe_crops
from reid.engines.cores import Cores, SharesCores
from reid.engines.open_vino import OpenVinoEngine
from reid.engines.rows import pack
from server.batching import Batcher, BulkEngine, EmbedError
from server.errors import StartError, Stopping
from server.queries import Queries
from server.settings import Settings
from server.tune import Way, chosen, quickest, tune
from server.tuning import FILE, Tuning, default_tuning, keep_tuning, kept_tuning
from tests.test_batching import POISON, Counting, crops, expected
from tests.tiny import make_tiny_bundle, open_tiny, site_profile

STREAMS = Tuning(1, 2, 4, measured=True)


class Streams(Counting):
    """Notes how many threads call it at once."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = self.most = 0
        self.lock = threading.Lock()

    def embed(self, crops: np.ndarray) -> np.ndarray:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        time.sleep(0.01)
        vectors = super().embed(crops)
        with self.lock:
            self.inside -= 1
        return vectors


def batcher_with(bulk: Counting, queries: Counting | None = None) -> Batcher:
    """With three threads in front of an engine for bulk work."""
    batcher = Batcher(queries or Counting(), 2, max_batch=32)
    batcher.serve_bulk_with(BulkEngine(bulk, 4, 3))
    return batcher


def test_bulk_work_is_several_batches_at_once_and_every_crop_gets_its_own_row() -> None:
    bulk, queries = Streams(), Counting()
    batcher = batcher_with(bulk, queries)
    wanted = [list(range(start, start + 17)) for start in range(1, 103, 17)]
    futures = [batcher.submit(crops(*values), "bulk") for values in wanted]
    for values, future in zip(wanted, futures, strict=True):
        assert future.result(10) == pytest.approx(expected(*values), abs=1e-6)
    assert (bulk.most, max(bulk.sizes), queries.sizes) == (3, 4, [])
    assert (batcher.queued, batcher.crops, batcher.serving) == (0, 102, 0)
    batcher.close()
    assert not any(thread.is_alive() for thread in batcher.bulk_threads)


def test_streams_pause_while_queries_come_and_go_on_afterwards() -> None:
    bulk, queries = Streams(), Counting()
    batcher = batcher_with(bulk, queries)
    assert batcher.submit(crops(7)).result(5) == pytest.approx(expected(7), abs=1e-6)
    batcher.submit(crops(1, 2, 3), "bulk").result(5)
    assert (bulk.sizes, queries.sizes) == ([], [1, 3])
    time.sleep(0.3)
    batcher.submit(crops(1, 2, 3), "bulk").result(5)
    assert (bulk.sizes, queries.sizes) == ([3], [1, 3])


def test_bulk_work_of_one_engine_yields_to_queries_of_another() -> None:
    asked, bulk = Counting(), Streams()
    queries = Queries()
    for_queries = Batcher(asked, 2, 32, queries=queries)
    beside = Batcher(Counting(), 2, 32, queries=queries)
    beside.serve_bulk_with(BulkEngine(bulk, 4, 3))
    asked.gate.clear()
    query = for_queries.submit(crops(7))
    futures = [beside.submit(crops(*range(1, 9)), "bulk") for _ in range(2)]
    for future in futures:
        future.result(5)
    assert bulk.sizes == []
    assert queries.pending == 1
    asked.gate.set()
    query.result(5)
    time.sleep(0.3)
    beside.submit(crops(1, 2, 3), "bulk").result(5)
    assert (bulk.sizes, queries.pending) == ([3], 0)


def test_bulk_work_goes_on_while_queries_of_another_engine_never_end() -> None:
    asked, bulk, own = Counting(), Streams(), Counting()
    queries = Queries()
    for_queries, beside = Batcher(asked, 2, 32, queries=queries), Batcher(own, 2, 32, queries=queries)
    beside.serve_bulk_with(BulkEngine(bulk, 4, 3))
    bulk.gate.clear()
    future = beside.submit(crops(*range(1, 41)), "bulk")
    while beside.serving < 3:  # until every stream holds a batch
        time.sleep(0.001)
    asked.gate.clear()
    query = for_queries.submit(crops(7))
    bulk.gate.set()
    assert future.result(5) == pytest.approx(expected(*range(1, 41)), abs=1e-6)
    assert sum(bulk.sizes) == 12 and sum(own.sizes) == 28
    asked.gate.set()
    query.result(5)


def test_a_crop_that_fails_in_a_stream_fails_alone() -> None:
    batcher = batcher_with(Streams())
    good, bad = batcher.submit(crops(1, 2), "bulk"), batcher.submit(crops(*[4] * 9, POISON, 6), "bulk")
    assert good.result(5) == pytest.approx(expected(1, 2), abs=1e-6)
    with pytest.raises(EmbedError) as caught:
        bad.result(5)
    assert list(caught.value.rows) == [9]


def test_what_waits_for_streams_is_answered_when_the_server_ends() -> None:
    bulk = Streams()
    bulk.gate.clear()
    batcher = batcher_with(bulk)
    futures = [batcher.submit(crops(*range(1, 30)), "bulk") for _ in range(3)]
    closing = threading.Thread(target=batcher.close, args=(Stopping("the end"),))
    closing.start()
    bulk.gate.set()
    closing.join(10)
    assert [future.result(0).shape for future in futures] == [(29, 2)] * 3


def test_streams_answer_the_same_with_and_without_a_table_for_each_crop(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path)
    sample, profile = probe_crops(*bundle.size, 9), site_profile(bundle, 1)
    engine = OpenVinoEngine(bundle, profile)
    streams = engine.with_cores(Cores(streams=2))
    assert np.array_equal(streams.embed(sample), engine.embed(sample))
    assert int(streams.compiled.get_property("NUM_STREAMS")) == 2
    rows = engine.with_rows()
    packed, which = pack(profile, rows.layers)[None], np.zeros(9, np.int32)
    assert np.array_equal(
        rows.with_cores(Cores(streams=2)).embed(sample, which, packed), rows.embed(sample, which, packed)
    )
    assert not isinstance(choose_engine(bundle, "cpu", "onnxruntime"), SharesCores)


def test_of_ways_that_are_about_as_fast_the_one_that_delays_a_query_least_is_chosen() -> None:
    assert chosen({Way(0, 32): 100.0, Way(2, 4): 150.0, Way(2, 8): 155.0}) == Way(2, 4)
    assert chosen({Way(0, 32): 100.0, Way(2, 4): 103.0, Way(4, 4): 105.0}) == Way(0, 32)
    assert quickest({0: 1.0, 1: 0.95}) == 0
    assert quickest({0: 1.0, 1: 1.3, 2: 0.5}) == 2


def test_what_was_measured_is_used_by_the_next_start_and_info_says_so(tmp_path: Path) -> None:
    bundle, data = make_tiny_bundle(tmp_path), tmp_path / "data"
    settings = Settings.model_validate({"bundle": bundle.path, "data": data, "engine": "openvino"})
    measured = tune(settings, turn_s=0.01, rounds=1)
    assert measured.tuning.measured and set(json.loads((data / FILE).read_text())["tuning"].values())
    service = open_tiny(bundle, data, engine="openvino")
    report = service.status.server().tuning
    service.close()
    assert report is not None and report.model_dump() == vars(measured.tuning)


def test_bulk_work_of_a_server_is_done_by_streams(tmp_path: Path) -> None:
    bundle, data = make_tiny_bundle(tmp_path), tmp_path / "data"
    data.mkdir()
    keep_tuning(STREAMS, bundle, OpenVinoEngine(bundle).describe(), data)
    service = open_tiny(bundle, data, engine="openvino")
    try:
        base = service.engines.base
        until = time.monotonic() + 10
        # compiled in the background, then its threads begin one by one
        while len(base.bulk_threads) < 3 and time.monotonic() < until:
            time.sleep(0.01)
        assert base.bulk is not None and (base.bulk.batch, len(base.bulk_threads)) == (4, 3)
        assert service.engines.base_engine.describe().engine == "openvino"
    finally:
        service.close()


@pytest.mark.parametrize("changed", ["CPU", "set of packages", "number of cores", "bundle", "engine"])
def test_what_was_measured_in_other_circumstances_is_ignored_and_info_says_so(
    changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_tiny_bundle(tmp_path)
    info = OpenVinoEngine(bundle).describe()
    keep_tuning(STREAMS, bundle, info, tmp_path)
    assert kept_tuning(bundle, info, tmp_path) == STREAMS
    if changed == "CPU":
        monkeypatch.setattr(server.tuning, "cpu", lambda: "another")
    elif changed == "set of packages":
        monkeypatch.setattr(server.tuning, "packages", lambda: ["openvino 1"])
    elif changed == "number of cores":
        monkeypatch.setattr(server.tuning, "cores", lambda: 5)
    elif changed == "bundle":
        bundle = make_tiny_bundle(tmp_path, "other", spread=50.0)
    else:
        info = info.__class__("openvino", info.version, "CPU", "cpu", "bf16")
    tuning = kept_tuning(bundle, info, tmp_path)
    assert not tuning.measured and tuning.streams == default_tuning().streams
    assert tuning.note == f"tuning.json was measured with another {changed}; run resight tune again"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "[" * 200_000,
        *(
            json.dumps(
                {"valid_for": {}, "tuning": {"query_threads": threads, "streams": streams, "batch": batch}}
            )
            for threads, streams, batch in ((0, -1, 4), (0, 10**9, 4), (10**9, 0, 4), (0, 0, 10**9))
        ),
    ],
    ids=["empty", "half", "list", "deep", "negative", "streams", "threads", "batch"],
)
def test_a_damaged_tuning_is_ignored_and_said_so(text: str, tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path)
    (tmp_path / FILE).write_text(text)
    tuning = kept_tuning(bundle, OpenVinoEngine(bundle).describe(), tmp_path)
    assert tuning.note == "tuning.json is damaged; run resight tune again" and not tuning.measured


def test_an_engine_that_shares_no_cores_is_not_tuned(tmp_path: Path) -> None:
    bundle: Bundle = make_tiny_bundle(tmp_path)
    settings = Settings.model_validate(
        {"bundle": bundle.path, "data": tmp_path / "data", "engine": "onnxruntime"}
    )
    with pytest.raises(StartError, match="nothing can be tuned; only OpenVINO"):
        tune(settings)
    service = open_tiny(bundle, tmp_path / "data")
    assert service.status.server().tuning is None
    service.close()
