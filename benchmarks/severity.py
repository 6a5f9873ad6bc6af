"""What adaptation to a site gains, against how far the site is from neutral: the same people, six severities.

python -m benchmarks.severity MODEL --data FOLDER --plot severity.png
python -m benchmarks.severity MODEL --data ROOT --target market1501       the same ways at another dataset

MODEL is a run or bundle with self-supervised heads that has not seen these worlds. Worlds are rendered under
FOLDER. Every way of adapting sees the crops of other people of the same site, without labels; the scores are
those of the site's test people.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from reid.adaptation.bnta import adapt
from reid.batches import BATCH
from reid.models.build import Embedder, PixelEmbedder, batchnorm_layers
from reid.models.runner import CropRunner, run_crops
from training.data import read_dataset
from training.data.loader import load_crops
from training.data.records import Dataset
from training.evaluate import (
    Embedded,
    embed_dataset,
    embed_records,
    labelled,
    open_network,
    score,
)
from training.synthetic.world import World, render

SEED = 9001  # of these worlds; training uses small numbers


def restatted(network: Embedder, crops: np.ndarray) -> Embedder:
    """A copy whose BatchNorm statistics are those of the crops (AdaBN)."""
    found = copy.deepcopy(network).eval()
    for layer in batchnorm_layers(found).values():
        layer.reset_running_stats()
        layer.momentum = None  # cumulative
        layer.train()
    # a last batch of a single crop has no variance
    run_crops(PixelEmbedder(found), crops[:-1] if len(crops) % BATCH == 1 else crops)
    return found.eval()


def centred(found: Embedded) -> Embedded:
    """Every camera's mean embedding removed."""
    _, _, query_cams, gallery_cams = found.labels
    everything, cams = (
        np.concatenate([found.query, found.gallery]),
        np.concatenate([query_cams, gallery_cams]),
    )
    for camera in np.unique(cams):
        everything[cams == camera] -= everything[cams == camera].mean(0)
    everything /= np.linalg.norm(everything, axis=1, keepdims=True)
    return found._replace(query=everything[: len(found.query)], gallery=everything[len(found.query) :])


def per_camera(network: Embedder, dataset: Dataset, size: tuple[int, int], crops: np.ndarray) -> Embedded:
    """Each camera's crops seen with that camera's own BatchNorm statistics."""
    everything = [*dataset.query, *dataset.gallery]
    learned, asked = (np.array([r.camid for r in records]) for records in (dataset.train, everything))
    found = np.zeros((len(everything), network.spec.dim), np.float32)
    for camera in np.unique(asked):
        embed = CropRunner(restatted(network, crops[learned == camera])).embed
        rows = np.flatnonzero(asked == camera)
        found[rows] = embed_records(embed, [everything[i] for i in rows], size)
    return labelled(dataset, found)


def ways(network: Embedder, dataset: Dataset) -> dict[str, float]:
    """mAP, percent, of each way to adapt."""
    size = (network.spec.height, network.spec.width)
    crops = load_crops(dataset.train, *size)
    found = {"none": embed_dataset(CropRunner(network).embed, dataset, size)}
    found["per-camera centring"] = centred(found["none"])
    found["BN statistics, pooled"] = embed_dataset(CropRunner(restatted(network, crops)).embed, dataset, size)
    found["BN statistics, per camera"] = per_camera(network, dataset, size, crops)
    adapted = copy.deepcopy(network)
    adapt(adapted, crops)
    found["BNTA"] = embed_dataset(CropRunner(adapted).embed, dataset, size)
    return {name: 100 * score(embedded).mean_ap for name, embedded in found.items()}


def plot(rows: dict[str, list[list[float]]], path: Path) -> None:
    """mAP over severity, a line a way; the band is one standard deviation over the sites."""
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
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--target", help="a dataset with crops to learn from, instead of the rendered severities"
    )
    parser.add_argument("--sites", type=int, default=3)
    parser.add_argument("--identities", type=int, default=100)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    network = open_network(given.model)
    if given.target:
        print(
            "  ".join(
                f"{name} {value:.1f}"
                for name, value in ways(network, read_dataset(given.target, given.data)).items()
            )
        )
        return
    rows: dict[str, list[list[float]]] = {}
    for severity in range(6):
        world = World(given.identities, given.sites, 4, 3, SEED, float(severity))
        render(world, given.data / f"severity-{severity}")
        found = [
            ways(network, read_dataset(f"world:site-{n}", given.data / f"severity-{severity}"))
            for n in range(given.sites)
        ]
        for name in found[0]:
            rows.setdefault(name, []).append([f[name] for f in found])
        print(
            severity,
            "  ".join(f"{n} {np.mean(v[-1]):.1f} ± {np.std(v[-1]):.1f}" for n, v in rows.items()),
            flush=True,
        )
    if given.json:
        given.json.write_text(
            json.dumps({"model": given.model.name, "mAP by way, severity and site": rows}, indent=1)
        )
    if given.plot:
        plot(rows, given.plot)


if __name__ == "__main__":
    main()
