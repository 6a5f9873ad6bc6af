"""Multi-step transfer (PTL's Table V): each run starts from the weights of the run before."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from reid.checkpoint import FILE
from reid.engines import Device
from training.checkpoint import load_checkpoint
from training.data import read_training
from training.data.records import Dataset
from training.loop import Run
from training.recipe import Recipe, recipe_from_dict
from training.start import require_start
from training.validation import named_validation


def train_in_order(
    recipe: Recipe,
    root: Path,
    out: Path,
    report: Callable[[Dataset], None] = lambda _: None,
    device: Device = "auto",
) -> None:
    """Trains on the recipe's dataset, or on several in order.

    `A>B>C` trains on A in `out/step-1`, from there on B in `out/step-2`, and from there on C in `out`. An
    interrupted run resumes in its step; more epochs are for the step that it stands in, and those after it.
    `report` is called with every dataset before the first is trained on.
    Raises DatasetError, RecipeError, CheckpointError, EngineError, TrainingError.
    """
    require_start(recipe, out)
    names = recipe.dataset.split(">")
    datasets = []
    for name in names:
        dataset = read_training(name, root, recipe.split, recipe.pattern, recipe.selection())
        report(dataset)
        datasets.append(dataset)
    validation = named_validation(recipe, root)
    folders = [*(out / f"step-{number}" for number in range(1, len(names))), out]
    for number, (name, dataset, folder) in enumerate(zip(names, datasets, folders, strict=True)):
        of_step = dataclasses.replace(recipe, dataset=name)
        if any((later / FILE).exists() for later in folders[number + 1 :]):
            of_step = _as_trained(of_step, folder)
        Run(of_step, dataset, folder, validation, device).fit()
        recipe = dataclasses.replace(recipe, start=str(folder))


def _as_trained(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with the epochs of a step from which the next has already begun."""
    trained = recipe_from_dict(load_checkpoint(folder).meta["recipe"], str(folder)).optimiser
    lasted = dataclasses.replace(recipe.optimiser, epochs=trained.epochs, milestones=trained.milestones)
    return dataclasses.replace(recipe, optimiser=lasted)
