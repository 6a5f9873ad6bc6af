"""Scoring a ranking of Market-1501's size, beside sorting it and beside the matrix product of its scores.

python -m benchmarks.ranking
python -m benchmarks.ranking --torchreid FOLDER --fastreid FOLDER

Each FOLDER holds the package of that name, unpacked as for `benchmarks.peers`. Their scoring in Python is
slow, so it gets some of the queries.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.peers import borrow
from reid.ranking import rank_scores

PEERS = {"torchreid": "torchreid.reid.metrics.rank", "fastreid": "fastreid.evaluation.rank"}


def seconds(work: Callable[[], object], rounds: int = 3) -> float:
    """The least of several rounds, in seconds."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queries", type=int, default=3_368)
    parser.add_argument("--gallery", type=int, default=15_913)
    parser.add_argument("--dim", type=int, default=2_048)
    for name in PEERS:
        parser.add_argument(f"--{name}", type=Path, help="the folder with that package, unpacked")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    query = rng.standard_normal((arguments.queries, arguments.dim), np.float32)
    gallery = rng.standard_normal((arguments.gallery, arguments.dim), np.float32)
    labels = [rng.integers(0, limit, n) for limit in (751, 6) for n in (arguments.queries, arguments.gallery)]
    scores = query @ gallery.T
    rank_scores(scores[:8], labels[0][:8], labels[1], labels[2][:8], labels[3])  # compiles
    ours = seconds(lambda: rank_scores(scores, *labels))
    product = seconds(lambda: query @ gallery.T)
    sample = max(1, arguments.queries // 16)
    sorting = seconds(lambda: np.argsort(-scores[:sample], axis=1)) * arguments.queries / sample
    print(f"{arguments.queries} queries, {arguments.gallery} gallery items, {arguments.dim} values")
    print(
        f"scoring {ours:.2f} s: {sorting / ours:.1f} times as fast as sorting every ranking ({sorting:.2f} "
        f"s, from {sample} queries)"
    )
    for name, module in PEERS.items():
        folder = getattr(arguments, name)
        if folder is not None:
            evaluate = borrow(folder, module).eval_market1501
            distances = -scores[:sample]
            some = [labels[0][:sample], labels[1], labels[2][:sample], labels[3]]
            scored = functools.partial(evaluate, distances, *some, 50)
            theirs = seconds(scored, 1) * arguments.queries / sample
            print(f"{name}'s evaluation takes {theirs:.1f} s, {theirs / ours:.0f} times as long as scoring")
    print(f"the matrix product takes {product:.2f} s, {product / ours:.1f} times as long as scoring")


if __name__ == "__main__":
    main()
