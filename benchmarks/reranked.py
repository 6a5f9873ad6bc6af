"""What `rerank` of a query is worth: mAP and rank-1 of Market-1501's queries with and without it.

python -m benchmarks.reranked BUNDLE --market1501 ROOT --cache FOLDER

The 200 nearest crops of each query, without those of its own camera and person as the data set's rules have
it, are ranked as a query of a server ranks them; everything behind them keeps its place.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.answers import Embedded, market
from reid.bundle import Bundle
from reid.nearest_reranking import rerank_nearest

_NEAREST = 200


def average_precision(right: np.ndarray) -> float:
    """bool [N], in order -> the mean precision at each right place."""
    places = np.flatnonzero(right)
    return float(np.mean(np.arange(1, len(places) + 1) / (places + 1)))


def measured(crops: Embedded, nearest: int) -> np.ndarray:
    """float64 [2,2]: mAP and rank-1 without and with re-ranking, in percent."""
    gallery = ~crops.query
    vectors, pids, cameras = crops.vectors[gallery], crops.pids[gallery], crops.cameras[gallery]
    rows = []
    for vector, pid, camera in zip(
        crops.vectors[crops.query], crops.pids[crops.query], crops.cameras[crops.query], strict=True
    ):
        others = np.flatnonzero(~((pids == pid) & (cameras == camera)))
        if not (pids[others] == pid).any():
            continue
        plain = others[np.argsort(-(vectors[others] @ vector), kind="stable")]
        first = plain[:nearest]
        order = np.argsort(rerank_nearest(vector, vectors[first]), kind="stable")
        reranked = np.concatenate([first[order], plain[nearest:]])
        rows.append([(average_precision(pids[o] == pid), pids[o[0]] == pid) for o in (plain, reranked)])
    return 100 * np.array(rows, np.float64).mean(axis=0)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--market1501", type=Path, required=True, help="the data set's folder")
    parser.add_argument("--cache", type=Path, required=True, help="where embeddings are kept between runs")
    options = parser.parse_args()
    crops = market(options.market1501, Bundle.load(options.bundle), options.cache)
    print("| ranking | mAP | rank-1 |\n| --- | --- | --- |")
    for name, (precision, first) in zip(("plain", "rerank"), measured(crops, _NEAREST), strict=True):
        print(f"| {name} | {precision:.2f} | {first:.2f} |")


if __name__ == "__main__":
    main()
