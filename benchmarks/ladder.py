"""What each tier of adaptation gains, alone and on top of others, by crops a camera.

python -m benchmarks.ladder run BUNDLE --out ladder.jsonl --market1501 ROOT [--worlds FOLDER...] [--whole]
python -m benchmarks.ladder table ladder.jsonl...

Every site is adapted to random crops of its training people and judged by its test people, five seeds of
crops each; 5,000 gallery crops at most unless --whole. The cameras of Market-1501 are also sites of their
own, two at a time. `auto` is the ladder with its gate, as the server climbs it. Runs resume; --shard i/n
shares the work.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np

from benchmarks.sites import (
    Crops,
    Judge,
    Subject,
    SubjectTools,
    TestSite,
    add_options,
    device,
    market_site,
    measured,
    rendered_sites,
)
from benchmarks.streams import without_duplicates
from reid.adaptation.ladder import Sample, climb
from reid.bundle import Bundle
from reid.profile import Profile

COUNTS = (16, 32, 64, 128, 512)  # crops a camera
TIERS = ("none", "0", "pooled", "1", "1+0", "2", "2+0", "2+1", "2+1+0", "3", "3+0", "3+1+0", "auto")
VARIANTS = ("2 across", "2 across+0", "2 x5", "2 x5+0", "2 across x5", "2 across x5+0", "2 across x5+1+0")
SEEDS = 5


def run(options: argparse.Namespace) -> None:
    """Measures what is missing."""
    subject = Subject(Bundle.load(options.bundle), device(), options.threads)
    done = measured(options.out, "site", "tiers", "count", "seed")
    part, parts = (int(number) for number in options.shard.split("/"))
    number = 0
    for site in _sites(options, subject):
        judge = Judge(subject, site)
        for count in options.counts:
            for seed in range(options.seeds):
                number += 1
                if number % parts != part:
                    continue
                tiers = [name for name in options.tiers if (site.name, name, count, seed) not in done]
                if not tiers:
                    continue
                crops = without_duplicates(site.sample(count, seed))
                for name in tiers:
                    began = time.perf_counter()
                    profile, reasons = adapted(subject, name, crops)
                    seconds = time.perf_counter() - began
                    known, unknown = judge.score(profile), judge.score(profile, query_cameras=False)
                    row = {
                        "bundle": subject.bundle.manifest.name,
                        "site": site.name,
                        "tiers": name,
                        "count": count,
                        "seed": seed,
                        "crops": len(crops),
                        "mAP": 100 * known.mean_ap,
                        "rank1": 100 * known.rank(1),
                        "mAP_without_camera": 100 * unknown.mean_ap,
                        "rank1_without_camera": 100 * unknown.rank(1),
                        "seconds": seconds,
                        "reasons": reasons,
                    }
                    with options.out.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                    print(site.name, name, count, seed, f"{row['mAP']:.2f}", flush=True)


def adapted(subject: Subject, tiers: str, crops: Crops) -> tuple[Profile, list[str]]:
    """The profile of a combination, and for `auto` what the gate said of each rung."""
    if tiers != "auto":
        return subject.adapted(tiers, crops), []
    sample = Sample(crops.pixels, list(crops.cameras), [None] * len(crops))
    climbed = climb("auto", True, subject.base, sample, SubjectTools(subject), lambda share, stage: None)
    return climbed.profile, [f"{rung.tiers}: {rung.verdict.reason}" for rung in climbed.rungs]


def _sites(options: argparse.Namespace, subject: Subject) -> Iterator[TestSite]:
    if options.market1501 is not None:
        most = 10**9 if options.whole else options.most_gallery
        site = market_site(options.market1501, subject.size, most)
        yield site
        if not options.whole:
            for chosen in list(combinations(sorted(set(site.gallery.cameras)), 2))[::3]:
                yield site.only(chosen)
    yield from rendered_sites(options.worlds, subject.size)


def table(options: argparse.Namespace) -> None:
    """Prints Markdown: mAP (rank-1) by site group, tiers and crops a camera, mean ± std over seeds and
    sites."""
    groups: dict[tuple[str, str, int], list[dict[str, float]]] = defaultdict(list)
    for path in options.rows:
        for line in path.read_text().splitlines():
            row = json.loads(line)
            group = row["site"].split("/")[0].split(" ")[0]
            pair = " pairs" if " " in row["site"] else ""
            groups[group + pair, row["tiers"], row["count"]].append(row)
    counts = sorted({count for _, _, count in groups})
    for group in sorted({name for name, _, _ in groups}):
        print(
            f"\n| {group} | " + " | ".join(f"{count} crops a camera" for count in counts) + " | no camera |"
        )
        print("| --- |" + " --- |" * (len(counts) + 1))
        for tiers in (*TIERS, *VARIANTS):
            cells = []
            unknown = []
            for count in counts:
                rows = groups.get((group, tiers, count), [])
                cells.append(_cell(rows))
                unknown += [row["mAP_without_camera"] - row["mAP"] for row in rows]
            if any(cells):
                lost = f"{np.mean(unknown):+.1f}" if unknown else ""
                print(f"| {tiers} | " + " | ".join(cells) + f" | {lost} |")


def _cell(rows: list[dict[str, float]]) -> str:
    if not rows:
        return ""
    by_seed = defaultdict(list)
    for row in rows:
        by_seed[row["seed"]].append((row["mAP"], row["rank1"]))
    means = np.array([np.mean(values, axis=0) for values in by_seed.values()])
    return f"{means[:, 0].mean():.1f} ± {means[:, 0].std():.1f} ({means[:, 1].mean():.1f})"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True)
    running = verbs.add_parser("run")
    add_options(running, most_gallery=5000)
    running.add_argument("--whole", action="store_true", help="the whole gallery of Market-1501")
    running.add_argument("--counts", type=int, nargs="*", default=list(COUNTS))
    running.add_argument("--tiers", nargs="*", default=list(TIERS), choices=(*TIERS, *VARIANTS))
    running.add_argument("--seeds", type=int, default=SEEDS)
    running.set_defaults(run=run)
    printing = verbs.add_parser("table")
    printing.add_argument("rows", type=Path, nargs="+")
    printing.set_defaults(run=table)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
