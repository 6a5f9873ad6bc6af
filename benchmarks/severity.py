"""What adaptation gains at sites of six severities, with the same people.

python -m benchmarks.severity MODEL --data FOLDER --plot severity.png
python -m benchmarks.severity MODEL --data ROOT --target market1501

MODEL is a run or bundle with self-supervised heads that has not been trained on these worlds, which are
rendered under FOLDER. Every way to adapt sees the crops of other people of the same site, without labels; the
scores are those of the site's test people. `--target` compares the same ways on another dataset.
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


def with_statistics_of(network: Embedder, crops: np.ndarray) -> Embedder:
    """A copy with the BatchNorm statistics of the crops (AdaBN)."""
    adapted = copy.deepcopy(network).eval()
    for layer in batchnorm_layers(adapted).values():
        layer.reset_running_stats()
        layer.momentum = None  # cumulative
        layer.train()
    # a last batch of a single crop has no variance
    run_crops(PixelEmbedder(adapted), crops[:-1] if len(crops) % BATCH == 1 else crops)
    return adapted.eval()


def centred(embedded: Embedded) -> Embedded:
    """The embeddings with every camera's mean removed."""
    _, _, query_cams, gallery_cams = embedded.labels
    vectors = np.concatenate([embedded.query, embedded.gallery])
    cams = np.concatenate([query_cams, gallery_cams])
    for camera in np.unique(cams):
        vectors[cams == camera] -= vectors[cams == camera].mean(0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    count = len(embedded.query)
    return embedded._replace(query=vectors[:count], gallery=vectors[count:])


def per_camera(network: Embedder, dataset: Dataset, size: tuple[int, int], crops: np.ndarray) -> Embedded:
    """Each camera's crops embedded with that camera's BatchNorm statistics."""
    records = [*dataset.query, *dataset.gallery]
    train_cams = np.array([r.camid for r in dataset.train])
    cams = np.array([r.camid for r in records])
    embeddings = np.zeros((len(records), network.spec.dim), np.float32)
    for camera in np.unique(cams):
        embed = CropRunner(with_statistics_of(network, crops[train_cams == camera])).embed
        rows = np.flatnonzero(cams == camera)
        embeddings[rows] = embed_records(embed, [records[i] for i in rows], size)
    return labelled(dataset, embeddings)


def ways(network: Embedder, dataset: Dataset) -> dict[str, float]:
    """mAP, percent, of each way to adapt."""
    size = (network.spec.height, network.spec.width)
    crops = load_crops(dataset.train, *size)
    results = {"none": embed_dataset(CropRunner(network).embed, dataset, size)}
    results["per-camera centring"] = centred(results["none"])
    results["BN statistics, pooled"] = embed_dataset(
        CropRunner(with_statistics_of(network, crops)).embed, dataset, size
    )
    results["BN statistics, per camera"] = per_camera(network, dataset, size, crops)
    adapted = copy.deepcopy(network)
    adapt(adapted, crops)
    results["BNTA"] = embed_dataset(CropRunner(adapted).embed, dataset, size)
    return {name: 100 * score(embedded).mean_ap for name, embedded in results.items()}


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
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--target", help="a dataset with training crops, instead of the rendered severities")
    parser.add_argument("--sites", type=int, default=3)
    parser.add_argument("--identities", type=int, default=100)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    network = open_network(options.model)
    if options.target:
        scores = ways(network, read_dataset(options.target, options.data))
        print("  ".join(f"{name} {value:.1f}" for name, value in scores.items()))
        return
    rows: dict[str, list[list[float]]] = {}
    for severity in range(6):
        world = World(options.identities, options.sites, 4, 3, SEED, float(severity))
        render(world, options.data / f"severity-{severity}")
        by_site = [
            ways(network, read_dataset(f"world:site-{n}", options.data / f"severity-{severity}"))
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
            json.dumps({"model": options.model.name, "mAP by way, severity and site": rows}, indent=1)
        )
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
