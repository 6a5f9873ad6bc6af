"""A profile holds statistics of the items that it was fitted to: the site says of how many, how many of them
are erased, and a refit makes it without those."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from reid.bundle import Bundle
from reid.profile import Profile
from server.errors import BadRequest, Conflict
from server.reports import SiteReport
from server.service import Service
from tests.test_adapt_ladder import COUNT, adapt, ended, enroll, kept_profiles, live_profile, start
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


def site(service: Service) -> SiteReport:
    """What the site says."""
    return service.status.site(service.sites.get("lobby"))


def fitted(service: Service) -> tuple[int | None, int | None]:
    """Items that took part, and how many of these are erased."""
    return site(service).fitted_on, site(service).fitted_on_erased


def erase(service: Service, seqs: list[int]) -> None:
    """Erases items by their numbers, which begin with 1."""
    for item in service.store.items.by_seq(seqs).values():
        asyncio.run(service.items.erase_item(item.id, "test"))


def rows_of(service: Service, seq: int) -> int:
    """Rows that name an item as fitted to."""
    with service.store.database.read() as db:
        return int(db.exec_driver_sql(f"SELECT COUNT(*) FROM fitted_items WHERE seq = {seq}").scalar() or 0)


@pytest.mark.parametrize("tier", ["0", "1", "1+0"])
def test_a_site_says_how_many_of_the_items_it_was_fitted_to_are_erased(
    service: Service, bundle: Bundle, tmp_path: Path, tier: str
) -> None:
    assert fitted(service) == (0, 0)
    adapt(service, tier, gate=False)
    assert fitted(service) == (COUNT, 0)
    enroll(service, range(COUNT, COUNT + 2))
    erase(service, [1, 2, COUNT + 1])  # the last was not there when it was fitted
    assert fitted(service) == (COUNT, 2)
    assert rows_of(service, 1) == 0
    assert rows_of(service, 3) == (0 if tier == "0" else 1)
    service.close()
    again = open_tiny(bundle, tmp_path / "data")
    assert fitted(again) == (COUNT, 2)
    again.close()


@pytest.mark.parametrize("tier", ["0", "1", "1+0"])
def test_a_refit_equals_a_fit_that_never_saw_the_erased(
    service: Service, bundle: Bundle, tmp_path: Path, tier: str
) -> None:
    adapt(service, tier, gate=False)
    before = live_profile(service)
    erase(service, [1, 2, 3])
    job = adapt(service, "auto", refit=True)
    assert (job.state, job.version, job.report.tiers) == ("succeeded", 3, tier)
    assert job.request | {"max_samples": 0} == {
        "tier": tier,
        "max_samples": 0,
        "seed": 0,
        "gate": False,
        "refit": True,
    }
    assert fitted(service) == (COUNT - 3, 0)
    never = open_tiny(bundle, tmp_path / "never")
    enroll(never, range(3, COUNT))
    adapt(never, tier, gate=False)
    assert_equal(live_profile(service), live_profile(never))
    never.close()
    assert before.id not in kept_profiles(service)  # the erased ones' statistics are gone
    ended(service, asyncio.run(service.adapting.roll_back("lobby")))
    assert live_profile(service).id == service.engines.base_id


def assert_equal(profile: Profile, other: Profile) -> None:
    """The same values, but for the order in which sums were taken."""
    assert set(profile.cameras) == set(other.cameras)
    for camera in (None, *profile.cameras):
        np.testing.assert_allclose(profile.table(camera)["neck"], other.table(camera)["neck"], rtol=1e-4)
    assert (profile.centres is None) == (other.centres is None)
    if profile.centres is not None and other.centres is not None:
        assert set(profile.centres.cameras) == set(other.centres.cameras)
        for camera in (None, *profile.centres.cameras):
            np.testing.assert_allclose(profile.centres.of(camera), other.centres.of(camera), atol=1e-3)


def test_a_rollback_brings_back_what_its_profile_was_fitted_to(service: Service) -> None:
    adapt(service, "1", gate=False)
    adapt(service, "0", gate=False)
    erase(service, [1])
    ended(service, asyncio.run(service.adapting.roll_back("lobby")))
    assert (site(service).tiers, *fitted(service)) == ("1", COUNT, 1)
    adapt(service, "none")
    assert fitted(service) == (0, 0)


def test_a_refit_that_cannot_be_done_says_why(service: Service) -> None:
    with pytest.raises(Conflict, match="site 'lobby' has the bundle's own values, so there is nothing to"):
        start(service, "auto", refit=True)
    adapt(service, "1", gate=False)
    with pytest.raises(BadRequest, match="leave tier out"):
        start(service, "1", refit=True)
    job = adapt(service, "auto", refit=True)
    assert (job.state, job.report.reason) == (
        "declined",
        "the adaptation ends with the profile that is live already; the site keeps version 2",
    )
    enroll(service, range(COUNT, COUNT + 30))
    erase(service, list(range(1, 31)))
    job = adapt(service, "auto", refit=True)
    assert (job.state, job.report.reason) == (
        "declined",
        "only 15 of 15 crops differ from each other; an adaptation needs 16",
    )
    assert fitted(service) == (COUNT, 30)


def test_no_version_is_made_of_a_site_that_has_the_bundles_own_values(service: Service) -> None:
    job = adapt(service, "none")
    assert (job.state, job.version, job.report.reason) == (
        "declined",
        None,
        "site 'lobby' has the bundle's own values already; it keeps version 1",
    )
