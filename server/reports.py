"""What the server says about itself, its sites and its jobs: one schema for HTTP, gRPC and the store."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from reid.adaptation.ladder import Rung
from reid.adaptation.outputs import Outputs
from reid.adaptation.overview import Overview
from reid.adaptation.ranks import Ranks


def _is_none(value: Any) -> bool:
    return value is None


def _fact(description: str) -> Any:
    """A field that is left out of the answer until it is known."""
    return Field(default=None, exclude_if=_is_none, description=description)


class RungReport(BaseModel):
    """One rung of the ladder: tiers of adaptation that were tried on top of others."""

    tiers: str = Field(description="what was tried, like 1+0")
    below: str = Field(description="what it was compared with")
    accepted: bool
    by: str = Field(description="what decided: labels, signals, veto, or off where nothing judged")
    gain: float | None = Field(description="change of mAP in points: measured by labels, else predicted")
    low: float | None = Field(description="lower end of the interval of `gain`")
    high: float | None = Field(description="upper end")
    reason: str
    signals: dict[str, float] = Field(
        description="what can be seen without labels: `_before` and `_after` on either side, others compare "
        "both"
    )
    seconds: float

    @classmethod
    def of(cls, rung: Rung) -> RungReport:
        """A rung as callers see it."""
        verdict = rung.verdict
        return cls(
            tiers=rung.tiers,
            below=rung.below,
            accepted=verdict.accepted,
            by=verdict.by,
            gain=_rounded(verdict.gain),
            low=_rounded(verdict.low),
            high=_rounded(verdict.high),
            reason=verdict.reason,
            signals=_before_and_after(verdict.signals),
            seconds=round(rung.seconds, 3),
        )


def _rounded(points: float | None) -> float | None:
    return round(points, 2) if points is not None else None


def _before_and_after(signals: dict[str, float]) -> dict[str, float]:
    """Changes become what they lead to; what is no number, since it needs images, is left out."""
    sides = {}
    for name, value in signals.items():
        if not math.isfinite(value):
            continue
        stem = name.removesuffix("_change")
        if stem != name and f"{stem}_before" in signals:
            sides[f"{stem}_after"] = round(signals[f"{stem}_before"] + value, 4)
        else:
            sides[name] = round(value, 4)
    return sides


class SimilarityReport(BaseModel):
    """How alike the crops of two cameras are, before anything and after the last tier that was tried."""

    cameras: list[str] = Field(description="in the order of rows and columns")
    before: list[list[float]] = Field(description="mean cosine similarity of their crops")
    after: list[list[float]] = Field(description="the same, as compared after it")

    @classmethod
    def of(cls, seen: Overview) -> SimilarityReport:
        """As callers see it."""
        return cls(
            cameras=seen.cameras, before=seen.before.round(4).tolist(), after=seen.after.round(4).tolist()
        )


class RankedReport(BaseModel):
    """One crop that was held out, as a query."""

    item: str = Field(description="its id; its image is at /gallery/{item}/image, where images are kept")
    camera: str | None
    before: int = Field(description="the best right place before anything, 1 being the first")
    after: list[int] = Field(description="the same after each of `tiers`")


class RanksReport(BaseModel):
    """Where a few held-out crops stand before and after each tier that was judged."""

    by: str = Field(
        description="labels: crops look for their person at other cameras; views: for themselves, by another "
        "view of them"
    )
    among: int = Field(description="crops that were ranked")
    tiers: list[str] = Field(description="what was judged, in this order")
    queries: list[RankedReport]

    @classmethod
    def of(cls, ranks: Ranks, ids: dict[int, str], cameras: Sequence[str | None]) -> RanksReport:
        """As callers see it.

        Args:
            ids: of items, by row of the sample; those that are erased by now have none and are left out.
            cameras: of the sample's crops.
        """
        queries = [
            RankedReport(
                item=ids[row],
                camera=cameras[row],
                before=ranks.before[number],
                after=[places[number] for _, places in ranks.after],
            )
            for number, row in enumerate(ranks.rows)
            if row in ids
        ]
        return cls(by=ranks.by, among=ranks.among, tiers=[tiers for tiers, _ in ranks.after], queries=queries)


class OutputReport(BaseModel):
    """What a BatchNorm layer puts out for one camera's crops, before gamma and beta; for the crops that the
    model was trained with, mean 0 and variance 1."""

    mean_before: float = Field(description="root mean square of the channels' means")
    variance_before: float = Field(description="mean of the channels' variances")
    mean_after: float
    variance_after: float


def outputs_by_layer(outputs: Outputs) -> dict[str, dict[str, OutputReport]]:
    """As callers see it: by layer, then by camera."""
    reports = {}
    for layer, of_camera in outputs.by_layer().items():
        reports[layer] = {
            camera: OutputReport(**{name: round(value, 4) for name, value in vars(output).items()})
            for camera, output in of_camera.items()
        }
    return reports


class GroupsReport(BaseModel):
    """Groups of crops that look like one person, a value an epoch each."""

    groups: list[int] = Field(description="how many groups there were")
    across: list[int] = Field(description="how many of them have crops of several cameras")
    grouped: list[int] = Field(description="how many crops are in a group")
    losses: list[float] = Field(description="mean loss")


class JobReport(BaseModel):
    """What a job did; it grows while the job runs."""

    # extra: reports of other versions stay readable
    model_config = ConfigDict(extra="allow", validate_assignment=True)

    tiers: str | None = _fact("the tiers of adaptation that go live, like 1+0, or none")
    rungs: list[RungReport] | None = _fact("what was tried, in this order, and what the gate said")
    gate_error: dict[str, dict[str, int | float]] | None = _fact(
        "how often the gate was wrong where the truth was known, by tier"
    )
    notes: list[str] | None = _fact("what limited the adaptation")
    crops: int | None = _fact("crops that the adaptation looked at")
    cameras: dict[str, int] | None = _fact("how many of these crops came from each camera")
    people: dict[str, int] | None = _fact("about how many different people the crops of each camera show")
    similarity: SimilarityReport | None = _fact("how alike crops of two cameras are, before and after")
    ranks: RanksReport | None = _fact("places of a few held-out crops, before and after each tier")
    outputs: dict[str, dict[str, OutputReport]] | None = _fact(
        "what a few BatchNorm layers put out before and after tier 1, by layer, then by camera; crops of the "
        "whole site stand under an empty name"
    )
    change_rates: dict[str, dict[str, float]] | None = _fact(
        "how far the BatchNorm layers that moved most did, by gamma, beta, mean and variance, then by layer"
    )
    pairs: int | None = _fact("pairs of crops that BNTA matched")
    mean_pair_distance: float | None = _fact("mean distance of the nearest parts of these pairs")
    losses: list[dict[str, float | None]] | None = _fact(
        "the losses of every step; null where one was no number"
    )
    groups: GroupsReport | None = _fact("what tier 3 learned from")
    device: str | None = _fact("where the adaptation was computed: cpu or cuda")
    profile: str | None = _fact("the BatchNorm profile that came of it")
    engine_parity: float | None = _fact(
        "lowest cosine between the engine and torch, both with the new profile"
    )
    drift: float | None = _fact("1 - mean cosine of embeddings before and after")
    restores: int | None = _fact("the version whose profile a rollback restores")
    seconds: dict[str, float] | None = _fact("how long each stage took")
    reason: str | None = _fact("why the job declined")
    error: str | None = _fact("why the job failed")


class MeasuredReport(BaseModel):
    """What a calibration by the site's own labels also says."""

    gallery_people: int = Field(
        description="people in the site when it was measured: its identities, clusters of items without one, "
        "and items that stand alone"
    )
    gallery_items: int = Field(description="items in the site when it was measured")
    people_now: int = Field(
        description="about how many people the site holds now, by its items; thresholds and intercept are "
        "those of a gallery of this size"
    )
    missed: dict[str, float | None] = Field(
        description="by the same shares as the thresholds: the share of queries of enrolled people that are "
        "then not identified; null where there is no threshold"
    )
    refused: dict[str, str] = Field(
        description="why a threshold is null: how many people would have to be labelled"
    )
    cllr: float | None = Field(
        description="log-likelihood-ratio cost, in bits, on people whom the fit has not seen: 0 is best, 1 "
        "says nothing; of pairs of one camera where tracks say who is one person; null by answers"
    )
    labels: str = Field(
        default="identity",
        description="what it was measured by: identity, tracklets, all, which is both, or answers",
    )
    pairs: dict[str, int] = Field(
        default_factory=dict,
        description="how many pairs of crops it was fitted to: same_name and other_name (best matches that "
        "are right and wrong, or where tracks say who is one person, pairs of two cameras and of two "
        "people), same_track, same_second, and answered_same and answered_different of the review queue",
    )
    tracks: int = Field(default=0, description="tracks that said who is one person")
    torn_tracks: int = Field(
        default=0, description="tracks whose items bear two names, which were not used; look at them"
    )
    notes: list[str] = Field(
        default_factory=list, description="how far off labels of this kind were where the truth was known"
    )


