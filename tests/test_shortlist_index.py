"""The index with a shortlist: filters and erasures are exact, fresh rows are found at once, and what it finds
of the best is measured on its own rows. Twin: numpy over everything that is held."""

from __future__ import annotations

import asyncio
import functools
import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from server.gallery import indexes, shortlist_index
from server.gallery.index import SearchFilter
from server.gallery.indexes import Indexes
from server.gallery.records import NewItem
from server.gallery.shortlist import Shortlist
from server.gallery.shortlist_builder import ShortlistBuilder
from server.gallery.shortlist_index import ShortlistIndex
from server.grpc.messages import info as info_message
from server.grpc.messages import site as site_message
from server.settings import Settings
from tests.test_int8_index import DIM, brute_force, vectors_of
from tests.tiny import make_tiny_bundle, open_tiny, picture

FACTORIES = ("HNSW8,SQfp16", "HNSW8,SQ8", "HNSW8", "IVF8,SQ8", "IVF8,SQfp16", "IVF8,Flat")
Truth = dict[int, tuple[str | None, np.ndarray]]


@pytest.fixture
def builder() -> Iterator[ShortlistBuilder]:
    """A builder."""
    opened = ShortlistBuilder()
    yield opened
    opened.close()


def filled(
    builder: ShortlistBuilder, factory: str, count: int = 1500, kind: str = "people", seed: int = 0
) -> tuple[ShortlistIndex, Truth]:
    """An index with a shortlist, and what it holds."""
    rng = np.random.default_rng(seed)
    index = ShortlistIndex(DIM, factory, 200, builder, segment=200, delta=50)
    vectors = vectors_of(rng, count, kind)
    cameras = [str(c) for c in rng.choice(["a", "b", "c"], count)]
    index.add(range(count), cameras, vectors)
    builder.settle()
    return index, {seq: (cameras[seq], vectors[seq]) for seq in range(count)}


