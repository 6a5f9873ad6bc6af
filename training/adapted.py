"""Evaluation of an adapted network, as BNTA's paper does it: each split's own test crops, then back.

The crops are those of the split's gallery, without labels. A split starts from the network as it was trained.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from reid.adaptation.bnta import Bnta, Report, adapt
from reid.batches import Progress
from reid.engines import Device
from reid.engines.pytorch import compute_in_float32, torch_device
from reid.images import CropSize
from reid.models.build import Embedder
from training.data.loader import load_crops
from training.data.records import Dataset
from training.evaluate import Embed, Embedded, embed_dataset, open_network
from training.features import DEPLOYED, Features, feature_runner
from training.recipe import typed


class Adapting(NamedTuple):
    """How a network is adapted before it is scored."""

    bnta: Bnta = Bnta()
    crops: int = 0  # N of the paper: so many gallery crops, drawn by the seed; 0 for all


def read_adapting(settings: list[str]) -> Adapting:
    """`matching=0.5` and the like: fields of `Bnta`, and `crops`. Raises ValueError for anything else."""
    values = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"--adapt-set {setting}: a setting must look like max_pairs=64")
        values[key] = yaml.safe_load(text)
    crops = values.pop("crops", 0)
    if not isinstance(crops, int) or crops < 0:
        raise ValueError(f"--adapt-set crops={crops}: give a number of gallery crops, 0 for all")
    return Adapting(typed(Bnta, values, "--adapt-set"), crops)


class AdaptedNetwork:
    """A network that is adapted to one split after another.

    Args:
        source: a run, a checkpoint or a bundle, with BNTA's heads. It is read once and never written.
    """

    def __init__(self, source: Path, device: Device = "auto", features: Features = DEPLOYED) -> None:
        self.trained: Embedder = open_network(source)
        self.device, self.features = torch_device(device), features
        compute_in_float32()
        spec = self.trained.spec
        self.size = CropSize(spec.height, spec.width, spec.interpolation)

    def embed(
        self, dataset: Dataset, adapting: Adapting, progress: Progress | None = None
    ) -> tuple[Embedded, Report]:
        """The split's query and gallery after `adapt`, and what that did."""
        embed, report = self.adapt(dataset, adapting)
        return embed_dataset(embed, dataset, self.size, progress), report

    def adapt(self, dataset: Dataset, adapting: Adapting) -> tuple[Embed, Report]:
        """A copy of the network adapted to the split's gallery crops, as what embeds, and what that did.

        Raises AdaptationError for a network without heads or too few crops.
        """
        rows = np.arange(len(dataset.gallery))
        if adapting.crops:
            rng = np.random.default_rng(adapting.bnta.seed)
            rows = np.sort(rng.permutation(len(rows))[: adapting.crops])
        crops = load_crops([dataset.gallery[row] for row in rows], *self.size)
        network = copy.deepcopy(self.trained).to(self.device)
        report = adapt(network, crops, adapting.bnta)
        return feature_runner(network, self.device, self.features), report