class CalibrationReport(BaseModel):
    """What a score means: P(the best match is right) = 1 / (1 + exp(-(slope * score + intercept))), where
    half of the queries show nobody who is enrolled."""

    slope: float
    intercept: float
    thresholds: dict[str, float | None] = Field(
        description="by the share of queries of unknown people that then still raise a match, like 0.01 for "
        "ten false alarms in 1,000 queries: only scores above it count; null where labels are too few"
    )
    space_id: str = Field(description="the space in which it was measured")
    guess: bool = Field(
        description="true unless it was measured in the live space, by labels of the site's own items; true "
        "by tracks or answers alone"
    )
    measured_on: str = Field(description="labels of the site, or a data set of the model's card")
    people: int | None = Field(
        description="how many people it was fitted to; null where the card says none, and by tracks or "
        "answers alone"
    )
    error: float | None = Field(
        description="mean distance of probability and truth on half of the people, by a fit to the others; "
        "null where tracks or answers say who is one person"
    )
    measured: MeasuredReport | None = Field(
        default=None,
        description="null unless it was measured by labels of the site",
    )


class AdaptAfterReport(BaseModel):
    """When a site is adapted again by itself."""

    items: int | None = Field(description="after so many items that are new since its last adaptation")
    hours: float | None = Field(description="after so many hours, if any item is new since then")
    waits: str | None = Field(description="why an adaptation that is due does not begin yet")


