"""The tiers of adaptation, and how they are climbed: each on top of what was accepted below it. No torch.

A new tier is a file of this folder, a row in TIERS and a method of Tools.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from reid.adaptation.centring import fit_centres
from reid.adaptation.gate import Verdict, judge, not_judged, out_of_reach
from reid.adaptation.overview import Overview, overview
from reid.adaptation.ranks import Ranking, Ranks
from reid.adaptation.sampling import held_out
from reid.adaptation.signals import Pool, views
from reid.profile import Profile

Progress = Callable[[float, str], None]  # share done, stage; what it raises stops the climb

# what each tier is; every list of tiers comes from here
TIERS = {
    "0": "the mean embedding of each camera is subtracted before embeddings are compared; needs no images",
    "1": "BatchNorm statistics of each camera's own crops",
    "2": "BNTA: BatchNorm values of the site, learned from its unlabeled crops; needs torch",
    "3": "BatchNorm scale and shift, learned from groups of crops that look like one person; needs torch",
}
APART = {"2", "3"}  # both start from the bundle's own values, so a combination has one of them at most
# What `auto` tries, from below. Tier 2 is left out: measured on top of tier 0 it gains less than tier 1
# does, and on top of tier 1 nothing. Tier 3 takes minutes on a CPU (docs/adaptation.md).
AUTO = ("0", "1+0")


@dataclasses.dataclass(frozen=True)
class Rung:
    """One step of a climb: `tiers`, judged against `below`."""

    tiers: str
    below: str
    verdict: Verdict
    seconds: float


@dataclasses.dataclass(frozen=True)
class Climbed:
    """Where a climb ended; `tiers` is "none", and `profile` the base, where nothing was accepted. `overview`
    compares the base with the last rung that was tried, `ranks` with every one; None where nothing was
    judged."""

    profile: Profile
    tiers: str
    rungs: list[Rung]
    overview: Overview | None = None
    ranks: Ranks | None = None


@dataclasses.dataclass(frozen=True)
class Sample:
    """Crops of a site: uint8 [N,H,W,3], with the camera and the identity of each where they are known."""

    crops: np.ndarray
    cameras: Sequence[str | None]
    identities: Sequence[str | None]

    def take(self, rows: np.ndarray) -> Sample:
        """Some of them, by row."""
        cameras = [self.cameras[row] for row in rows]
        return Sample(self.crops[rows], cameras, [self.identities[row] for row in rows])


class Tools(Protocol):
    """What the ladder computes with."""

    def embed(self, profile: Profile, crops: np.ndarray, cameras: Sequence[str | None]) -> np.ndarray:
        """uint8 [N,H,W,3] and the camera of each -> float32 [N,D], with the tables of a profile."""
        ...

    def statistics(
        self, source: Profile, crops: np.ndarray, cameras: Sequence[str | None], embedded: np.ndarray
    ) -> Profile:
        """Tier 1 on top of a profile; `embedded`, float32 [N,D]: the crops with the bundle's own values."""
        ...

    def bnta(self, crops: np.ndarray, cameras: Sequence[str | None], seed: int) -> Profile:
        """Tier 2 on top of the bundle's own values."""
        ...

    def groups(self, crops: np.ndarray, cameras: Sequence[str | None], seed: int) -> Profile:
        """Tier 3 on top of the bundle's own values."""
        ...


def rungs_of(wanted: str) -> tuple[str, ...]:
    """The combinations that are tried for "auto", or for tiers like "1+0"."""
    return AUTO if wanted == "auto" else (wanted,)


def climb(
    wanted: str,
    gate: bool,
    base: Profile,
    sample: Sample,
    tools: Tools,
    progress: Progress,
    seed: int = 0,
    tell: Callable[[Rung], None] = lambda rung: None,
) -> Climbed:
    """Tries combinations of tiers from below and keeps each that the gate accepts.

    With a gate, three quarters of each camera's crops are fitted to and judged together with the rest, whose
    other views are held against them. Without, every crop is fitted to.

    Args:
        wanted: "auto" or tiers like "1+0". base: the bundle's own profile, which every tier starts from.
        seed: of tier 2's order of pairs, and of tier 3's batches.
        tell: called with each rung as soon as it is judged.
    """
    held, fit = held_out(list(sample.cameras))
    fitted = sample.take(fit) if gate else sample
    rows = np.concatenate([held, fit])
    pool = sample.take(rows)
    shown = views(sample.crops[held]) if gate else sample.crops[:0]
    ranking = Ranking(rows, len(held), pool.identities, pool.cameras, len(shown))
    raw: dict[str, Pool] = {}

    def seen(profile: Profile) -> Pool:
        """The crops as a profile compares them; those of equal tables are embedded once."""
        if profile.tables_id not in raw:
            vectors = tools.embed(profile, pool.crops, pool.cameras)
            other = tools.embed(profile, shown, pool.cameras[: len(shown)])
            raw[profile.tables_id] = Pool(vectors, other, pool.cameras)
        embedded = raw[profile.tables_id]
        return Pool(
            profile.compare(embedded.vectors, pool.cameras),
            profile.compare(embedded.views, pool.cameras[: len(shown)]),
            pool.cameras,
        )

    def embedded(profile: Profile) -> np.ndarray:
        """The crops to fit to, as embedded with the tables of a profile."""
        if gate:
            seen(profile)
            return raw[profile.tables_id].vectors[len(held) :]
        return tools.embed(profile, fitted.crops, fitted.cameras)

    best, best_tiers, rungs = base, "none", []
    seen_last: Pool | None = None
    names = rungs_of(wanted)
    for number, tiers in enumerate(names):
        began = time.perf_counter()
        refused = out_of_reach(tiers, pool.identities, pool.cameras) if gate else None
        if refused is not None:
            rungs.append(Rung(tiers, best_tiers, refused, 0.0))
            tell(rungs[-1])
            continue
        progress(number / len(names), f"trying tier {tiers}")
        named, profile = tiers.split("+"), base
        if "2" in named:
            profile = tools.bnta(fitted.crops, fitted.cameras, seed)
        if "3" in named:
            profile = tools.groups(fitted.crops, fitted.cameras, seed)
        if "1" in named:
            profile = tools.statistics(profile, fitted.crops, fitted.cameras, embedded(base))
        if "0" in named:
            profile = profile.with_centres(fit_centres(embedded(profile), fitted.cameras))
        verdict = not_judged()
        if gate:
            progress((number + 0.8) / len(names), f"judging tier {tiers}")
            seen_last = seen(profile)
            verdict = judge(tiers, seen(best), seen_last, fitted.cameras, pool.identities)
            ranking.add(tiers, seen(base), seen_last)
        rungs.append(Rung(tiers, best_tiers, verdict, round(time.perf_counter() - began, 3)))
        tell(rungs[-1])
        if verdict.accepted:
            best, best_tiers = profile, tiers
    compared = None
    if seen_last is not None:
        unadapted = seen(base).vectors
        compared = overview(unadapted, unadapted, seen_last.vectors, pool.cameras)
    return Climbed(best, best_tiers, rungs, compared, ranking.result())
