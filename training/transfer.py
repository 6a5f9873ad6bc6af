"""Multi-step transfer (PTL's Table V): each run starts from the weights of the run before."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from training.data import read_training
from training.data.records import Dataset
from training.loop import Run
from training.recipe import Recipe


def train_in_order(
    recipe: Recipe, root: Path, out: Path, report: Callable[[Dataset], None] = lambda _: None
) -> None:
    """Trains on the recipe's dataset, or on several in order.

    `A>B>C` trains on A in `out/step-1`, from there on B in `out/step-2`, and from there on C in `out`. An
    interrupted run resumes in its step. `report` is called with every dataset before the first is trained on.
    Raises DatasetError, RecipeError, CheckpointError, TrainingError.
    """
    names = recipe.dataset.split(">")
    datasets = []
    for name in names:
        dataset = read_training(name, root, recipe.split, recipe.pattern, recipe.selection())
        report(dataset)
        datasets.append(dataset)
    for number, (name, dataset) in enumerate(zip(names, datasets, strict=True), 1):
        folder = out if number == len(datasets) else out / f"step-{number}"
        Run(dataclasses.replace(recipe, dataset=name), dataset, folder).fit()
        recipe = dataclasses.replace(recipe, start=str(folder))
