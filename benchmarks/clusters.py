"""Clusters of crops without a name beside scikit-learn's clustering of the same vectors.

python -m benchmarks.clusters BUNDLE --market1501 ROOT --worlds WORLD [WORLD ...] --cache FOLDER

All crops of some people are grouped, then of others. Pairwise precision: how many of the pairs that stand
in one cluster show one person; recall: how many pairs of one person stand in one cluster; F1 of both, and
V-measure. `centred`: each camera's mean embedding is subtracted first, as tier 0 of an adaptation does. The
settings of each method but HDBSCAN, which has none, were chosen at rendered sites and, ours alone, also at
Market-1501's training half; of Market-1501 only the test half is looked at here. FOLDER is that of
`benchmarks.answers`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.cluster import DBSCAN, HDBSCAN, AgglomerativeClustering
from sklearn.metrics import v_measure_score

from benchmarks.answers import Embedded, command_of, market, rendered
from reid.adaptation.centring import fit_centres
from reid.bundle import Bundle
from reid.clusters import clusters_of

PEOPLE, CHOICES = 250, 3
FLOOR = 0.6  # about what the card of the shipped demo model leads to
REACH, LINKAGE = 0.3, 0.5  # cosine distances, the best of those tried at rendered sites
Method = Callable[[np.ndarray], np.ndarray]
METHODS: dict[str, Method] = {
    "ours": lambda vectors: clusters_of(vectors, FLOOR),
    "DBSCAN": lambda vectors: DBSCAN(eps=REACH, min_samples=2, metric="precomputed").fit_predict(
        _distances(vectors)
    ),
    "average linkage": lambda vectors: AgglomerativeClustering(
        None, metric="precomputed", linkage="average", distance_threshold=LINKAGE
    ).fit_predict(_distances(vectors)),
    "HDBSCAN": lambda vectors: HDBSCAN(min_cluster_size=2, metric="precomputed", copy=True).fit_predict(
        _distances(vectors)
    ),
}


def _distances(vectors: np.ndarray) -> np.ndarray:
    return np.clip(1 - vectors @ vectors.T, 0, 2).astype(np.float64)


def scores(clusters: np.ndarray, people: np.ndarray) -> tuple[float, float, float, float]:
    """Pairwise precision, recall and F1, and V-measure, in percent. A crop in cluster -1 stands alone."""
    alone = clusters < 0
    clusters = np.where(alone, clusters.max(initial=0) + 1 + np.cumsum(alone), clusters)
    both = np.unique(np.stack([clusters, people]), axis=1, return_counts=True)[1]
    right = _pairs(both)
    precision = right / max(1, _pairs(np.unique(clusters, return_counts=True)[1]))
    recall = right / max(1, _pairs(np.unique(people, return_counts=True)[1]))
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)
    return 100 * precision, 100 * recall, 100 * f1, 100 * float(v_measure_score(people, clusters))


def _pairs(counts: np.ndarray) -> int:
    return int((counts * (counts - 1) // 2).sum())


def measure(name: str, crops: Embedded) -> None:
    """Prints a site's rows."""
    people = np.unique(crops.pids)
    for space in ("as embedded", "centred"):
        results: dict[str, list[tuple[float, float, float, float]]] = {method: [] for method in METHODS}
        for choice in range(CHOICES):
            chosen = np.random.default_rng(choice).permutation(people)[:PEOPLE]
            rows = np.flatnonzero(np.isin(crops.pids, chosen))
            vectors = crops.vectors[rows]
            if space == "centred":
                cameras = [str(camera) for camera in crops.cameras[rows]]
                vectors = fit_centres(vectors, cameras).compare(vectors, cameras)
            for method, cluster in METHODS.items():
                results[method].append(scores(cluster(vectors), crops.pids[rows]))
        for method, each in results.items():
            cells = [f"{np.mean(values):.0f}" for values in zip(*each, strict=True)]
            print(f"| {name} | {space} | {method} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """The command."""
    options = command_of(__doc__).parse_args()
    bundle = Bundle.load(options.bundle)
    print("| site | vectors | method | precision | recall | F1 | V-measure |")
    print("|" + " --- |" * 7)
    if options.worlds:
        measure("rendered", rendered(options.worlds, bundle, options.cache))
    if options.market1501 is not None:
        measure("Market-1501", market(options.market1501, bundle, options.cache))


if __name__ == "__main__":
    main()
