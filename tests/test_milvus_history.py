"""The gallery over any history, as tests/test_gallery_history.py has it, with Milvus as the index."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fastapi import FastAPI
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from reid.bundle import Bundle
from server.auth import Auth
from server.gallery import milvus_index
from server.gallery.milvus_index import MilvusIndex
from server.gallery.milvus_indexes import MilvusIndexes
from server.http.app import create_app
from tests.test_gallery_history import History, run
from tests.tiny import make_tiny_bundle, open_tiny


class MilvusHistory(History):
    """One service over one folder and one collection, beside the list."""

    def __init__(self, bundle: Bundle, app: FastAPI, folder: Path, uri: str) -> None:
        self.uri = uri
        super().__init__(bundle, app, folder, index="milvus", milvus_uri=uri)

    @precondition(lambda self: self.sites)
    @rule(data=st.data())
    def wait_for_milvus(self, data: st.DataObject) -> None:
        """Until it has every row, and none of an earlier version: what is asked next comes from there."""
        site = data.draw(st.sampled_from(sorted(self.sites)))
        index = self.service.sites.get(site).state.index
        assert isinstance(index, MilvusIndex)
        until = time.monotonic() + 30
        while index.view.stale or index.facts.items != len(index):
            index.writer.wake.set()
            assert time.monotonic() < until
            time.sleep(0.01)
        assert len(index.rows.of_space(site, index.space)) == len(self.sites[site].items)
        while {row.space for row in index.rows.all() if row.site == site} - {index.space}:
            assert time.monotonic() < until
            time.sleep(0.05)

    def teardown(self) -> None:
        """Ends the service and drops the collection."""
        indexes = self.service.sites.indexes
        assert isinstance(indexes, MilvusIndexes)
        assert indexes.writer.away is None
        super().teardown()
        indexes.rows.connect()
        indexes.rows.client.drop_collection(indexes.rows.collection)
        indexes.rows.close()


def test_whatever_happened_a_gallery_in_milvus_answers_like_a_list(
    tmp_path_factory: pytest.TempPathFactory, milvus_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus_index, "SETTLE_S", 0.0)
    bundle = make_tiny_bundle(tmp_path_factory.mktemp("bundle"))
    first = open_tiny(bundle, tmp_path_factory.mktemp("unused"))
    app = create_app(first, Auth(first.store, required=False))
    folder = tmp_path_factory.mktemp
    run(lambda: MilvusHistory(bundle, app, folder("history"), milvus_uri), histories=2, steps=30)
    first.close()
