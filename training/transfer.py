"""Datasets in order: each run begins where the one before ended (multi-step transfer, PTL's Table V)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from training.data import read_dataset
from training.loop import Run
from training.recipe import Recipe


def train_in_order(recipe: Recipe, root: Path, out: Path) -> None:
    """Trains on `dataset`; of `A>B>C` on A in `out/step-1`, from there on B in `out/step-2`, and from there
    on C in `out`.

    A run that was interrupted goes on in the step where it was. Raises DatasetError, RecipeError,
    CheckpointError, TrainingError.
    """
    datasets = [
        read_dataset(name, root, recipe.split, recipe.all_images) for name in recipe.dataset.split(">")
    ]
    for number, (name, dataset) in enumerate(zip(recipe.dataset.split(">"), datasets, strict=True), 1):
        folder = out if number == len(datasets) else out / f"step-{number}"
        Run(dataclasses.replace(recipe, dataset=name), dataset, folder).fit()
        recipe = dataclasses.replace(recipe, start=str(folder))
