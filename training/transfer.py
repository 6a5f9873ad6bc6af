"""Multi-step transfer (PTL's Table V): each run starts from the weights of the run before."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from training.data import read_dataset
from training.loop import Run
from training.recipe import Recipe


def train_in_order(recipe: Recipe, root: Path, out: Path) -> None:
    """Trains on the recipe's dataset, or on several in order.

    `A>B>C` trains on A in `out/step-1`, from there on B in `out/step-2`, and from there on C in `out`. An
    interrupted run resumes in its step. Raises DatasetError, RecipeError, CheckpointError, TrainingError.
    """
    datasets = [
        read_dataset(name, root, recipe.split, recipe.all_images) for name in recipe.dataset.split(">")
    ]
    for number, (name, dataset) in enumerate(zip(recipe.dataset.split(">"), datasets, strict=True), 1):
        folder = out if number == len(datasets) else out / f"step-{number}"
        Run(dataclasses.replace(recipe, dataset=name), dataset, folder).fit()
        recipe = dataclasses.replace(recipe, start=str(folder))
