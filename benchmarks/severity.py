"""What adaptation gains at sites of six severities, with the same people.

python -m benchmarks.severity BUNDLE --data FOLDER --plot severity.png
python -m benchmarks.severity BUNDLE --data ROOT --target market1501

BUNDLE has self-supervised heads and has not been trained on these worlds, which are rendered under FOLDER.
Every way is a tier as the server computes it, without its gate: it sees the crops of other people of the same
site, without labels; the scores are those of the site's test people. `--target` compares the same ways on
another dataset.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.sites import Judge, Subject, TestSite, device
from reid.bundle import Bundle
from training.data import read_dataset
from training.data.records import Dataset
from training.synthetic.world import World, render

SEED = 9001  # of these worlds; training uses small numbers


# what the plot calls a way -> tiers of `Subject.adapted`
WAYS = {
    "none": "none",
    "per-camera centring": "0",
    "BN statistics, pooled": "pooled",
    "BN statistics, per camera": "1",
    "BNTA": "2",
}


def ways(subject: Subject, name: str, dataset: Dataset) -> dict[str, float]:
    """mAP, percent, of each way to adapt to a dataset's training crops."""
    judge = Judge(subject, TestSite.read(name, dataset, subject.size, max(1, len(dataset.gallery))))
    profiles = {way: subject.adapted(tiers, judge.site.train) for way, tiers in WAYS.items()}
    return {way: 100 * judge.score(profile).mean_ap for way, profile in profiles.items()}


def plot(rows: dict[str, list[list[float]]], path: Path) -> None:
    """mAP against severity, one line for each way; the band is one standard deviation over the sites."""
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, values in rows.items():
        table = np.array(values)
        axes.plot(range(len(table)), table.mean(1), marker="o", label=name)
        axes.fill_between(
            range(len(table)), table.mean(1) - table.std(1), table.mean(1) + table.std(1), alpha=0.12
        )
    axes.set(xlabel="severity of the site", ylabel="mAP (%)", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--target", help="a dataset with training crops, instead of the rendered severities")
    parser.add_argument("--sites", type=int, default=3)
    parser.add_argument("--identities", type=int, default=100)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    subject = Subject(Bundle.load(options.bundle), device())
    if options.target:
        scores = ways(subject, options.target, read_dataset(options.target, options.data))
        print("  ".join(f"{name} {value:.1f}" for name, value in scores.items()))
        return
    rows: dict[str, list[list[float]]] = {}
    for severity in range(6):
        world = World(options.identities, options.sites, 4, 3, SEED, float(severity))
        render(world, options.data / f"severity-{severity}")
        by_site = [
            ways(subject, f"site-{n}", read_dataset(f"world:site-{n}", options.data / f"severity-{severity}"))
            for n in range(options.sites)
        ]
        for name in by_site[0]:
            rows.setdefault(name, []).append([scores[name] for scores in by_site])
        print(
            severity,
            "  ".join(f"{n} {np.mean(v[-1]):.1f} ± {np.std(v[-1]):.1f}" for n, v in rows.items()),
            flush=True,
        )
    if options.json:
        options.json.write_text(
            json.dumps(
                {"bundle": subject.bundle.manifest.name, "mAP by way, severity and site": rows}, indent=1
            )
        )
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
