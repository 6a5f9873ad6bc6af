"""Evaluation while a run goes on: `evaluations.csv`, and the best epoch as `best.safetensors`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reid.images import CropSize
from reid.models.build import PixelEmbedder
from reid.models.runner import run_crops
from training.checkpoint import Checkpoint, model_tensors
from training.data import read_dataset
from training.data.matches import require_matches
from training.data.records import Dataset
from training.data.selection import judged_crops
from training.evaluate import embed_dataset, of_queries, percentages, query_counts, score
from training.progress import Report
from training.recipe import Recipe
from training.rows import Rows, check_rows

BEST = "best.safetensors"
FILE = "evaluations.csv"
_BEST_BY = "mAP"


def named_validation(recipe: Recipe, root: Path) -> Dataset | None:
    """Query and gallery of the dataset that the recipe names for validation; None where it names none.

    Raises DatasetError where it cannot be read or scored.
    """
    chosen = recipe.validation
    if not (chosen.every and chosen.dataset):
        return None
    dataset = read_dataset(chosen.dataset, root, recipe.split, recipe.pattern)
    judged = judged_crops(dataset, ignore_cameras=False, skip_unreadable=recipe.skip_unreadable)
    require_matches(judged)
    return judged


class Validator:
    """Evaluates the network of a run after some of its epochs.

    Args:
        dataset: its query and gallery are ranked. out: the run folder. done: epochs that the checkpoint has
            behind it; evaluations of later ones are dropped, since the run makes them again.
    """

    def __init__(self, recipe: Recipe, dataset: Dataset, out: Path, done: int) -> None:
        self.recipe, self.dataset, self.out = recipe, dataset, out
        self.rows = Rows(out / FILE, ("epoch",), (done,))

    @staticmethod
    def check(out: Path) -> None:
        """Raises TrainingError for an evaluations.csv that somebody has changed so that it cannot be read."""
        check_rows(out / FILE, ("epoch",))

    def is_due(self, done: int) -> bool:
        """Whether the network of this many epochs is to be evaluated: every so many, and behind the last."""
        every, last = self.recipe.validation.every, self.recipe.optimiser.epochs
        due = done > 0 and (done % every == 0 or done == last)
        return due and str(done) not in {row["epoch"] for row in self.rows.kept}

    def evaluate(
        self, pixels: PixelEmbedder, done: int, meta: dict[str, Any], report: Report
    ) -> dict[str, float]:
        """Scores the network, which is in eval mode, and keeps it where it is the best so far.

        Args:
            meta: of a checkpoint of this network. Returns the scores in percent.
        """
        spec = pixels.embedder.spec
        device = next(pixels.parameters()).device
        size = CropSize(spec.height, spec.width, spec.interpolation)
        with report.counting("validation", "crops") as show:
            embedded = embed_dataset(lambda crops: run_crops(pixels, crops, device), self.dataset, size, show)
        scores = score(embedded)
        metrics, counts = percentages(scores), query_counts(scores)
        former = max((_number(row.get(_BEST_BY)) for row in self.rows.kept), default=-1.0)
        is_best = metrics[_BEST_BY] > former
        if is_best:
            measured = {"dataset": self.dataset.name, "epoch": done, **metrics, **counts}
            tensors = model_tensors(pixels.embedder)
            Checkpoint(tensors, {**meta, "validation": measured}).save(self.out / BEST)
        self.rows.write({"epoch": done, **metrics, **counts})
        kept = f"; the best so far, kept as {self.out / BEST}" if is_best else ""
        report.say(
            f"epoch {done}, {self.dataset.name}: mAP {metrics['mAP']:.2f}, rank-1 {metrics['rank-1']:.2f}, "
            f"{of_queries(counts)}{kept}"
        )
        return metrics

    def close(self) -> None:
        """Closes the file."""
        self.rows.close()


def _number(text: str | None) -> float:
    """A score as it stands in the file, -1 for anything else."""
    try:
        return float(text or -1)
    except ValueError:
        return -1.0
