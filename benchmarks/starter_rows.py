"""The rows of `benchmarks.starter`: what each changes in the recipe of the row it goes on from."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

from training.data import read_training
from training.data.records import Dataset
from training.recipe import Recipe, load_recipe

# the recipe that the demo bundle had before it began from ImageNet: `bot`, and these settings
FORMER = (
    "all_images=true",
    "model.arch=resnet18",
    "model.height=128",
    "model.width=64",
    "augment.pad=5",
    "augment.erase=0.25",
    "losses.centre=0",
    "optimiser.rate=1.0e-3",
    "optimiser.warmup_epochs=0",
    "precision=32-true",
)
TODAY = load_recipe("demo")


class Row(NamedTuple):
    """One row: what it changes, and in which row's recipe.

    `{start}`, `{runs}` and `{seed}` in a setting are filled in.
    """

    name: str
    base: str  # "" for the first
    settings: tuple[str, ...]


def _section(name: str) -> str:
    """A section of today's recipe as one setting."""
    return f"{name}={json.dumps(dataclasses.asdict(getattr(TODAY, name)))}"


ROWS = (
    Row("former demo", "", FORMER),
    Row("trunk", "former demo", ("model.arch=efficientnet-lite0",)),
    Row("start", "trunk", ("start={start}",)),
    Row("no erasing", "start", ("augment.erase=0",)),
    Row("colour and sharpness", "no erasing", (_section("photometric"),)),
    Row("mixstyle", "colour and sharpness", (_section("mixstyle"),)),
    Row("schedule", "mixstyle", ("optimiser.schedule=cosine", f"optimiser.rate={TODAY.optimiser.rate}")),
    Row("batch", "schedule", (f"batch_identities={TODAY.batch_identities}",)),
    Row("people", "batch", ("dataset=all",)),
    Row("JPEG", "people", ("photometric.jpeg=0.3",)),
    Row("proxy loss", "people", ("losses.proxy=0.5",)),
    Row("resolution", "people", ("model.height=256", "model.width=128", "augment.pad=10")),
    Row(
        "distillation",
        "people",
        (
            "method=std",
            "distill.teacher={runs}/resolution-{seed}",
            "distill.cache={runs}/resolution-{seed}.safetensors",
        ),
    ),
)
ABOUT = {
    "former demo": "ResNet-18 from nothing, 16 x 4 crops a batch, rate in steps, erasing",
    "trunk": "EfficientNet-Lite0 instead, from nothing",
    "start": "from ImageNet's weights",
    "no erasing": "no random erasing",
    "colour and sharpness": "the changes of `photometric`",
    "mixstyle": "MixStyle",
    "schedule": "rate down half a cosine, from 5e-4",
    "batch": "32 x 4 crops a batch",
    "people": "all sites, each crop less often",
    "JPEG": "*people*, with three in ten crops compressed",
    "proxy loss": "*people*, with half a proxy loss of the 50 hardest others",
    "resolution": "*people*, at 256x128",
    "distillation": "*people*, distilled from *resolution*",
}


def chain(row: Row) -> tuple[str, ...]:
    """The settings of a row and of all that it goes on from, oldest first."""
    if not row.base:
        return row.settings
    base = next(other for other in ROWS if other.name == row.base)
    return (*chain(base), *row.settings)


def sources(row: Row, sites: int, few: int) -> str:
    """The sites that a row trains on: the first `few`, or all from the row `people` on."""
    count = sites if "dataset=all" in chain(row) else few
    return f"world:site-0..{count - 1}"


def filled(row: Row, seed: int, start: Path, runs: Path) -> list[str]:
    """The settings of a row on top of the recipe `bot`, without what it trains on."""
    settings = [setting for setting in chain(row) if setting != "dataset=all"]
    for place, value in (("{start}", start), ("{runs}", runs), ("{seed}", seed)):
        settings = [setting.replace(place, str(value)) for setting in settings]
    return settings


def prepared(
    row: Row, seed: int, crops: int, world: Path, sites: tuple[int, int], start: Path, runs: Path
) -> tuple[Recipe, Dataset]:
    """The recipe of a row, with the epochs that show it about `crops` crops, and what it trains on.

    Args:
        sites: of the world, and how many of them the rows before `people` train on.
        start: ImageNet's weights as safetensors. runs: the folder of the rows' runs.
    """
    settings = [*filled(row, seed, start, runs), f"dataset={sources(row, *sites)}", f"seed={seed}"]
    draft = load_recipe("bot", settings)
    dataset = read_training(draft.dataset, world, selection=draft.selection())
    epochs = max(1, round(crops / len(dataset.train)))
    steps = [max(2, round(epochs * share)) for share in (0.6, 0.8)]  # where the former demo's rate fell
    ends = [f"optimiser.epochs={epochs}", f"optimiser.milestones={steps}"]
    return load_recipe("bot", [*settings, *ends]), dataset
