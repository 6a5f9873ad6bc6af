"""How often the gate is wrong: episodes of adaptation whose truth is known.

python -m benchmarks.gate collect BUNDLE --worlds FOLDER... [--market1501 ROOT] --out episodes.jsonl
python -m benchmarks.gate fit benchmarks/recorded/gate.jsonl.gz
python -m benchmarks.gate report benchmarks/recorded/gate.jsonl.gz

An episode is a site, a stream of crops that it enrolled (`benchmarks/streams.py`) and a tier on top of
another. Its truth is the change of mAP of the site's test people, whom the gate does not see. `fit` fits
the weights that ship (`reid/adaptation/gate.json`) to all sites and estimates errors by leaving sites out;
`report` prints what stands there. Runs resume; with --shard i/n, n processes share the work.

Error rates are those of signals alone, at each site with weights fitted to sites without any of its cameras
and with the threshold that the other sites would have set. A tier whose signals accept more than _RELIABLE
harmful ones in this way ships without a threshold: only labels accept it. What clear labels accept is counted
apart. Rungs of one site are not independent, so the upper bounds are somewhat too low.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import zlib
from collections.abc import Collection, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import beta

from benchmarks.sites import (
    Crops,
    Judge,
    Subject,
    TestSite,
    add_options,
    device,
    market_site,
    measured,
    rendered_sites,
)
from benchmarks.streams import STREAMS, without_duplicates
from reid.adaptation import gate
from reid.adaptation.bnta import AdaptationError
from reid.adaptation.centring import fit_centres
from reid.adaptation.gate import RANGE, Weights
from reid.adaptation.labels import labelled_gain
from reid.adaptation.sampling import MIN_CROPS, held_out
from reid.adaptation.signals import Pool, signals, views
from reid.bundle import Bundle
from reid.profile import Profile

COUNTS = (16, 32, 64, 128)  # crops a camera
WEIGHTS = Path(gate.__file__).with_name("gate.json")
HARM = 0.5  # mAP points that count as harm, or as help
_CLIP = 6.0  # points; a greater change is no more interesting
_RIDGE = 30.0
_RELIABLE = 0.02  # share of harm in what a tier's signals accept at sites left out
_MOST_HARMFUL = 0.02  # of the accepted
_FEWEST_ACCEPTED = 20
# (tier, what the rung is, what lies below)
RUNGS = (
    ("0", "0", "none"),
    ("1", "1", "none"),
    ("1", "1+0", "0"),
    ("2", "2", "none"),
    ("2", "2+0", "0"),
    ("3", "3+0", "0"),
    ("3", "3+1+0", "1+0"),
)
TIERS = ("0", "1", "2", "3")


@dataclasses.dataclass
class Spaces:
    """The profiles of one episode, and its crops as each compares them."""

    subject: Subject
    fit: Crops
    pool: Crops
    views: Crops
    profiles: dict[str, Profile]
    raw: dict[str, tuple[np.ndarray, np.ndarray]]

    @classmethod
    def of(cls, subject: Subject, stream: Crops) -> Spaces:
        """Splits a stream into crops to fit to and crops to judge by."""
        held, fit = held_out(list(stream.cameras))
        judged = stream.take(held)
        shown = dataclasses.replace(judged, pixels=views(judged.pixels))
        return cls(subject, stream.take(fit), stream.take(np.concatenate([held, fit])), shown, {}, {})

    def profile(self, tiers: str) -> Profile:
        """Of a combination like "1+0"."""
        if tiers not in self.profiles:
            if tiers == "0" or tiers.endswith("+0"):
                below = self.profile(tiers[:-2] or "none")
                vectors = self._raw(below)[0][len(self.views) :]
                self.profiles[tiers] = below.with_centres(fit_centres(vectors, list(self.fit.cameras)))
            elif tiers.endswith("+1"):
                embedded = self._raw(self.profile("none"))[0][len(self.views) :]
                source = self.profile(tiers[:-2])
                self.profiles[tiers] = self.subject.statistics(source, self.fit, embedded)
            else:
                self.profiles[tiers] = self.subject.adapted(tiers, self.fit)
        return self.profiles[tiers]

    def seen(self, profile: Profile) -> Pool:
        """The crops as a profile compares them."""
        vectors, shown = self._raw(profile)
        cameras = list(self.pool.cameras)
        return Pool(
            profile.compare(vectors, cameras),
            profile.compare(shown, cameras[: len(shown)]),
            cameras,
        )

    def _raw(self, profile: Profile) -> tuple[np.ndarray, np.ndarray]:
        if profile.tables_id not in self.raw:
            embed = self.subject.embed
            self.raw[profile.tables_id] = (embed(profile, self.pool), embed(profile, self.views))
        return self.raw[profile.tables_id]


def episodes(judge: Judge, stream: str, count: int, judged: Collection[str]) -> Iterator[dict[str, Any]]:
    """The rungs of one stream whose tier is to be judged, with signals and truth."""
    subject, site = judge.subject, judge.site
    key = f"{site.name}/{stream}/{count}"
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    crops = without_duplicates(STREAMS[stream](site, count, rng))
    spaces = Spaces.of(subject, crops)
    if len(spaces.fit) < MIN_CROPS:  # which the ladder declines without judging
        return
    truth: dict[str, float] = {}
    rungs = [rung for rung in RUNGS if rung[0] in judged]
    if "3" in judged:
        try:
            spaces.profile("3")
        except AdaptationError:  # no two groups: the ladder refuses the tier without judging
            rungs = [rung for rung in rungs if rung[0] != "3"]
    for tiers in sorted({name for _, *names in rungs for name in names}, key=lambda name: name.strip("+0")):
        truth[tiers] = 100 * judge.score(spaces.profile(tiers)).mean_ap
    for tier, tiers, below in rungs:
        before, after = spaces.seen(spaces.profile(below)), spaces.seen(spaces.profile(tiers))
        labels = labelled_gain(
            before.vectors, after.vectors, [str(pid) for pid in spaces.pool.pids], before.cameras
        )
        yield {
            "bundle": subject.bundle.manifest.name,
            "site": site.name,
            "stream": stream,
            "count": count,
            "crops": len(crops),
            "tier": tier,
            "rung": tiers,
            "below": below,
            "before": truth[below],
            "gain": truth[tiers] - truth[below],
            "signals": signals(before, after, list(spaces.fit.cameras)),
            "labels": dataclasses.asdict(labels) if labels is not None else None,
        }


def collect(options: argparse.Namespace) -> None:
    """Writes what is missing of the episodes of every site."""
    subject = Subject(Bundle.load(options.bundle), device(), options.threads)
    done = measured(options.out, "site", "stream", "count")
    part, parts = (int(number) for number in options.shard.split("/"))
    for number, site in enumerate(_sites(options, subject)):
        if number % parts != part:
            continue
        judge = Judge(subject, site)
        for stream in STREAMS:
            for count in COUNTS if stream in options.every_count else (64,):
                if (site.name, stream, count) in done:
                    continue
                rows = list(episodes(judge, stream, count, options.tiers))
                with options.out.open("a") as file:
                    file.write("".join(json.dumps(row) + "\n" for row in rows))
                gains = "  ".join(f"{row['rung']} {row['gain']:+.1f}" for row in rows)
                print(site.name, stream, count, gains, flush=True)


def _sites(options: argparse.Namespace, subject: Subject) -> Iterator[TestSite]:
    yield from rendered_sites(options.worlds, subject.size)
    if options.market1501 is not None:
        whole = market_site(options.market1501, subject.size, options.most_gallery, options.most_queries)
        cameras = sorted(set(whole.gallery.cameras))
        for size in (2, 3):
            for chosen in list(combinations(cameras, size))[:: 2 if size == 2 else 3]:
                yield whole.only(chosen)


def fit(options: argparse.Namespace) -> None:
    """Fits weights and thresholds, measures the gate's errors and writes reid/adaptation/gate.json.

    Every site is predicted by weights that were fitted to sites without any of its cameras; thresholds and
    error rates come from these predictions, the shipped weights from all sites.
    """
    rows = _read(options.rows)
    tiers, rates = {}, {}
    for tier in TIERS:
        chosen = [row for row in rows if row["tier"] == tier]
        if not chosen:
            continue
        predicted = _cross_fitted(chosen)
        gains = np.array([row["gain"] for row in chosen])
        threshold = _threshold(predicted, gains)
        verdicts = _cross_judged(chosen, predicted, gains)
        harmful_by_signals = float((gains[verdicts] <= -HARM).mean()) if verdicts.any() else 1.0
        if harmful_by_signals > _RELIABLE:
            threshold, verdicts = None, np.zeros(len(chosen), bool)
        weights = _fitted(chosen)
        weights |= {
            "spread": float(np.std(np.clip(gains, -_CLIP, _CLIP) - predicted)),
            "threshold": threshold,
        }
        tiers[tier] = {k: _rounded(v) for k, v in weights.items()}
        rates[tier] = _rates(verdicts, gains)
        rates[tier] |= {"sites": len({row["site"] for row in chosen})}
        rates[tier] |= {"signals_harmful": round(harmful_by_signals, 4)} | _label_rates(chosen, predicted)
    file = {
        "command": "python -m benchmarks.gate fit",
        "tiers": tiers,
        "error_rates": rates,
    }
    WEIGHTS.write_text(json.dumps(file, indent=1) + "\n")
    report(options)


def report(options: argparse.Namespace) -> None:
    """Prints Markdown: error rates of the shipped gate, each signal's correlation with the truth, gains."""
    rows = _read(options.rows)
    file = json.loads(WEIGHTS.read_text())
    heads = ("sites", "judged", "harmful", "accepted", "of these harmful (95 % upper bound)", "helpful kept")
    labels = "clear labels accepted | of these harmful"
    print(f"| tier | {' | '.join(heads)} | threshold | harmful at sites left out, by signals | {labels} |")
    print("|" + " --- |" * 11)
    for tier, rate in file["error_rates"].items():
        threshold = file["tiers"][tier]["threshold"]
        cells = (
            tier,
            rate["sites"],
            rate["judged"],
            rate["harmful"],
            rate["accepted"],
            f"{100 * rate['accepted_harmful']:.1f} % ({100 * rate['accepted_harmful_upper']:.1f} %)",
            f"{100 * rate['helpful_kept']:.0f} %",
            "none" if threshold is None else threshold,
            f"{100 * rate['signals_harmful']:.1f} %",
            rate["labels_accepted"],
            f"{100 * rate['labels_accepted_harmful']:.1f} % "
            f"({100 * rate['labels_accepted_harmful_upper']:.1f} %)",
        )
        print(f"| {' | '.join(str(cell) for cell in cells)} |")
    measured_tiers = [tier for tier in TIERS if tier in file["tiers"]]
    print(f"\n| signal | {' | '.join(measured_tiers)} |\n|{' --- |' * (1 + len(measured_tiers))}")
    for name in rows[0]["signals"]:
        correlations = [_correlation(rows, tier, name) for tier in measured_tiers]
        print(f"| {name} | {' | '.join(correlations)} |")
    print("\n| stream | rung | episodes | mean gain | worst | best |\n| --- | --- | --- | --- | --- | --- |")
    for stream in STREAMS:
        for rung in ("0", "1", "1+0", "2", "3+0", "3+1+0"):
            gains = [row["gain"] for row in rows if row["stream"] == stream and row["rung"] == rung]
            if gains:
                mean, worst, best = np.mean(gains), min(gains), max(gains)
                print(f"| {stream} | {rung} | {len(gains)} | {mean:+.1f} | {worst:+.1f} | {best:+.1f} |")


