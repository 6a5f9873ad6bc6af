"""What goes wrong with an adaptation leaves the live version as it was, and is told in a sentence."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import server.adaptation
from reid.bundle import Bundle
from server.errors import Conflict
from server.gallery.database import Database
from server.service import Service
from tests.test_adapt_ladder import COUNT, adapt, ask, ended, enroll, kept_profiles, scores
from tests.tiny import make_tiny_bundle, open_tiny


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle that numpy computes."""
    return make_tiny_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def service(bundle: Bundle, tmp_path: Path) -> Iterator[Service]:
    """A service whose site `lobby` holds 45 pictures of two cameras and of none."""
    opened = open_tiny(bundle, tmp_path / "data")
    enroll(opened, range(COUNT))
    yield opened
    opened.close()


def allow_pages(database: Database, pages: int) -> None:
    """The most pages that the database file may have from now on."""
    database.engine.dispose()
    sa.event.listen(database.engine, "connect", lambda c, _: c.execute(f"PRAGMA max_page_count = {pages}"))


def test_a_full_disk_while_re_embedding_costs_the_job_and_nothing_else(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, before = service.sites.get("lobby").state, scores(ask(service))
    real = service.rebuilder.embedding.embed_stored

    def embed(*arguments: Any) -> Any:
        vectors = real(*arguments)
        with service.store.database.read() as db:
            pages = int(db.exec_driver_sql("PRAGMA page_count").scalar() or 0)
        allow_pages(service.store.database, pages)
        return vectors

    with monkeypatch.context() as patch:
        patch.setattr(service.rebuilder.embedding, "embed_stored", embed)
        job = adapt(service, "1", gate=False)
    assert job.state == "failed"
    assert "its disk is full; free some space" in str(job.report.error)
    assert service.sites.get("lobby").state is live
    assert scores(ask(service)) == before
    allow_pages(service.store.database, 1_000_000)
    assert adapt(service, "1", gate=False).state == "succeeded"


def test_a_full_disk_while_crops_are_written_says_so(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    live = service.sites.get("lobby").state
    monkeypatch.setattr(server.adaptation, "write_sample", full)
    job = adapt(service, "1", gate=False)
    assert (job.state, job.report.error) == (
        "failed",
        "the disk of the data folder is full; free some space and start this again; the site kept its "
        "version",
    )
    assert service.sites.get("lobby").state is live
    assert kept_profiles(service) <= {service.engines.base_id}


def test_an_interrupted_adaptation_to_another_base_begins_anew(service: Service) -> None:
    """A profile that an attempt with another bundle has left is not gone on with."""
    from server.reports import JobReport
    from tests.tiny import site_profile

    other = site_profile(service.engines.bundle, 1)
    other = type(other)("another base", other.site)
    service.store.versions.save_profile(other)
    adaptation = service.adapting._adaptation(
        "lobby", {"tier": "1", "gate": False, "max_samples": 64, "seed": 0}
    )
    assert adaptation._kept_profile(JobReport(tiers="1", profile=other.id)) is None


def test_a_site_without_a_past_is_not_rolled_back(service: Service) -> None:
    with pytest.raises(Conflict, match=r"site 'lobby' is on version 1, .* roll back to$"):
        asyncio.run(service.adapting.roll_back("lobby"))


def test_cameras_may_be_called_anything(service: Service) -> None:
    names = ("a/b", "\u00fc \U0001f6aa", 'a"b')
    enroll(service, range(60), "yard", names)
    job = adapt(service, "1+0", "yard", gate=False)
    assert (job.state, set(job.report.cameras or {})) == ("succeeded", set(names))
    state = service.sites.get("yard").state
    assert set(service.engines.profile(state.version.profile_id).cameras) == set(names)
    job = ended(service, asyncio.run(service.adapting.roll_back("yard")))
    assert job.state == "succeeded"
