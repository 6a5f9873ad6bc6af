"""Scoring a ranking of Market-1501's size, beside sorting it and beside the matrix product of its scores.

python -m benchmarks.ranking
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from reid.ranking import rank_scores


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
    print(f"the matrix product takes {product:.2f} s, {product / ours:.1f} times as long as scoring")


if __name__ == "__main__":
    main()