def _correlation(rows: list[dict[str, Any]], tier: str, signal: str) -> str:
    chosen = [row for row in rows if row["tier"] == tier]
    values = np.array([row["signals"][signal] for row in chosen])
    gains = np.array([row["gain"] for row in chosen])
    return "" if values.std() < 1e-9 else f"{np.corrcoef(values, gains)[0, 1]:+.2f}"


def _read(paths: list[Path]) -> list[dict[str, Any]]:
    rows = []
    for path in paths:
        data = path.read_bytes()
        text = gzip.decompress(data) if path.suffix == ".gz" else data
        rows += [json.loads(line) for line in text.splitlines()]
    return rows


def _cameras(row: dict[str, Any]) -> set[str]:
    """What two sites may have in common: cameras of Market-1501; a rendered site has only itself."""
    name, _, cameras = row["site"].partition(" ")
    return set(cameras.split("+")) if cameras else {name}


def _cross_fitted(rows: list[dict[str, Any]]) -> np.ndarray:
    """float64 [N]: predictions by weights that were fitted to sites without any camera of the row's site."""
    predicted = np.empty(len(rows))
    for site in {row["site"] for row in rows}:
        judged = [number for number, row in enumerate(rows) if row["site"] == site]
        own = _cameras(rows[judged[0]])
        others = [row for row in rows if not _cameras(row) & own]
        w = Weights.of(_fitted(others) | {"spread": 0.0, "threshold": None})
        predicted[judged] = [w.predict(rows[number]["signals"]) for number in judged]
    return predicted


