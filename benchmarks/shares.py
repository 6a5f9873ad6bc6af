"""How far tier 1 should go from the model's own BatchNorm statistics, and in which layers.

python -m benchmarks.shares BUNDLE --worlds FOLDER... --market1501 ROOT --out shares.jsonl
python -m benchmarks.shares --table shares.jsonl...

Every site is adapted to random crops of half of its people and judged by the others: rendered worlds, and
cameras of Market-1501's training part, two at a time, which no figure of the documentation is taken from.
Each variant of tier 1 takes the same fitted statistics; tier 0 is fitted on top of each. Printed is the
change of mAP against tier 0 alone. Runs resume; --shard i/n shares the work.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from benchmarks.sites import Crops, Judge, Subject, TestSite, device, measured, rendered_sites
from benchmarks.streams import without_duplicates
from reid.adaptation.statistics import fit_statistics
from reid.bundle import Bundle
from reid.profile import Profile, mix_tables
from training.data import read_dataset

COUNTS = (32, 128)  # crops a camera
# name -> (share of the way, share of the layers that stay the source's, from the first on)
VARIANTS = {
    "whole": (1.0, 0.0),
    "1/2": (0.5, 0.0),
    "0.3": (0.3, 0.0),
    "0.2": (0.2, 0.0),
    "0.1": (0.1, 0.0),
    "last two thirds": (1.0, 1 / 3),
    "1/2, last two thirds": (0.5, 1 / 3),
    "1/2, last third": (0.5, 2 / 3),
}


def variant(profile: Profile, source: Profile, layers: Sequence[str], name: str) -> Profile:
    """A fitted profile, moved back toward the source as a variant says."""
    share, kept = VARIANTS[name]
    first = set(layers[: round(kept * len(layers))])

    def table(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        mixed = mix_tables(values, source.site, share)
        return {layer: source.site[layer] if layer in first else row for layer, row in mixed.items()}

    cameras = {camera: table(dict(values)) for camera, values in profile.cameras.items()}
    return Profile(source.base, table(dict(profile.site)), cameras, source.eps)


def run(options: argparse.Namespace) -> None:
    """Measures what is missing."""
    subject = Subject(Bundle.load(options.bundle), device(), options.threads)
    done = measured(options.out, "site", "count", "seed", "variant")
    part, parts = (int(number) for number in options.shard.split("/"))
    for number, site in enumerate(_sites(options, subject)):
        if number % parts != part:
            continue
        judge = Judge(subject, site)
        for count in COUNTS:
            for seed in range(options.seeds):
                missing = [name for name in VARIANTS if (site.name, count, seed, name) not in done]
                if missing:
                    _measure(judge, count, seed, missing, options.out)


def _measure(judge: Judge, count: int, seed: int, names: list[str], out: Path) -> None:
    subject, site = judge.subject, judge.site
    crops = without_duplicates(site.sample(count, seed))
    embedded = subject.embed(subject.base, crops)
    cameras = list(crops.cameras)
    below = judge.score(subject.centred(subject.base, crops)).mean_ap
    fitted = fit_statistics(subject.base_statistics, subject.base, crops.pixels, cameras, embedded, share=1.0)
    for name in names:
        profile = variant(fitted, subject.base, subject.base_statistics.layers, name)
        gain = 100 * (judge.score(subject.centred(profile, crops)).mean_ap - below)
        row = {"site": site.name, "count": count, "seed": seed, "variant": name}
        with out.open("a") as file:
            file.write(json.dumps(row | {"below": 100 * below, "gain": gain}) + "\n")
        print(*row.values(), f"{gain:+.2f}", flush=True)


def _sites(options: argparse.Namespace, subject: Subject) -> Iterator[TestSite]:
    yield from rendered_sites(options.worlds, subject.size)
    if options.market1501 is not None:
        train = Crops.read(list(read_dataset("market1501", options.market1501).train), subject.size)
        whole = _halves("market1501 train", train)
        for chosen in list(combinations(sorted(set(train.cameras)), 2))[::2]:
            yield whole.only(chosen)


def _halves(name: str, crops: Crops) -> TestSite:
    """Half of the people to adapt to; of each of the others one query a camera, and the rest as gallery."""
    people = np.unique(crops.pids)
    fitted = np.isin(crops.pids, people[::2])
    rng = np.random.default_rng(0)
    queries: list[int] = []
    gallery: list[int] = []
    seen: dict[tuple[int, str], int] = defaultdict(int)
    for row in rng.permutation(np.flatnonzero(~fitted)):
        key = (int(crops.pids[row]), str(crops.cameras[row]))
        seen[key] += 1
        if seen[key] == 1:
            queries.append(int(row))
        elif seen[key] <= 4:
            gallery.append(int(row))
    return TestSite(
        name, crops.take(np.flatnonzero(fitted)), crops.take(np.array(queries)), crops.take(np.array(gallery))
    )


def table(paths: list[Path]) -> None:
    """Prints Markdown: change of mAP against tier 0, mean over sites and seeds, and the worst."""
    groups: dict[tuple[str, int, str], list[float]] = defaultdict(list)
    for path in paths:
        for line in path.read_text().splitlines():
            row = json.loads(line)
            kind = "Market-1501, training part" if row["site"].startswith("market1501") else "rendered"
            groups[kind, row["count"], row["variant"]].append(row["gain"])
    columns = sorted({(kind, count) for kind, count, _ in groups})
    print("| tier 1, then 0 | " + " | ".join(f"{kind}, {count} crops" for kind, count in columns) + " |")
    print("| --- |" + " --- |" * len(columns))
    for name in VARIANTS:
        cells = []
        for column in columns:
            gains = groups.get((*column, name), [])
            cells.append(f"{np.mean(gains):+.2f} (worst {min(gains):+.1f})" if gains else "")
        print(f"| {name} | " + " | ".join(cells) + " |")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path, nargs="?")
    parser.add_argument("--worlds", type=Path, nargs="*", default=[])
    parser.add_argument("--market1501", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--shard", default="0/1")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; 0 for one a core")
    parser.add_argument("--table", type=Path, nargs="+", help="print what was measured")
    options = parser.parse_args()
    if options.table:
        table(options.table)
    elif options.bundle is None or options.out is None:
        parser.error("name a bundle and --out, or --table")
    else:
        run(options)


if __name__ == "__main__":
    main()
