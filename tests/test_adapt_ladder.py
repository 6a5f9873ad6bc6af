"""An adaptation climbs the ladder: what goes live, what is told of it, and that nothing else ever does. Every
expectation is computed by hand, with a network that numpy computes too."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reid.adaptation.ladder
import server.adaptation
import server.centring
from reid.adaptation.centring import fit_centres
from reid.adaptation.gate import Verdict, error_rates
from reid.adaptation.ladder import Climbed, Rung
from reid.adaptation.signals import Pool
from reid.bundle import Bundle
from reid.profile import Centres, Profile
from server.errors import BadRequest, Conflict, Unprocessable
from server.fields import TIER_CHOICES, tiers_of
from server.gallery.records import NewItem
from server.http.schemas import JobModel
from server.job import ENDED, Job
from server.query import Answer
from server.service import Service
from server.site_tools import SiteTools
from tests.tiny import embedding_of, make_tiny_bundle, open_tiny, picture, site_profile

COUNT = 45
CAMERAS: tuple[str | None, ...] = (*["door", "hall"] * 20, *[None] * 5)
REFUSED = Verdict(
    False,
    "signals",
    -1.24,
    -2.0,
    0.5,
    "It would lose 1.2 mAP.",
    {"drift": 0.5, "margin_of_views_change": float("nan")},
)
ACCEPTED = Verdict(
    True, "labels", 3.456, 2.0, 5.0, "It gains 3.5 mAP.", {"mixing_before": 0.5, "mixing_change": 0.25}
)


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


@pytest.fixture
def blind(bundle: Bundle, tmp_path: Path) -> Iterator[Service]:
    """The same, but images are not kept."""
    opened = open_tiny(bundle, tmp_path / "data", keep_images=False)
    enroll(opened, range(COUNT))
    yield opened
    opened.close()


def enroll(
    service: Service, seeds: range, site: str = "lobby", cameras: tuple[str | None, ...] = CAMERAS
) -> None:
    """Enrolls pictures, their cameras taking turns."""
    records = [NewItem(camera=cameras[i % len(cameras)], identity=f"person-{i}") for i in seeds]
    asyncio.run(service.enrolling.enroll(site, [picture(i) for i in seeds], records))


def start(service: Service, tier: str, site: str = "lobby", **options: Any) -> Job:
    """An adaptation's job, queued."""
    return asyncio.run(service.adapting.adapt(site, tier, **options))


def ended(service: Service, job: Job) -> Job:
    """A job when it has ended."""
    until = time.monotonic() + 60
    while job.state not in ENDED:
        assert time.monotonic() < until, job
        time.sleep(0.005)
        job = service.jobs.get(job.id)
    return job


def adapt(service: Service, tier: str, site: str = "lobby", **options: Any) -> Job:
    """An adaptation's job when it has ended."""
    return ended(service, start(service, tier, site, **options))


def ask(service: Service, camera: str | None = "door", seed: int = 90) -> Answer:
    """A query of the whole gallery for one picture."""
    return asyncio.run(service.querying.query("lobby", [picture(seed)], top_k=500, query_camera=camera))


def scores(answer: Answer) -> dict[str | None, float]:
    """Scores by identity."""
    return {match.item.identity: match.score for match in answer.matches}


def scores_by_hand(profile: Profile, camera: str | None, seeds: range, seed: int = 90) -> Any:
    """What `ask` must answer, but for the store's half precision."""
    cameras = [CAMERAS[i % COUNT] for i in seeds]
    raw = [embedding_of(picture(i), profile, one) for i, one in zip(seeds, cameras, strict=True)]
    gallery = profile.compare(np.stack(raw), cameras)
    query = profile.compare(embedding_of(picture(seed), profile, camera)[None], [camera])[0]
    expected = {f"person-{i}": float(vector @ query) for i, vector in zip(seeds, gallery, strict=True)}
    return pytest.approx(expected, abs=4e-3)


def centres_by_hand(tables: Profile, seeds: range) -> Centres:
    """Of every item, by the tables of its camera."""
    cameras = [CAMERAS[i % COUNT] for i in seeds]
    raw = [embedding_of(picture(i), tables, camera) for i, camera in zip(seeds, cameras, strict=True)]
    return fit_centres(np.stack(raw), cameras)


