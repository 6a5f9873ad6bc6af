"""One adaptation: crops of a site -> the ladder -> tables -> re-embedding -> centres -> swap.

Tier 0 alone needs no crops: it works with the embeddings that are stored.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np

from reid.adaptation.changes import change_rates
from reid.adaptation.gate import error_rates
from reid.adaptation.ladder import Climbed, Rung, climb
from reid.adaptation.ladder import Sample as Crops
from reid.adaptation.overview import Overview
from reid.adaptation.sampling import MIN_CROPS, held_out
from reid.adaptation.signals import views
from reid.profile import Profile
from server.centring import MOST_JUDGED, StoredSample, climb_centring, fit_stored_centres, read_sample
from server.engines import Engines
from server.errors import Conflict, Problem, Unprocessable
from server.gallery.records import Embedded
from server.gallery.store import Store
from server.job import Declined
from server.jobs import Handle
from server.rebuild import Finish, Rebuilder
from server.reports import JobReport, RanksReport, RungReport, SimilarityReport
from server.sampling import count_by_camera, require_different, write_sample
from server.site_tools import SiteTools
from server.sites import Site
from server.work import CROPS, work_folder

_SAMPLED, _CLIMBED = 0.1, 0.5  # progress of the job after these stages
_FEW_PEOPLE = 8  # at a camera, to be said in the report


@dataclasses.dataclass(frozen=True)
class Asked:
    """What an adaptation was asked for.

    Args:
        tier: `auto`, `none`, which returns the site to the bundle's own profile, or tiers like `1+0`.
        gate: whether each tier has to show that it helps.
        max_samples: crops to look at. seed: of their choice, and of the order of pairs.
        refit: the live profile is made again of what is left of the items that it was fitted to, and takes
            the live version's place: no rollback leads to that.
    """

    tier: str
    gate: bool
    max_samples: int
    seed: int
    refit: bool = False


class Adaptation:
    """One adaptation of one site, always from the bundle's own tables: adapting an adaptation drifts."""

    def __init__(
        self, site: Site, asked: Asked, store: Store, engines: Engines, rebuilder: Rebuilder
    ) -> None:
        self.site, self.asked = site, asked
        self.store, self.engines, self.rebuilder = store, engines, rebuilder

    def check(self) -> None:
        """Raises Unprocessable or Conflict where the job would be pointless: too few items, images that are
        not kept, tier 2 where BNTA cannot run."""
        name, asked = self.site.name, self.asked
        count = self.store.items.count(name)
        if count == 0:
            raise Unprocessable(f"site {name!r} has no items to adapt to; enroll some first")
        if asked.tier != "none" and count < MIN_CROPS:
            raise Unprocessable(f"site {name!r} has {count} items; an adaptation needs at least {MIN_CROPS}")
        wanted, without = self._wanted(), self.store.items.count_without_image(name)
        if wanted in ("none", "0"):
            raw_space = self.engines.raw_space(self.engines.base_id)
            if without and len(self.store.embeddings.missing(name, raw_space)):
                raise Conflict(
                    f"{without} of {count} images of site {name!r} are not kept, so it cannot be re-embedded "
                    f"with the bundle's own tables"
                )
            return
        if not self.engines.base_profile.site:
            raise Unprocessable(f"{self._why_only_centres()}; tier 0 needs none")
        if without:
            raise Conflict(
                f"{without} of {count} images of site {name!r} are not kept, so it cannot be adapted by tier "
                f"{wanted}; tier 0 needs no images"
            )
        for tier in wanted.split("+"):
            obstacle = self._obstacle_of(tier)
            if obstacle is not None:
                raise Unprocessable(obstacle)

    def run(self, handle: Handle) -> None:
        """The job's work; the report grows as it goes. An attempt that was interrupted after the climb is
        gone on with: its profile and embeddings are kept. Raises Declined, WorkerError, Problem."""
        report = handle.job.report
        live = self.site.state.version
        if self.asked.tier == "none":
            if live.profile_id == self.engines.base_id:
                raise Declined(
                    f"site {self.site.name!r} has the bundle's own values already; it keeps version "
                    f"{live.version}"
                )
            report.tiers, profile, finish = "none", self.engines.base_profile, None
        else:
            profile = self._kept_profile(report) or self._new_profile(handle)
            report = handle.job.report
            finish = self._finish(handle, profile)
        began = time.perf_counter()
        version = self.rebuilder.run(
            self.site,
            profile.id,
            "adapt",
            live.parent if self.asked.refit else live.version,
            handle.job.id,
            lambda share: handle.step(_CLIMBED + share * (1 - _CLIMBED), "re-embedding"),
            report.tiers,
            finish,
        )
        report.seconds = (report.seconds or {}) | {"re-embed": round(time.perf_counter() - began, 3)}
        report.profile, handle.job.version = version.profile_id, version.version

    def _wanted(self) -> str:
        """What is climbed: what was asked for, or what of it can be done without images."""
        if self.asked.tier == "auto" and self._why_only_centres():
            return "0"
        return self.asked.tier

    def _why_only_centres(self) -> str | None:
        """Why no other tier than 0 can be tried; None where others can."""
        if not self.engines.base_profile.site:
            return f"bundle {self.engines.bundle.manifest.name!r} has no BatchNorm layer left to adapt"
        if self.store.items.count_without_image(self.site.name):
            return "not every image of the site is kept"
        return None

    def _obstacle_of(self, tier: str) -> str | None:
        """Why a tier that needs torch cannot be computed; None where it can."""
        manifest = self.engines.bundle.manifest
        if tier == "2" and not manifest.ssl_heads:
            return f"bundle {manifest.name!r} has no self-supervised heads, so BNTA cannot adapt it"
        needed = {"2": ("torch",), "3": ("torch", "sklearn")}.get(tier, ())
        if any(find_spec(name) is None for name in needed):
            return f"tier {tier} needs {' and '.join(needed)}; install them with: pip install -e '.[train]'"
        return None

    def _kept_profile(self, report: JobReport) -> Profile | None:
        """The tables that an earlier attempt of this job has decided on, for this bundle."""
        if report.profile is None or report.tiers is None:
            return None
        profile = self.store.versions.profile(report.profile)
        if profile is None or profile.base != self.engines.bundle.base_id:
            return None
        tables = profile.with_centres(None)
        self.store.versions.save_profile(tables)
        return tables

    def _new_profile(self, handle: Handle) -> Profile:
        """Climbs, and keeps the tables that are worth it: what an attempt after a crash goes on from."""
        handle.job.report = report = JobReport()
        keeps = f"the site keeps version {self.site.state.version.version}"
        try:
            self.check()
        except Problem as problem:  # it was all right when the job was queued
            raise Declined(f"{problem.detail}; {keeps}") from problem
        wanted = self._wanted()
        if wanted != self.asked.tier:
            _note(report, f"{self._why_only_centres()}, so only tier {wanted} could be tried")
        climbed = self._climb_stored(handle) if wanted == "0" else self._climb(handle, wanted)
        report.rungs = [RungReport.of(rung) for rung in climbed.rungs]
        if self.asked.gate:
            report.gate_error = error_rates()
        if climbed.overview is not None:
            _note_overview(report, climbed.overview)
        if climbed.tiers == "none":
            tried = " ".join(f"Tier {rung.tiers}: {rung.verdict.reason}" for rung in climbed.rungs)
            raise Declined(f"nothing that was tried is known to help, so {keeps}. {tried}")
        tables = climbed.profile.with_centres(None)
        if tables.id != self.engines.base_id:
            report.change_rates = _rounded(change_rates(self.engines.base_profile, tables))
        report.tiers, report.profile = climbed.tiers, self.store.versions.save_profile(tables)
        handle.keep_report()
        return tables

    def _climb(self, handle: Handle, wanted: str) -> Climbed:
        """The ladder, by crops of the site."""
        report, settings = handle.job.report, self.engines.settings
        tools = SiteTools(handle, self.store, self.engines, _CLIMBED)
        fit = self.site.state.fit if self.asked.refit else None
        most = self.asked.max_samples if fit is None else max(1, len(fit.sampled))
        with work_folder(settings.data) as folder:
            began = time.perf_counter()
            sample = write_sample(
                self.store,
                self.rebuilder.embedding,
                self.site.name,
                most,
                self.asked.seed,
                folder / CROPS,
                lambda share: handle.step(_SAMPLED * share, "choosing crops"),
                fit.sampled if fit is not None else None,
            )
            count = len(sample.cameras)
            require_different(count, sample.candidates)
            report.crops, report.cameras = count, sample.counts
            _note_cameras(report, sample.cameras)
            tools.seconds["sample"] = round(time.perf_counter() - began, 3)
            manifest = self.engines.bundle.manifest
            shape = (count, manifest.height, manifest.width, 3)
            crops = np.memmap(sample.path, np.uint8, "r", shape=shape)
            climbed = climb(
                wanted,
                self.asked.gate,
                self.engines.base_profile,
                Crops(crops, sample.cameras, sample.identities),
                tools,
                lambda share, stage: tools.say(stage, _SAMPLED + (_CLIMBED - _SAMPLED) * share),
                self.asked.seed,
                lambda rung: _tell(report, rung),
            )
        report.seconds = tools.seconds
        self._note_ranks(report, climbed, sample.seqs, sample.cameras)
        tables = climbed.profile.with_centres(None)
        if tables.id != self.engines.base_id:
            fitted = held_out(sample.cameras)[1].tolist() if self.asked.gate else range(count)
            seqs = [sample.seqs[row] for row in fitted]
            self.store.versions.save_profile(tables)
            self.store.fits.save(tables.id, self.site.name, len(seqs), seqs)
        return climbed

    def _climb_stored(self, handle: Handle) -> Climbed:
        """Tier 0 by the embeddings that are stored."""
        report, store = handle.job.report, self.store
        tools = SiteTools(handle, store, self.engines, _CLIMBED)
        base = self.engines.base_profile
        began = time.perf_counter()
        self.rebuilder.embed_missing(
            self.site, base.id, lambda share: handle.step(_SAMPLED * share, "embedding")
        )
        most = min(MOST_JUDGED, self.asked.max_samples)
        sample = read_sample(store, self.site.name, self.engines.raw_space(base.id), most, self.asked.seed)
        report.crops, report.cameras = len(sample.seqs), count_by_camera(sample.cameras)
        _note_cameras(report, sample.cameras)
        tools.seconds["sample"] = round(time.perf_counter() - began, 3)
        handle.step(_SAMPLED, "judging")
        climbed = climb_centring(sample, self.asked.gate, base, tools, self._views)
        report.seconds = tools.seconds
        self._note_ranks(report, climbed, sample.seqs, sample.cameras)
        return climbed

    def _note_ranks(
        self, report: JobReport, climbed: Climbed, seqs: Sequence[int] | np.ndarray, cameras: list[str | None]
    ) -> None:
        """`seqs` and `cameras` of the sample."""
        ranks = climbed.ranks
        if ranks is None:
            return
        items = self.store.items.by_seq([int(seqs[row]) for row in ranks.rows])
        ids = {row: items[int(seqs[row])].id for row in ranks.rows if int(seqs[row]) in items}
        report.ranks = RanksReport.of(ranks, ids, cameras)

    def _views(self, sample: StoredSample) -> np.ndarray:
        """uint8 [N,H,W,3]: other views of crops; none where there is no crop or one is not kept."""
        images = self.store.items.images([int(seq) for seq in sample.seqs])
        manifest = self.engines.bundle.manifest
        if not images or len(images) < len(sample.seqs):
            return np.empty((0, manifest.height, manifest.width, 3), np.uint8)
        decode = self.rebuilder.embedding.decode_stored
        return views(np.stack([decode(images[seq], f"number {seq}") for seq in map(int, sample.seqs)]))

    def _finish(self, handle: Handle, tables: Profile) -> Finish:
        """What makes the profile that goes live: its centres are those of every embedding of the site."""
        report, live = handle.job.report, self.site.state.version

        def finish(stored: Sequence[Embedded]) -> Profile:
            profile = tables
            if report.tiers is not None and "0" in report.tiers.split("+"):
                handle.step(handle.job.progress, "centring")
                began = time.perf_counter()
                try:
                    centres = fit_stored_centres(stored, handle.check)
                except ValueError as error:
                    raise Declined(f"site {self.site.name!r} has no items any more") from error
                profile = tables.with_centres(centres)
                report.seconds = (report.seconds or {}) | {"centre": round(time.perf_counter() - began, 3)}
            if profile.id == live.profile_id:
                raise Declined(
                    f"the adaptation ends with the profile that is live already; the site keeps version "
                    f"{live.version}"
                )
            if profile.centres is not None:
                self._keep_fit(tables, profile, stored)
            return profile

        return finish

    def _keep_fit(self, tables: Profile, profile: Profile, stored: Sequence[Embedded]) -> None:
        """Keeps that the centres were fitted to everything that is stored, the tables to the sample."""
        fits, count = self.store.fits, sum(len(chunk.seqs) for chunk in stored)
        sampled = fits.get(tables.id) if tables.id != self.engines.base_id else None
        seqs: list[int] = []
        if sampled is not None:
            seqs = sampled.sampled.tolist()
            count += sampled.count - len(seqs)  # of the sample, but erased before the centres were fitted
        through = int(stored[-1].seqs[-1])
        self.store.versions.save_profile(profile)
        fits.save(profile.id, self.site.name, count, seqs, through)


def _tell(report: JobReport, rung: Rung) -> None:
    report.rungs = [*(report.rungs or []), RungReport.of(rung)]


def _rounded(rates: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """To four digits that count: rates differ by powers of ten."""
    rounded = {}
    for parameter, layers in rates.items():
        rounded[parameter] = {layer: float(f"{rate:.4g}") for layer, rate in layers.items()}
    return rounded


def _note(report: JobReport, sentence: str) -> None:
    report.notes = [*(report.notes or []), sentence]


def _note_cameras(report: JobReport, cameras: list[str | None]) -> None:
    if not any(cameras):
        _note(report, "no item says which camera took it, so all of them count as one camera's")


def _note_overview(report: JobReport, seen: Overview) -> None:
    """What was seen by camera; a camera with few people is moved little, and should be known."""
    report.people = {camera: max(1, round(people)) for camera, people in seen.people.items()}
    report.similarity = SimilarityReport.of(seen)
    for camera, people in report.people.items():
        if people < _FEW_PEOPLE:
            name = f"camera {camera!r}" if camera else "the camera of crops without one"
            who = "one person" if people == 1 else f"{people} different people"
            _note(report, f"the crops of {name} show about {who}, so it is moved little")
