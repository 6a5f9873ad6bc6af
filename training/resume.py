"""Which recipe a run may be resumed with: the one that it was trained with, or one that lasts longer."""

from __future__ import annotations

from pathlib import Path

from reid.checkpoint import CheckpointError
from training.recipe import Recipe, first_difference
from training.schedule import rate_at

FREE = ("validation.every",)  # may change at any time


def require_same_recipe(trained: Recipe, recipe: Recipe, begun: int, out: Path) -> str:
    """Compares the recipe of a checkpoint with the one to go on with.

    More epochs are allowed, with other milestones among those that have not begun.

    Args:
        begun: epochs that have been trained, the last of them perhaps in part.

    Returns the sentence on how the schedule changes, "" where it does not. Raises CheckpointError naming the
    first key that differs.
    """
    free, before, now = list(FREE), trained.optimiser, recipe.optimiser
    longer = now.epochs > before.epochs
    if longer:
        free.append("optimiser.epochs")
        kept = [[m for m in each.milestones if m <= begun] for each in (before, now)]
        free += ["optimiser.milestones"] if kept[0] == kept[1] else []
    same = trained
    for key in free:
        same = same.changed(key, recipe.value(key))
    difference = first_difference(same.to_dict(), recipe.to_dict())
    if difference:
        raise CheckpointError(
            f"{out} was trained with another recipe: {difference}; choose another --out or the same recipe"
        )
    if not longer:
        return ""
    last, after, end = (
        f"{rate_at(settings, epoch, 0, 1):.3g}"
        for settings, epoch in ((before, before.epochs), (now, before.epochs + 1), (now, now.epochs))
    )
    sentence = (
        f"{out} goes on from {before.epochs} to {now.epochs} epochs: the rate of epoch {before.epochs} is "
        f"{last} in the former schedule, that of epoch {before.epochs + 1} is now {after}, of epoch "
        f"{now.epochs} {end}"
    )
    if now.schedule == "cosine":
        sentence += (
            f"; the cosine now ends at epoch {now.epochs}, the {begun} epochs before followed the shorter one"
        )
    return sentence