def assert_close(centres: Centres | None, expected: Centres) -> None:
    """Equal but for half precision."""
    assert centres is not None
    assert centres.site == pytest.approx(expected.site, abs=1e-3)
    assert set(centres.cameras) == set(expected.cameras)
    for camera, centre in expected.cameras.items():
        assert centres.cameras[camera] == pytest.approx(centre, abs=1e-3)


def live_profile(service: Service) -> Profile:
    """Of the site."""
    return service.engines.profile(service.sites.get("lobby").state.version.profile_id)


def kept_profiles(service: Service) -> set[str]:
    """Every profile in the store."""
    with service.store.database.read() as db:
        return {row[0] for row in db.exec_driver_sql("SELECT id FROM profiles")}


@pytest.mark.parametrize("kind", ["service", "blind"])
def test_tier_0_subtracts_the_centres_of_everything_that_is_stored(
    kind: str, request: pytest.FixtureRequest, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    service: Service = request.getfixturevalue(kind)
    monkeypatch.setattr(service.embedding, "embed_stored", None)  # nothing is embedded again
    job = adapt(service, "0", gate=False)
    assert (job.state, job.version, job.report.tiers) == ("succeeded", 2, "0")
    profile = live_profile(service)
    assert profile.tables_id == service.engines.base_id
    assert_close(profile.centres, centres_by_hand(bundle.profile(), range(COUNT)))
    assert scores(ask(service)) == scores_by_hand(profile, "door", range(COUNT))
    report = service.status.site(service.sites.get("lobby"))
    assert (report.tiers, report.camera_tables, report.camera_centres) == ("0", 0, 2)
    assert job.report.profile == profile.id == report.profile
    (rung,) = job.report.rungs or []
    assert (rung.tiers, rung.below, rung.accepted, rung.by) == ("0", "none", True, "off")


@pytest.mark.parametrize("tiers", ["1", "1+0"])
def test_tables_are_fitted_by_camera_and_centres_to_what_they_make_of_every_item(
    service: Service, bundle: Bundle, tiers: str
) -> None:
    job = adapt(service, tiers, gate=False)
    assert (job.state, job.report.tiers, job.report.crops) == ("succeeded", tiers, COUNT)
    profile = live_profile(service)
    assert set(profile.cameras) == {"door", "hall"}
    if tiers == "1+0":
        assert_close(profile.centres, centres_by_hand(profile, range(COUNT)))
    else:
        assert profile.centres is None
    assert scores(ask(service)) == scores_by_hand(profile, "door", range(COUNT))
    report = service.status.site(service.sites.get("lobby"))
    assert (report.tiers, report.camera_tables) == (tiers, 2)
    assert report.camera_centres == (2 if tiers == "1+0" else 0)


def test_what_is_enrolled_and_erased_while_the_gallery_is_re_embedded_is_caught_up(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = server.adaptation.fit_stored_centres

    def fit_slowly(*arguments: Any) -> Centres:
        centres = real(*arguments)
        enroll(service, range(COUNT, COUNT + 6))
        asyncio.run(service.items.erase_item(ask(service).matches[0].item.id, "test"))
        return centres

    first = ask(service).matches[0].item.identity
    monkeypatch.setattr(server.adaptation, "fit_stored_centres", fit_slowly)
    assert adapt(service, "1+0", gate=False).state == "succeeded"
    monkeypatch.undo()
    found = scores(ask(service))
    expected = scores_by_hand(live_profile(service), "door", range(COUNT + 6)).expected
    assert set(found) == set(expected) - {first}
    assert found == pytest.approx({name: expected[name] for name in found}, abs=4e-3)


def test_a_rollback_gives_the_same_answers_and_says_which_tiers_are_live(service: Service) -> None:
    adapt(service, "0", gate=False)
    before, site = ask(service), service.status.site(service.sites.get("lobby"))
    adapt(service, "1+0", gate=False)
    ended(service, asyncio.run(service.adapting.roll_back("lobby")))
    after, again = ask(service), service.status.site(service.sites.get("lobby"))
    assert scores(after) == scores(before)
    assert after.space_id == before.space_id
    names = ("tiers", "camera_tables", "camera_centres", "profile")
    assert [getattr(again, name) for name in names] == [getattr(site, name) for name in names]
    adapt(service, "none")
    site = service.status.site(service.sites.get("lobby"))
    assert (site.tiers, site.camera_centres, site.adapted) == ("none", 0, False)


def test_a_restart_says_the_same_of_a_site(service: Service, bundle: Bundle, tmp_path: Path) -> None:
    adapt(service, "1+0", gate=False)
    before = service.status.site(service.sites.get("lobby"))
    service.close()
    again = open_tiny(bundle, tmp_path / "data")
    assert again.status.site(again.sites.get("lobby")) == before
    again.close()


def refusing(*arguments: Any) -> Verdict:
    """A gate that lets nothing through."""
    return REFUSED


def climbing(
    tiers: str, verdicts: dict[str, Verdict], profile: Profile | None = None
) -> Callable[..., Climbed]:
    """A ladder that ends with these tiers."""

    def climb(wanted: str, gate: bool, base: Profile, *others: Any) -> Climbed:
        rungs = [Rung(name, "none", verdict, 0.5) for name, verdict in verdicts.items()]
        return Climbed(profile or base, tiers, rungs)

    return climb


def test_nothing_that_the_gate_refuses_goes_live(
    service: Service, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, before = service.sites.get("lobby").state, scores(ask(service))
    monkeypatch.setattr(server.centring, "judge", refusing)
    job = adapt(service, "0")
    assert (job.state, job.version) == ("declined", None)
    assert job.report.reason == (
        "nothing that was tried is known to help, so the site keeps version 1. Tier 0: It would lose 1.2 mAP."
    )
    seen = job.report.similarity
    assert seen is not None
    assert seen.cameras == ["", "door", "hall"]
    assert seen.before != seen.after
    assert set(job.report.people or {}) == set(job.report.cameras or {})
    monkeypatch.setattr(server.adaptation, "climb", climbing("none", {"0": REFUSED, "1": REFUSED}))
    job = adapt(service, "auto")
    assert "Tier 0: It would lose 1.2 mAP. Tier 1: It would lose 1.2 mAP." in str(job.report.reason)
    assert [rung.accepted for rung in job.report.rungs or []] == [False, False]
    assert service.sites.get("lobby").state is live
    assert scores(ask(service)) == before
    assert kept_profiles(service) <= {service.engines.base_id}


def test_the_report_says_of_every_rung_what_was_tried_and_why(
    service: Service, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = site_profile(bundle, 3)
    found = {"0": REFUSED, "1": ACCEPTED}
    monkeypatch.setattr(server.adaptation, "climb", climbing("1", found, profile))
    job = adapt(service, "auto")
    told = [rung.model_dump() for rung in service.jobs.get(job.id).report.rungs or []]
    assert told == [
        {
            "tiers": "0",
            "below": "none",
            "accepted": False,
            "by": "signals",
            "gain": -1.24,
            "low": -2.0,
            "high": 0.5,
            "reason": "It would lose 1.2 mAP.",
            "signals": {"drift": 0.5},
            "seconds": 0.5,
        },
        {
            "tiers": "1",
            "below": "none",
            "accepted": True,
            "by": "labels",
            "gain": 3.46,
            "low": 2.0,
            "high": 5.0,
            "reason": "It gains 3.5 mAP.",
            "signals": {"mixing_before": 0.5, "mixing_after": 0.75},
            "seconds": 0.5,
        },
    ]
    assert (job.report.tiers, job.report.profile) == ("1", profile.id)


def test_a_rung_is_told_before_the_next_one_is_tried(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[str]] = []
    real = SiteTools.statistics

    def statistics(tools: SiteTools, *arguments: Any) -> Profile:
        told.append([rung.tiers for rung in service.jobs.get(tools.handle.job.id).report.rungs or []])
        return real(tools, *arguments)

    monkeypatch.setattr(SiteTools, "statistics", statistics)
    monkeypatch.setattr(reid.adaptation.ladder, "judge", lambda *arguments: ACCEPTED)
    monkeypatch.setattr(reid.adaptation.ladder, "out_of_reach", lambda *arguments: None)
    job = adapt(service, "auto")
    assert (job.state, job.report.tiers, told) == ("succeeded", "1+0", [["0"]])
    assert [(rung.tiers, rung.below) for rung in job.report.rungs or []] == [("0", "none"), ("1+0", "0")]


def test_a_job_says_when_and_what_was_asked(service: Service) -> None:
    began = time.time()
    told = JobModel.of(adapt(service, "0", gate=False, max_samples=64, seed=7))
    assert told.asked == {"tier": "0", "max_samples": 64, "seed": 7, "gate": False}
    assert told.created_at is not None
    created = datetime.fromisoformat(told.created_at.replace("Z", "+00:00")).timestamp()
    assert began - 0.001 <= created <= time.time()


def test_the_gate_tells_its_own_error_where_it_judged(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.centring, "judge", lambda *arguments: REFUSED)
    assert adapt(service, "0").report.gate_error == error_rates()
    assert adapt(service, "0", gate=False).report.gate_error is None


@pytest.mark.parametrize("kind", ["service", "blind"])
def test_the_gate_sees_stored_embeddings_and_views_of_crops_where_images_are_kept(
    kind: str, request: pytest.FixtureRequest, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    service: Service = request.getfixturevalue(kind)
    seen: list[Any] = []

    def judge(*arguments: Any) -> Verdict:
        seen.extend(arguments)
        return ACCEPTED

    monkeypatch.setattr(server.centring, "judge", judge)
    assert adapt(service, "0").state == "succeeded"
    pools = [each for each in seen if isinstance(each, Pool)]
    assert [pool.vectors.shape for pool in pools] == [(COUNT, 24)] * 2
    held = 11  # of 20, 20 and 5: every fourth
    assert [len(pool.views) for pool in pools] == [held if kind == "service" else 0] * 2
    stored = {embedding_of(picture(i)).astype("<f2").tobytes() for i in range(COUNT)}
    assert sum(vector.astype("<f2").tobytes() in stored for vector in pools[0].vectors) > COUNT / 2
    assert not np.allclose(pools[0].vectors, pools[1].vectors, atol=0.01)


def test_every_adaptation_starts_from_the_bundles_own_tables(
    service: Service, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Profile] = []
    profiles = iter([site_profile(bundle, 1), site_profile(bundle, 2)])

    def climb(wanted: str, gate: bool, base: Profile, *others: Any) -> Climbed:
        seen.append(base)
        return Climbed(next(profiles), "1", [Rung("1", "none", ACCEPTED, 0.1)])

    monkeypatch.setattr(server.adaptation, "climb", climb)
    for _ in range(2):
        assert adapt(service, "1").state == "succeeded"
    assert [profile.id for profile in seen] == [service.engines.base_id] * 2
    adapt(service, "0", gate=False)  # back on the bundle's tables, too
    assert live_profile(service).tables_id == service.engines.base_id


def test_an_adaptation_that_changes_nothing_makes_no_version(service: Service) -> None:
    assert adapt(service, "0", gate=False).version == 2
    job = adapt(service, "0", gate=False, seed=7)
    assert (job.state, job.version) == ("declined", None)
    assert job.report.reason == (
        "the adaptation ends with the profile that is live already; the site keeps version 2"
    )
    enroll(service, range(COUNT, COUNT + 5))
    assert adapt(service, "0", gate=False).version == 3


def test_the_bundles_own_profile_needs_no_row_in_a_new_gallery(service: Service) -> None:
    adapt(service, "0", gate=False)
    with service.store.database.write() as db:
        db.exec_driver_sql(f"DELETE FROM profiles WHERE id = '{service.engines.base_id}'")
    assert adapt(service, "none").state == "succeeded"


def test_tiers_that_need_images_are_refused_where_these_are_not_kept(blind: Service) -> None:
    for tier in ("1", "2", "1+0"):
        with pytest.raises(
            Conflict, match=r"45 of 45 images of site 'lobby' are not kept, .* tier 0 needs no"
        ):
            start(blind, tier)
    job = adapt(blind, "auto", gate=False)
    assert (job.state, job.report.tiers) == ("succeeded", "0")
    assert job.report.notes == ["not every image of the site is kept, so only tier 0 could be tried"]


def test_tier_2_is_refused_where_bnta_cannot_run(service: Service) -> None:
    with pytest.raises(Unprocessable, match="bundle 'tiny' has no self-supervised heads"):
        start(service, "2+0")


@pytest.mark.parametrize("tier", ["auto", "0", "1"])
def test_too_few_items_are_refused_and_too_few_different_ones_declined(service: Service, tier: str) -> None:
    enroll(service, range(15), "yard")
    with pytest.raises(Unprocessable, match="has 15 items; an adaptation needs at least 16"):
        start(service, tier, "yard")
    records = [NewItem(camera="door")] * 20
    asyncio.run(service.enrolling.enroll("alike", [picture(1)] * 20, records))
    job = adapt(service, tier, "alike")
    assert job.state == "declined"
    assert job.report.reason == "only 1 of 20 crops differ from each other; an adaptation needs 16"


@pytest.mark.parametrize("tier", ["0", "1+0", "auto"])
def test_a_site_of_many_cameras_with_few_crops_each_is_judged_without_views(
    service: Service, tier: str
) -> None:
    """Every fourth crop of a camera is held out for views, so there are none here."""
    enroll(service, range(24), "yard", tuple(f"camera {number // 3}" for number in range(24)))
    job = adapt(service, tier, "yard")
    assert job.state in ("succeeded", "declined"), job.report.error
    assert job.report.rungs
    assert not any("margin_of_views" in name for name in job.report.rungs[0].signals)


def test_a_site_without_cameras_is_one_group_and_the_report_says_so(service: Service) -> None:
    enroll(service, range(30), "yard", (None,))
    for tier in ("0", "1"):
        job = adapt(service, tier, "yard", gate=False)
        assert (job.state, job.report.cameras) == ("succeeded", {"": 30})
        assert job.report.notes == ["no item says which camera took it, so all of them count as one camera's"]
        site = service.status.site(service.sites.get("yard"))
        assert (site.camera_tables, site.camera_centres, site.adapted) == (0, 0, True)


@pytest.mark.parametrize(
    ("tier", "stage"),
    [
        ("0", "judging"),
        ("0", "centring"),
        ("1+0", "choosing crops"),
        ("1+0", "taking statistics"),
        ("1+0", "re-embedding"),
        ("1+0", "centring"),
    ],
)
def test_a_cancel_in_every_stage_leaves_the_site_as_it_was(
    service: Service, tier: str, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, before = service.sites.get("lobby").state, scores(ask(service))
    real, reached = service.jobs.change, []

    def change(job: Job, **values: Any) -> None:
        if values.get("stage") == stage and not reached:
            reached.append(job)
            service.jobs.cancel(job.id)
        real(job, **values)

    monkeypatch.setattr(service.jobs, "change", change)
    job = adapt(service, tier, gate=False)
    assert (job.state, len(reached)) == ("cancelled", 1)
    assert service.sites.get("lobby").state is live
    assert scores(ask(service)) == before
    assert kept_profiles(service) <= {service.engines.base_id}
    monkeypatch.undo()
    assert adapt(service, tier, gate=False).state == "succeeded"


def test_an_interrupted_adaptation_goes_on_without_climbing_again(
    service: Service, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = threading.Event()

    def stop(*arguments: Any) -> Centres:
        stopping.set()
        threading.Event().wait(0.2)
        arguments[-1]()  # whether the job should end
        raise AssertionError("the job was not interrupted")

    monkeypatch.setattr(server.adaptation, "fit_stored_centres", stop)
    job = start(service, "1+0", gate=False)
    assert stopping.wait(20)
    rungs = service.jobs.get(job.id).report.rungs
    service.close()
    monkeypatch.undo()
    again = open_tiny(bundle, tmp_path / "data")
    monkeypatch.setattr(server.adaptation, "climb", None)
    monkeypatch.setattr(again.embedding, "embed_stored", None)  # the embeddings were kept, too
    again.adapting.resume()
    done = ended(again, again.jobs.get(job.id))
    assert (done.state, done.version, done.report.tiers, done.report.rungs) == ("succeeded", 2, "1+0", rungs)
    assert again.status.site(again.sites.get("lobby")).tiers == "1+0"
    again.close()


@pytest.mark.parametrize(("value", "tiers"), [("0+1", "1+0"), ("2", "2"), ("auto", "auto"), ("none", "none")])
def test_tiers_are_named_from_the_top_down(value: str, tiers: str) -> None:
    assert tiers_of(value) == tiers


@pytest.mark.parametrize("value", ["", "4", "1+", "1+1", "auto+0", "none+0", "1 + 0", "True"])
def test_unknown_tiers_are_refused_with_those_that_there_are(value: str) -> None:
    with pytest.raises(BadRequest) as caught:
        tiers_of(value)
    assert ", ".join(TIER_CHOICES) in caught.value.detail


def test_two_tiers_that_start_from_the_models_own_values_are_refused_together() -> None:
    with pytest.raises(BadRequest, match="tiers 2 and 3 both start from the model's own values"):
        tiers_of("2+3+0")
