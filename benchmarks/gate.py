"""How often the gate is wrong: episodes of adaptation whose truth is known.

python -m benchmarks.gate collect BUNDLE --worlds FOLDER... [--market1501 ROOT] --out episodes.jsonl
python -m benchmarks.gate fit episodes.jsonl...
python -m benchmarks.gate report episodes.jsonl...

An episode is a site, a stream of crops that it enrolled (`benchmarks/streams.py`) and a tier on top of
another. Its truth is the change of mAP of the site's test people, whom the gate does not see. `fit` fits
the weights that ship (`reid/adaptation/gate.json`) to every other site; `report` judges the rest. Runs
resume; with --shard i/n, n processes share the work.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import zlib
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.sites import Crops, Judge, Subject, TestSite, device
from benchmarks.streams import STREAMS, without_duplicates
from reid.adaptation.centring import fit_centres
from reid.adaptation.labels import labelled_gain
from reid.adaptation.sampling import MIN_CROPS, held_out
from reid.adaptation.signals import Pool, signals, views
from reid.bundle import Bundle
from reid.profile import Profile
from training.data import read_dataset

COUNTS = (16, 32, 64, 128)  # crops a camera
# (tier, what the rung is, what lies below)
RUNGS = (
    ("0", "0", "none"),
    ("1", "1", "none"),
    ("1", "1+0", "0"),
    ("2", "2", "none"),
    ("2", "2+0", "0"),
)


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


def episodes(judge: Judge, stream: str, count: int) -> Iterator[dict[str, Any]]:
    """The rungs of one stream with signals and truth."""
    subject, site = judge.subject, judge.site
    key = f"{site.name}/{stream}/{count}"
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    crops = without_duplicates(STREAMS[stream](site, count, rng))
    spaces = Spaces.of(subject, crops)
    if len(spaces.fit) < MIN_CROPS:  # which the ladder declines without judging
        return
    truth: dict[str, float] = {}
    for tiers in sorted({name for _, *names in RUNGS for name in names}, key=lambda name: name.strip("+0")):
        truth[tiers] = 100 * judge.score(spaces.profile(tiers)).mean_ap
    for tier, tiers, below in RUNGS:
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
    done = set()
    if options.out.exists():
        for line in options.out.read_text().splitlines():
            row = json.loads(line)
            done.add((row["site"], row["stream"], row["count"]))
    part, parts = (int(number) for number in options.shard.split("/"))
    for number, site in enumerate(_sites(options, subject)):
        if number % parts != part:
            continue
        judge = Judge(subject, site)
        for stream in STREAMS:
            for count in COUNTS if stream in options.every_count else (64,):
                if (site.name, stream, count) in done:
                    continue
                rows = list(episodes(judge, stream, count))
                with options.out.open("a") as file:
                    file.write("".join(json.dumps(row) + "\n" for row in rows))
                gains = "  ".join(f"{row['rung']} {row['gain']:+.1f}" for row in rows)
                print(site.name, stream, count, gains, flush=True)


def _sites(options: argparse.Namespace, subject: Subject) -> Iterator[TestSite]:
    for folder in options.worlds:
        for path in sorted(folder.glob("site-*")):
            dataset = read_dataset(f"world:{path.name}", folder)
            yield TestSite.read(f"{folder.name}/{path.name}", dataset, subject.size)
    if options.market1501 is not None:
        whole = TestSite.read(
            "market1501", read_dataset("market1501", options.market1501), subject.size, options.most_gallery
        )
        cameras = sorted(set(whole.gallery.cameras))
        for size in (2, 3):
            for chosen in list(combinations(cameras, size))[:: 2 if size == 2 else 3]:
                yield whole.only(chosen)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True)
    collecting = verbs.add_parser("collect")
    collecting.add_argument("bundle", type=Path)
    collecting.add_argument("--worlds", type=Path, nargs="*", default=[])
    collecting.add_argument("--market1501", type=Path)
    collecting.add_argument("--most-gallery", type=int, default=4000)
    collecting.add_argument("--out", type=Path, required=True)
    collecting.add_argument("--shard", default="0/1")
    collecting.add_argument("--threads", type=int, default=0, help="of the CPU; 0 for one a core")
    collecting.add_argument("--every-count", nargs="*", default=["ordinary", "other people at each camera"])
    collecting.set_defaults(run=collect)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