class IndexReport(BaseModel):
    """How a site is searched."""

    kind: str = Field(
        description="exact, int8 and milvus (exact as well), or FAISS's words for an approximate index, "
        "whose candidates are scored exactly"
    )
    items: int | None = Field(description="that an approximate index or Milvus knows; the others are scanned")
    recall: float | None = Field(
        description="the share of the ten best that it found when it was built, of items of the site as "
        "queries; null: all are found"
    )
    speed_up: float | None = Field(description="how many times as fast as a scan it was then")
    waits: str | None = Field(
        description="why the index that is set is not used, or not yet; why Milvus does not answer"
    )


class SiteReport(BaseModel):
    """A site."""

    site: str
    version: int
    space_id: str
    raw_space_id: str = Field(description="the space of vectors that it takes, whatever its centres")
    profile: str
    items: int
    adapted: bool = Field(description="whether it has another profile than the bundle's")
    tiers: str | None = Field(
        description="the tiers of adaptation that are live, like 1+0, or none; null where an older version "
        "of Resight adapted it"
    )
    camera_tables: int = Field(description="cameras with BatchNorm tables of their own")
    camera_centres: int = Field(description="cameras with centres of their own")
    fitted_on: int | None = Field(
        description="items of which the profile holds statistics, with those erased since; null where an "
        "older version of Resight adapted the site"
    )
    fitted_on_erased: int | None = Field(
        description="how many of these are erased by now; refit in POST /adapt makes the profile without them"
    )
    can_roll_back: bool
    cause: str = Field(description="what made this version: created, adapt, rollback or reembed")
    calibration: CalibrationReport | None = Field(
        description="what scores of the live version mean; null where the model's card does not say and "
        "the site has too few labels, or an older version of Resight made the version"
    )
    adapt_after: AdaptAfterReport | None = Field(
        description="when it is adapted again by itself; null: never"
    )
    index: IndexReport = Field(description="how it is searched")


