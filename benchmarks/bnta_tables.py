"""Tables 3, 4, 5 and Figure 4 of BNTA, of one trained network each.

python -m benchmarks.bnta_tables losses|layers|values|samples RUN --dataset grid --data ROOT [--splits 10]

losses: a row of Table 3, a training's losses (one RUN each) with every choice of losses at test time.
layers: Table 4. values: Table 5. samples: Figure 4, crops N and pairs K with the seconds that both take.
Each row is the mean over the splits; before every split the network is as it was trained.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import time
from pathlib import Path

from reid.adaptation.bnta import AdaptationError, Bnta
from reid.checkpoint import CheckpointError
from reid.engines import EngineError
from training.adapted import AdaptedNetwork, Adapting
from training.data import read_dataset
from training.data.records import Dataset, DatasetError
from training.data.selection import judged_crops
from training.evaluate import embed_dataset, percentages, score
from training.features import feature_runner

NOTHING = "none"
ROWS: dict[str, dict[str, Bnta]] = {
    "losses": {
        "L_pos": Bnta(matching=0.0),
        "L_mat": Bnta(position=0.0),
        "L_pos, L_mat": Bnta(),
    },
    "layers": {
        "conv": Bnta(layers=("conv",)),
        "in": Bnta(layers=("in",)),
        "conv, in": Bnta(layers=("conv", "in")),
        "bn": Bnta(),
        "bn, conv": Bnta(layers=("bn", "conv")),
        "bn, in": Bnta(layers=("bn", "in")),
        "bn, conv, in": Bnta(layers=("bn", "conv", "in")),
    },
    "values": {
        "mean": Bnta(values=("mean",)),
        "variance": Bnta(values=("variance",)),
        "mean, variance": Bnta(values=("mean", "variance")),
        "gamma": Bnta(values=("gamma",)),
        "beta": Bnta(values=("beta",)),
        "gamma, beta": Bnta(values=("gamma", "beta")),
        "all": Bnta(),
    },
}


def rows_of(what: str, crops: list[int], pairs: list[int]) -> dict[str, Adapting]:
    """The adaptations of a table by the name of their row; K pairs need 2 K crops."""
    if what != "samples":
        return {name: Adapting(bnta) for name, bnta in ROWS[what].items()}
    chosen = [(n, k) for n in crops for k in pairs if 2 * k <= n]
    return {f"N {n}, K {k}": Adapting(Bnta(max_pairs=k), n) for n, k in chosen}


def measure(network: AdaptedNetwork, splits: list[Dataset], adapting: Adapting | None) -> dict[str, float]:
    """mAP and rank-1 in percent, the mean over the splits, and the seconds of adapting to one."""
    scores, seconds = [], []
    for split in splits:
        if adapting is None:
            embed = feature_runner(network.trained, network.device)
        else:
            began = time.perf_counter()
            embed, _ = network.adapt(split, adapting)
            seconds.append(time.perf_counter() - began)
        scores.append(percentages(score(embed_dataset(embed, split, network.size))))
    means = {name: round(statistics.mean(s[name] for s in scores), 2) for name in ("mAP", "rank-1")}
    return means | ({"seconds": round(statistics.mean(seconds), 1)} if seconds else {})


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=[*ROWS, "samples"])
    parser.add_argument("run", type=Path)
    parser.add_argument("--dataset", default="grid")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--crops", type=int, nargs="+", default=[300, 600, 900], help="N of samples")
    parser.add_argument("--pairs", type=int, nargs="+", default=[32, 64, 128, 256], help="K of samples")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--out", type=Path, help="also write the rows here, as JSON")
    options = parser.parse_args()
    try:
        splits = [
            judged_crops(read_dataset(options.dataset, options.data, split), False)
            for split in range(options.splits)
        ]
        network = AdaptedNetwork(options.run, options.device)
    except (DatasetError, CheckpointError, EngineError) as error:
        sys.exit(f"bnta_tables: {error}")
    results = []
    chosen: dict[str, Adapting | None] = {NOTHING: None}
    chosen |= rows_of(options.what, options.crops, options.pairs)
    for name, adapting in chosen.items():
        try:
            row = measure(network, splits, adapting)
        except AdaptationError as error:
            sys.exit(f"bnta_tables: {name}: {error}")
        settings = dataclasses.asdict(adapting.bnta) if adapting else {}
        results.append({"row": name, **row, "settings": settings})
        print(f"{name:16} " + "  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