@settings(deadline=None, max_examples=12, phases=[Phase.generate], derandomize=True)  # recall varies by draw
@given(st.integers(0, 2**32 - 1), st.sampled_from(FACTORIES), st.sampled_from(["spread", "people", "copies"]))
def test_answers_are_of_what_is_held_and_passes_with_their_exact_scores_and_nearly_all_of_the_best(
    seed: int, factory: str, kind: str
) -> None:
    rng, builder = np.random.default_rng(seed), ShortlistBuilder()
    index, truth = filled(builder, factory, 700, kind, seed)
    following, wanted, found = 700, 0, 0
    for _ in range(15):
        n, change = int(rng.integers(1, 60)), rng.random()
        vectors, cameras = vectors_of(rng, n, kind), [str(c) for c in rng.choice(["a", "b", "c"], n)]
        if change < 0.4:
            fresh = list(range(following, following + n))
            following += n
            index.add(fresh, cameras, vectors)
            truth |= {seq: (cameras[i], vectors[i]) for i, seq in enumerate(fresh)}
        elif change < 0.75:
            gone = rng.choice(list(truth), n, replace=False)
            index.remove(gone)
            for seq in gone.tolist():
                del truth[seq]
        else:
            old = sorted(rng.choice(list(truth), n, replace=False).tolist())
            index.put(old, cameras, vectors)
            truth |= {seq: (cameras[i], vectors[i]) for i, seq in enumerate(old)}
        if rng.random() < 0.3:
            builder.settle()
        some = np.array(sorted(rng.choice(list(truth), len(truth) // 2, replace=False)), np.int64)
        where = SearchFilter(
            camera="a" if rng.random() < 0.2 else None,
            exclude_camera="b" if rng.random() < 0.3 else None,
            allowed=some[:: int(rng.choice([1, 40]))] if rng.random() < 0.3 else None,
            left_out=some[::3] if rng.random() < 0.3 else None,
        )
        query, k = vectors_of(rng, 1, kind)[0], int(rng.choice([1, 10, 50]))
        expected = brute_force(truth, query, where)
        scores, seqs = index.search(query, k, where)
        assert set(seqs.tolist()) <= set(expected)
        assert len(set(seqs.tolist())) == len(seqs) == min(k, len(expected))
        assert [expected[seq] for seq in seqs.tolist()] == pytest.approx(scores, abs=2e-6)
        assert list(scores) == sorted(scores, reverse=True)
        best = sorted(expected.values(), reverse=True)[: len(scores)]
        found += int(np.sum(np.asarray(scores) >= best[-1] - 2e-6)) if best else 0
        wanted += len(best)
    builder.close()
    assert found >= 0.85 * wanted


@pytest.mark.parametrize("factory", FACTORIES)
def test_a_shortlist_is_built_beside_searches_and_says_what_it_finds(
    factory: str, builder: ShortlistBuilder
) -> None:
    index, _ = filled(builder, factory)
    facts = index.facts
    assert (facts.kind, facts.waits) == (factory, None)
    assert facts.items == 1500
    assert facts.recall is not None
    assert 0.99 <= facts.recall <= 1
    assert facts.speed_up is not None


def test_few_items_are_scanned_and_it_says_so(builder: ShortlistBuilder) -> None:
    index = ShortlistIndex(DIM, "HNSW8", 200, builder, segment=200, delta=50)
    index.add(range(199), [None] * 199, vectors_of(np.random.default_rng(0), 199, "spread"))
    builder.settle()
    assert index.listing is None
    assert (index.facts.kind, index.facts.waits) == ("exact", "HNSW8 begins with 200 items")


def test_a_shortlist_that_finds_too_little_is_refused_and_the_rows_are_scanned(
    builder: ShortlistBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Shortlist, "widths", [1])
    index, truth = filled(builder, "IVF64,SQ8", kind="spread")
    assert index.facts.kind == "exact"
    assert "IVF64,SQ8 is not used: it finds 0." in str(index.facts.waits)
    query = vectors_of(np.random.default_rng(5), 1, "spread")[0]
    expected = brute_force(truth, query, SearchFilter())
    assert index.search(query, 9)[1].tolist() == sorted(expected, key=lambda seq: -expected[seq])[:9]


def test_too_few_rows_to_learn_from_are_named(builder: ShortlistBuilder) -> None:
    index, _ = filled(builder, "IVF4096,SQ8")
    assert index.facts.waits == "IVF4096,SQ8 is not used: 1500 items are too few for 4096 lists"


@pytest.mark.parametrize("factory", FACTORIES)
def test_a_removed_row_is_in_no_answer_and_its_vector_in_no_shortlist(
    factory: str, builder: ShortlistBuilder
) -> None:
    index, truth = filled(builder, factory, kind="spread")
    assert index.listing is not None
    shortlist = index.listing.shortlist

    def remembered(seq: int) -> float:
        row = int(np.searchsorted(shortlist.seqs, seq))
        return float(shortlist.index.reconstruct(row) @ truth[seq][1])

    gone = np.array([7, 8, 300])
    assert min(remembered(seq) for seq in gone.tolist()) > 0.99
    index.remove(gone)
    assert index.listing.shortlist is shortlist
    for seq in gone.tolist():
        assert remembered(seq) < 0.9  # nothing is left but the mean of its list, where there are lists
        assert seq not in index.search(truth[seq][1], 50)[1]
    assert remembered(9) > 0.99


def test_rows_that_the_shortlist_does_not_know_are_found_at_once(builder: ShortlistBuilder) -> None:
    index, _ = filled(builder, "HNSW8,SQfp16")
    listing = index.listing
    rng = np.random.default_rng(9)
    fresh = vectors_of(rng, 2, "spread")
    index.add([5000], ["a"], fresh[:1])
    index.put([3], ["b"], fresh[1:])
    assert index.search(fresh[0], 1)[1].tolist() == [5000]
    assert index.search(fresh[1], 1)[1].tolist() == [3]
    assert index.search(fresh[1], 1, SearchFilter(camera="b"))[1].tolist() == [3]
    assert index.search(fresh[1], 1, SearchFilter(exclude_camera="b"))[1].tolist() != [3]
    assert index.listing is not None and listing is not None
    assert index.listing.shortlist is listing.shortlist


def test_a_shortlist_that_knows_too_little_is_built_anew(builder: ShortlistBuilder) -> None:
    index, _ = filled(builder, "HNSW8,SQfp16", 500)
    assert index.facts.items == 500
    index.add(range(500, 900), [None] * 400, vectors_of(np.random.default_rng(1), 400, "people"))
    builder.settle()
    assert index.facts.items == 900
    index.remove(np.arange(0, 400))
    builder.settle()
    assert index.facts.items == 500


def test_changes_while_a_shortlist_grows_are_not_lost(
    builder: ShortlistBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(2)
    index = ShortlistIndex(DIM, "HNSW8,SQfp16", 200, builder, segment=200, delta=50)
    vectors, moved = vectors_of(rng, 800, "spread"), vectors_of(rng, 1, "spread")
    grown, go_on, half = ShortlistIndex._grown, threading.Event(), threading.Event()

    def slowly(index: ShortlistIndex, fresh: Shortlist) -> bool:
        if fresh.count >= 400:
            half.set()
            go_on.wait(20)
        return grown(index, fresh)

    monkeypatch.setattr(shortlist_index, "BLOCK", 100)
    monkeypatch.setattr(ShortlistIndex, "_grown", slowly)
    index.add(range(800), ["a"] * 800, vectors)
    assert half.wait(20)
    index.remove([5, 700])  # one that it has, one that it would take later
    index.put([6], ["b"], moved)
    index.add([900], ["a"], -moved)
    go_on.set()
    builder.settle()
    assert index.facts.kind == "HNSW8,SQfp16"
    assert index.listing is not None
    assert (index.listing.shortlist.index.reconstruct(5) == 0).all()
    assert 700 not in index.listing.shortlist.seqs
    assert index.search(moved[0], 1)[1].tolist() == [6]
    assert index.search(-moved[0], 1)[1].tolist() == [900]
    assert not {5, 700} & set(index.search(vectors[5], 60)[1].tolist())


def test_a_filter_that_leaves_little_or_takes_what_is_near_is_answered_exactly(
    builder: ShortlistBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(4)
    index, truth = filled(builder, "HNSW8,SQfp16", kind="spread")
    query = vectors_of(rng, 1, "spread")[0]
    everything = brute_force(truth, query, SearchFilter())
    ranked = np.array(sorted(everything, key=lambda seq: -everything[seq]))
    # the nearest 300 are left out: few of the candidates remain
    where = SearchFilter(left_out=np.sort(ranked[:300]))
    assert index.search(query, 20, where)[1].tolist() == ranked[300:320].tolist()
    few = np.sort(ranked[[900, 1100, 1400]])
    assert (
        index.search(query, 20, SearchFilter(allowed=few))[1].tolist() == ranked[[900, 1100, 1400]].tolist()
    )


def test_an_index_that_nobody_uses_any_more_is_freed(builder: ShortlistBuilder) -> None:
    index, _ = filled(builder, "HNSW8,SQfp16", 400)
    reference = weakref.ref(index)
    del index
    gc.collect()
    assert reference() is None


def test_searches_beside_changes_and_builds_never_show_what_was_removed_before_they_began(
    builder: ShortlistBuilder,
) -> None:
    index, _ = filled(builder, "HNSW8,SQfp16", 600)
    removed: set[int] = set()
    problems: list[Any] = []
    stop = threading.Event()

    def read() -> None:
        rng = np.random.default_rng(threading.get_ident())
        while not stop.is_set():
            before = set(removed)
            _, seqs = index.search(vectors_of(rng, 1, "people")[0], 40)
            if before & set(seqs.tolist()):
                problems.append(seqs)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    rng = np.random.default_rng(1)
    for step in range(40):
        first = 600 + 30 * step
        index.add(range(first, first + 30), [None] * 30, vectors_of(rng, 30, "people"))
        gone = rng.choice(sorted(set(range(first)) - removed), 25, replace=False)
        index.remove(gone)
        removed |= set(gone.tolist())
    stop.set()
    for reader in readers:
        reader.join()
    assert not problems


def test_the_setting_is_served_reported_and_there_again_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smaller = functools.partial(ShortlistIndex, segment=20, delta=10)
    monkeypatch.setattr(indexes, "ShortlistIndex", smaller)
    bundle = make_tiny_bundle(tmp_path)
    for start in range(2):
        service = open_tiny(bundle, tmp_path / "data", index="HNSW8,SQfp16", index_from=40)
        if start == 0:
            records = [NewItem("c", None, None, {}) for _ in range(60)]
            asyncio.run(service.enrolling.enroll("lobby", [picture(n) for n in range(60)], records))
        service.sites.indexes.builder.settle()
        site, report = service.status.site(service.sites.get("lobby")), service.status.server()
        assert (site.index.kind, site.index.items, site.index.waits) == ("HNSW8,SQfp16", 60, None)
        assert report.index == "HNSW8,SQfp16"
        assert report.index_recall == {"lobby": site.index.recall}
        messages = site_message(site), info_message(report)
        assert (messages[0].index.kind, messages[0].index.items) == ("HNSW8,SQfp16", 60)
        assert messages[1].index_recall["lobby"] == site.index.recall
        answer = asyncio.run(service.querying.query("lobby", [picture(7)], top_k=1))
        assert answer.matches[0].score > 0.999
        service.close()
        thread = service.sites.indexes.builder.thread
        assert thread is not None
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"index": "flat"}, "'flat' is no index; choose exact, int8, milvus, HNSWn or IVFn"),
        ({"index": "IVF0,SQ8"}, "is no index"),
        ({"index": "HNSW32,PQ16"}, "is no index"),
        ({"index": "int8", "search": "gpu"}, "int8 is for search=cpu"),
    ],
)
def test_an_index_that_cannot_be_had_is_named(given: dict[str, str], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=sentence):
        Settings.model_validate({"bundle": tmp_path} | given)


def test_each_kind_of_index_is_opened_by_its_name() -> None:
    names = {kind: type(Indexes(kind=kind).new(8)).__name__ for kind in ("exact", "int8", "IVF8,SQ8")}
    assert names == {"exact": "FaissIndex", "int8": "Int8Index", "IVF8,SQ8": "ShortlistIndex"}
