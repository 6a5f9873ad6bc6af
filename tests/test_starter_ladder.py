"""The ladder of `benchmarks.starter`: single changes from the former demo's recipe to today's."""

from pathlib import Path

import pytest

from benchmarks.starter_rows import ABOUT, ROWS, Row, filled, sources
from training.recipe import Recipe, load_recipe

BY_NAME = {row.name: row for row in ROWS}


def recipe(row: Row) -> Recipe:
    """The recipe of a row, without what it trains on."""
    return load_recipe("bot", filled(row, 7, Path("lite0.safetensors"), Path("runs")))


def test_the_first_row_is_the_former_demo() -> None:
    former = recipe(ROWS[0])
    assert former.model.arch == "resnet18" and not former.start and former.augment.erase == 0.25
    assert not former.photometric.changes and not former.mixstyle.chance and not former.losses.centre


def test_the_rows_up_to_people_end_at_todays_recipe() -> None:
    last, today = recipe(BY_NAME["people"]), load_recipe("demo")
    for key in ("model", "start", "photometric", "mixstyle", "augment", "batch_identities", "all_images"):
        assert last.value(key) == today.value(key), key
    for key in ("rate", "schedule"):
        assert last.value(f"optimiser.{key}") == today.value(f"optimiser.{key}"), key
    assert sources(BY_NAME["people"], 32, 8) == today.dataset
    assert sources(BY_NAME["batch"], 32, 8) == "world:site-0..7"


@pytest.mark.parametrize("row", ROWS[1:], ids=lambda row: row.name)
def test_a_row_changes_one_thing(row: Row) -> None:
    assert row.name in ABOUT and ROWS.index(BY_NAME[row.base]) < ROWS.index(row)
    before, now = recipe(BY_NAME[row.base]).to_dict(), recipe(row).to_dict()
    changed = {key for key in now if now[key] != before[key]}
    allowed = {"resolution": {"model", "augment"}, "distillation": {"method", "distill"}, "people": set()}
    assert changed <= allowed.get(row.name, changed) and len(changed) <= 2


def test_distillation_learns_from_the_run_of_the_resolution_row() -> None:
    taught = recipe(BY_NAME["distillation"])
    assert taught.distill.teacher == "runs/resolution-7" and taught.start == "lite0.safetensors"
