"""How often a run's own classifier is wrong: PTL's Table VII. Retrieval has no use for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from reid.checkpoint import CheckpointError
from reid.engines import Device
from reid.engines.pytorch import compute_in_float32, torch_device
from training.checkpoint import load_checkpoint, under
from training.data.records import Dataset
from training.evaluate import embed_records, open_embedder
from training.features import Features
from training.methods import method_of
from training.recipe import recipe_from_dict


def load_classifier(run: Path, classes: int) -> nn.Module:
    """The classifier of a run, in eval mode: features [B,D], not at unit length -> logits [B,classes].

    Raises CheckpointError for a run without a classifier of whole features, and for one of other classes.
    """
    checkpoint = load_checkpoint(run)
    recipe = recipe_from_dict(checkpoint.meta["recipe"], str(run))
    state = under("method/classifier.", checkpoint.tensors)
    if not state:
        raise CheckpointError(f"{run} has no classifier: the method {recipe.method} trains without one")
    if checkpoint.meta["identities"] != [classes]:
        raise CheckpointError(
            f"{run} was trained on {checkpoint.meta['identities']} classes, the data has {classes}"
        )
    classifier = method_of(recipe).make_classifier(recipe, classes).eval()
    if isinstance(classifier, nn.ModuleList):
        raise CheckpointError(f"{run} classifies each of several features, and no image as a whole")
    classifier.load_state_dict(state)
    return classifier


def error_rate(run: Path, dataset: Dataset, device: Device = "auto") -> tuple[float, int]:
    """Share of the query images whose class the classifier of a run gets wrong, and how many they are.

    Raises CheckpointError as `load_classifier`.
    """
    classes = sorted({record.pid for record in dataset.train})
    place = torch_device(device)
    classifier = load_classifier(run, len(classes)).to(place)
    embed, size, _ = open_embedder(run, device, features=Features(unit=False))
    compute_in_float32()

    def predict(crops: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            logits = classifier(torch.from_numpy(embed(crops)).to(place))
            return logits.argmax(1).cpu().numpy()

    predicted = embed_records(predict, dataset.query, size)
    right = np.array([classes.index(record.pid) for record in dataset.query])
    return float((predicted != right).mean()), len(right)