class BundleReport(BaseModel):
    """The bundle that is served."""

    name: str
    base: str
    architecture: str
    dim: int
    height: int
    width: int
    training_domains: list[str]
    ssl_heads: bool
    weights_licence: str
    metrics: list[dict[str, Any]]


class EngineReport(BaseModel):
    """What embeds, read back from the runtime."""

    engine: str
    version: str
    provider: str
    device: str
    precision: str


class TrialReport(BaseModel):
    """What came out when a candidate engine embedded the bundle's probe in a process of its own."""

    refused: str | None = Field(description="why it is not used; null: it may be")
    undecided: str | None = Field(description="why there is no result; says nothing against it")
    min_cosine: float | None = Field(description="lowest cosine to the embeddings that the bundle records")
    crops_per_second: float | None = Field(description="at batch 32, when it was tried")
    speed_up: float | None = Field(description="of int8: times the rate of float, measured in turns")


class TuningReport(BaseModel):
    """How the CPU's cores are shared out between queries and bulk work (enrolls, re-embedding)."""

    query_threads: int = Field(description="of the engine for queries; 0: what the runtime thinks best")
    streams: int = Field(
        description="batches of bulk work that are computed at once while no queries come; 0: bulk work is "
        "done by the engine for queries"
    )
    batch: int = Field(description="crops in each of these batches")
    measured: bool = Field(description="as resight tune measured it here; false: by default")
    note: str | None = Field(
        description="why what was once measured is not used; null: there is no such thing"
    )


class FallbackReport(BaseModel):
    """Something that did not run as it was wished."""

    what: str = Field(description="what happened, like batches that the CPU computed for a full GPU")
    reason: str = Field(description="why, the last time")
    times: int = Field(description="how often since the start")


class ServerReport(BaseModel):
    """What really runs."""

    bundle: BundleReport
    engine: EngineReport
    refused_engines: dict[str, str] = Field(description="faster engines that do not work here, with reasons")
    engine_trials: dict[str, TrialReport] = Field(
        description="engines of the CPU that were tried before one was chosen"
    )
    fallbacks: list[FallbackReport] = Field(
        description="what did not run as wished since the start, with reasons; empty: everything did"
    )
    tuning: TuningReport | None = Field(
        description="how the CPU's cores are shared out; null: the engine does not share them"
    )
    search: str = Field(description="where galleries are searched: cpu or gpu")
    index: str = Field(
        description="the index that is set: exact, int8, or FAISS's words for an approximate one"
    )
    index_recall: dict[str, float] = Field(
        description="by site, the measured share of the ten best that its approximate index finds; the other "
        "sites are searched exactly"
    )
    max_batch: int
    lanes: dict[str, int] = Field(
        description="engines open beside the bundle's own: folded ones, the shared one"
    )
    keep_images: bool
    raw_space_id: str = Field(description="the space of vectors that a new site takes")
    tiers: list[str] = Field(description="what POST /adapt takes as its tier; single ones can be joined: 1+0")
    uptime_s: float