def _fitted(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Ridge regression of the gain on the signals and their squares."""
    names = sorted(rows[0]["signals"])
    table = np.array([[row["signals"][name] for name in names] for row in rows])
    gains = np.clip([row["gain"] for row in rows], -_CLIP, _CLIP)
    mean, deviation = table.mean(0), table.std(0) + 1e-6
    z = np.clip((table - mean) / deviation, -RANGE, RANGE)
    design = np.hstack([z, z * z, np.ones((len(z), 1))])
    ridge = _RIDGE * np.eye(design.shape[1])
    ridge[-1, -1] = 0
    solved = np.linalg.solve(design.T @ design + ridge, design.T @ gains)
    count = len(names)
    return {
        "names": names,
        "mean": mean,
        "deviation": deviation,
        "linear": solved[:count],
        "square": solved[count:-1],
        "bias": float(solved[-1]),
    }


def _threshold(predicted: np.ndarray, gains: np.ndarray) -> float | None:
    """The lowest prediction, in tenths, above which at most _MOST_HARMFUL of the accepted harm; None where
    there is none that accepts anything worth it."""
    for threshold in np.arange(0.1, 4, 0.1):
        accepted = predicted >= threshold
        if accepted.sum() >= _FEWEST_ACCEPTED and (gains[accepted] <= -HARM).mean() <= _MOST_HARMFUL:
            return round(float(threshold), 1)
    return None


def _cross_judged(rows: list[dict[str, Any]], predicted: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """bool [N]: what signals alone accept, at each site with a threshold that was set at the other sites."""
    verdicts = np.zeros(len(rows), bool)
    sites = np.array([row["site"] for row in rows])
    for site in np.unique(sites):
        judged = sites == site
        threshold = _threshold(predicted[~judged], gains[~judged])
        if threshold is not None:
            verdicts[judged] = predicted[judged] >= threshold
    return verdicts


def _rates(accepted: np.ndarray, gains: np.ndarray) -> dict[str, float]:
    harmful, helpful = gains <= -HARM, gains >= HARM
    wrong = int((accepted & harmful).sum())
    count = int(accepted.sum())
    return {
        "judged": len(gains),
        "harmful": int(harmful.sum()),
        "accepted": count,
        "accepted_harmful": round(wrong / max(1, count), 4),
        "accepted_harmful_upper": round(_upper_bound(wrong, count), 4),
        "helpful_kept": round(float((accepted & helpful).sum() / max(1, helpful.sum())), 4),
    }


def _label_rates(rows: list[dict[str, Any]], predicted: np.ndarray) -> dict[str, float]:
    """Of what clear labels accept: the signals must not speak against it."""
    clear = []
    for row, prediction in zip(rows, predicted, strict=True):
        if row["labels"] is not None and row["labels"]["low"] > 0 and prediction >= 0:
            clear.append(row["gain"])
    wrong = sum(gain <= -HARM for gain in clear)
    return {
        "labels_accepted": len(clear),
        "labels_accepted_harmful": round(wrong / max(1, len(clear)), 4),
        "labels_accepted_harmful_upper": round(_upper_bound(wrong, len(clear)), 4),
    }


def _upper_bound(wrong: int, count: int) -> float:
    """The upper end of the one-sided 95 % interval of Clopper and Pearson."""
    return float(beta.ppf(0.95, wrong + 1, count - wrong)) if count > wrong else 1.0


def _rounded(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [float(f"{number:.5g}") for number in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True)
    collecting = verbs.add_parser("collect")
    add_options(collecting, most_gallery=4000)
    collecting.add_argument("--every-count", nargs="*", default=["ordinary", "other people at each camera"])
    collecting.add_argument("--most-queries", type=int, default=5000, help="of Market-1501")
    collecting.add_argument("--tiers", nargs="*", default=TIERS[:3], choices=TIERS)
    collecting.set_defaults(run=collect)
    for verb, function in (("fit", fit), ("report", report)):
        reading = verbs.add_parser(verb)
        reading.add_argument("rows", type=Path, nargs="+")
        reading.set_defaults(run=function)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
