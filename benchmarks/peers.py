"""Our losses, networks, samplers and metrics beside published code, on the same random inputs in float64.

python -m benchmarks.peers --torchreid FOLDER --fastreid FOLDER

Each FOLDER holds the package of that name, unpacked: `pip download --no-deps torchreid==0.2.5
fastreid==1.4.0` fetches both, and nothing of them is installed or copied. Only single files are loaded from
them, without the packages' own imports. Printed are the largest differences. Expected to differ: weighted
triplets by the 1e-6 that fastreid adds to its weights' sum (features are small here, where it counts least),
label smoothing and what follows by their float32. Samplers draw by generators of their own, so below stand
their statistics over ten epochs. What no package has, `benchmarks/peer_parts.py` says.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.peer_parts import (
    biased_classifier,
    converted_ibn,
    euclidean_ranking,
    sampler_rows,
    shared_mgn,
)
from reid.models.agw import GeM, NonLocal
from reid.models.norms import InstanceBatchNorm
from reid.ranking import rank_scores
from reid.reranking import rerank
from training.losses import batch_hard_triplet, weighted_triplet


def borrow(folder: Path, module: str) -> Any:
    """One module of a package in `folder`, whose parent packages are not run."""
    if not (folder / module.split(".")[0]).is_dir():
        sys.exit(f"{folder} does not hold {module.split('.')[0]}/")
    parents = module.split(".")[:-1]
    for depth in range(1, len(parents) + 1):
        parent = types.ModuleType(".".join(parents[:depth]))
        parent.__path__ = [str(folder.joinpath(*parents[:depth]))]
        sys.modules.setdefault(parent.__name__, parent)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both warn that their Cython is missing
        return importlib.import_module(module)


def losses(
    ours: Callable[[Tensor], Tensor], theirs: Callable[[Tensor], Tensor], shape: tuple[int, ...]
) -> float:
    """Largest difference of values and gradients over twenty inputs."""
    worst = 0.0
    for seed in range(20):
        results = []
        for loss in (ours, theirs):
            x = torch.randn(
                shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
            ).requires_grad_(True)
            value = loss(x)
            value.backward()
            assert x.grad is not None
            results.append(torch.cat([value.detach().reshape(1), x.grad.flatten()]))
        worst = max(worst, float((results[0] - results[1]).abs().max()))
    return worst


def layers(ours: nn.Module, theirs: nn.Module, pairs: dict[str, str]) -> float:
    """Largest difference of outputs and input gradients in train mode, with the same parameters."""
    ours, theirs = ours.double().train(), theirs.double().train()
    theirs.load_state_dict(
        {theirs_name: ours.state_dict()[name] for theirs_name, name in pairs.items()}, strict=False
    )
    return losses(lambda x: ours(x).square().sum(), lambda x: theirs(x).square().sum(), (4, 8, 6, 3))


def rankings(evaluate: Callable[..., Any], rank: int) -> float:
    """Largest difference of mAP and CMC over twenty random galleries with distractors."""
    worst = 0.0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scores = rng.random((40, 300), np.float32)
        labels = (
            rng.integers(1, 12, 40),
            rng.integers(0, 12, 300),
            rng.integers(0, 4, 40),
            rng.integers(0, 4, 300),
        )
        mine = rank_scores(scores, *labels, depth=rank)
        theirs = evaluate(-scores, *labels, rank)
        cmc, mean = np.asarray(theirs[0]), float(np.mean(theirs[1]))
        worst = max(worst, float(np.abs(mine.cmc - cmc).max()), abs(mine.mean_ap - mean))
    return worst


def reranked(their: Callable[..., np.ndarray]) -> float:
    """Largest difference of re-ranked distances over five random galleries of clusters."""
    worst = 0.0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(12, 16))[rng.integers(0, 12, 160)] + 0.6 * rng.normal(size=(160, 16))
        x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
        q, g = x[:20], x[20:]
        # both square these distances
        distances = [np.sqrt(np.maximum(2 - 2 * a @ b.T, 0)) for a, b in ((q, g), (q, q), (g, g))]
        worst = max(worst, float(np.abs(rerank(q, g) - their(*distances)).max()))
    return worst


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--torchreid", type=Path, required=True)
    parser.add_argument("--fastreid", type=Path, required=True)
    options = parser.parse_args()
    labels, classes = torch.arange(8).repeat_interleave(4), torch.arange(12) % 5
    hard = borrow(options.torchreid, "torchreid.reid.losses.hard_mine_triplet_loss").TripletLoss(0.3)
    smooth = borrow(options.torchreid, "torchreid.reid.losses.cross_entropy_loss").CrossEntropyLoss(
        5, use_gpu=False
    )
    triplet = borrow(options.fastreid, "fastreid.modeling.losses.triplet_loss").triplet_loss
    pool, norm = (borrow(options.fastreid, f"fastreid.layers.{name}") for name in ("pooling", "batch_norm"))
    attention = borrow(options.fastreid, "fastreid.layers.non_local")
    ours = nn.CrossEntropyLoss(label_smoothing=0.1)
    narrow = NonLocal(8)
    narrow.theta, narrow.phi, narrow.g = (nn.Conv2d(8, 1, 1) for _ in range(3))  # their inner width
    narrow.out[0] = nn.Conv2d(1, 8, 1)
    scale = narrow.out[1]
    assert isinstance(scale, nn.BatchNorm2d)
    nn.init.ones_(scale.weight)  # it starts as the identity
    same = {
        f"{name}.{kind}": f"{name}.{kind}" for name in ("theta", "phi", "g") for kind in ("weight", "bias")
    }
    same |= {f"W.{i}.{kind}": f"out.{i}.{kind}" for i in (0, 1) for kind in ("weight", "bias")}
    halves = {
        "IN.weight": "instance.weight",
        "IN.bias": "instance.bias",
        "BN.weight": "batch.weight",
        "BN.bias": "batch.bias",
    }
    market = "eval_market1501"
    rows = {
        "batch-hard triplet, torchreid": losses(
            lambda x: batch_hard_triplet(x, labels), lambda x: hard(x, labels), (32, 64)
        ),
        "batch-hard triplet, fastreid": losses(
            lambda x: batch_hard_triplet(x, labels), lambda x: triplet(x, labels, 0.3, False, True), (32, 64)
        ),
        "weighted triplet, fastreid": losses(
            lambda x: weighted_triplet(x / 16, labels),
            lambda x: triplet(x / 16, labels, 0.0, False, False),
            (32, 64),
        ),
        "label smoothing, torchreid": losses(
            lambda x: ours(x, classes), lambda x: smooth(x, classes), (12, 5)
        ),
        "generalised mean, fastreid": layers(GeM(), pool.GeneralizedMeanPoolingP(3), {}),
        "IBN, fastreid": layers(InstanceBatchNorm(8), norm.IBN(8, "BN"), halves),
        "non-local, fastreid": layers(narrow, attention.Non_local(8, "BN"), same),
        "CMC and mAP, torchreid": rankings(
            getattr(borrow(options.torchreid, "torchreid.reid.metrics.rank"), market), 20
        ),
        "CMC and mAP, fastreid": rankings(
            getattr(borrow(options.fastreid, "fastreid.evaluation.rank"), market), 20
        ),
        "k-reciprocal (float32), torchreid": reranked(
            borrow(options.torchreid, "torchreid.reid.utils.rerank").re_ranking
        ),
        "k-reciprocal (float32), fastreid": reranked(
            borrow(options.fastreid, "fastreid.evaluation.rerank").re_ranking
        ),
    }
    torchreid, fastreid = (
        functools.partial(borrow, folder) for folder in (options.torchreid, options.fastreid)
    )
    plain, mirrored = shared_mgn(fastreid)
    rows |= {
        "classifier with bias, torchreid": biased_classifier(torchreid),
        "IBN-Net, converted, torchreid": converted_ibn(torchreid),
        "MGN, shared reduction, fastreid": plain,
        "the same, mirrored (float32)": mirrored,
        "Euclidean f_t, torchreid": euclidean_ranking(torchreid),
    }
    for name, difference in rows.items():
        print(f"{name:36} {difference:.1e}")
    print(f"\n{'sampler':24} batches  crops seen  repeated  positives of other cameras")
    for name, row in sampler_rows(torchreid, fastreid).items():
        print(
            f"{name:24} {row.batches:7.1f} {100 * row.crops:9.1f} % {100 * row.repeated:7.1f} % "
            f"{100 * row.other_cameras:24.1f} %"
        )


if __name__ == "__main__":
    main()
