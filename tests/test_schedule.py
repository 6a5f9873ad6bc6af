"""The learning rate of every epoch: the schedule by hand, and that a run trains with it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from training.loop import Run
from training.recipe import RecipeError, load_recipe
from training.schedule import cosine_rate, learning_rate, misfits, rate_at
from training.step import Stepper
from training.synthetic.drawn import draw_dataset


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """torch's threads as they were."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_warm_up_rises_linearly_from_its_factor_to_the_full_rate() -> None:
    rates = [learning_rate(e, 1.0, (), warmup_epochs=4, warmup_factor=0.2) for e in range(7)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1])


def test_the_first_epochs_of_bot_are_those_of_its_repository() -> None:
    """3.5e-4 with 10 epochs of warm-up from a hundredth; epochs are counted from 1."""
    assert learning_rate(1, 3.5e-4, (40, 70)) == pytest.approx(3.815e-5)
    assert learning_rate(9, 3.5e-4, (40, 70)) == pytest.approx(3.1535e-4)
    assert learning_rate(10, 3.5e-4, (40, 70)) == pytest.approx(3.5e-4)


@pytest.mark.parametrize("milestones", [(3, 5), (5, 3)])
def test_the_rate_falls_at_each_milestone_by_gamma(milestones: tuple[int, ...]) -> None:
    rates = [learning_rate(e, 2.0, milestones, gamma=0.5, warmup_epochs=0) for e in range(1, 7)]
    assert rates == [2, 2, 1, 1, 0.5, 0.5]


def test_a_milestone_inside_the_warm_up_counts_too() -> None:
    assert learning_rate(2, 1.0, (2,), 0.1, 4, 0.5) == pytest.approx(0.1 * 0.75)


def test_without_warm_up_the_factor_says_nothing() -> None:
    assert learning_rate(1, 1.0, (), warmup_epochs=0, warmup_factor=0.01) == 1.0


@pytest.mark.parametrize("schedule", ["steps", "cosine"])
def test_a_run_trains_with_the_rates_of_its_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schedule: str
) -> None:
    rates: list[float] = []
    step = Stepper.__call__

    def noted(self: Stepper, *arguments: Any) -> dict[str, float]:
        rates.append(self.optimisers["network"].param_groups[0]["lr"])
        return step(self, *arguments)

    monkeypatch.setattr(Stepper, "__call__", noted)
    settings = ["precision=32-true", "threads=1", "batch_identities=2", "batch_crops=2"]
    settings += ["model.arch=resnet18", "model.height=64", "model.width=32", "model.ssl_heads=false"]
    settings += ["optimiser.rate=0.001", "optimiser.epochs=3", "optimiser.milestones=[3]"]
    settings += ["optimiser.warmup_epochs=2", "optimiser.warmup_factor=0.5", "optimiser.gamma=0.25"]
    settings.append(f"optimiser.schedule={schedule}")
    dataset = draw_dataset(tmp_path / "drawn", identities=4, sites=1, cameras=2, images=2)
    run = Run(load_recipe("bot", settings), dataset, tmp_path / "run")
    run.fit()
    each = len(run.sampler)
    assert each > 1
    if schedule == "cosine":
        passed = [step / each for step in range(3 * each)]
        assert rates == pytest.approx([cosine_rate(p, 0.001, 3, 2, 0.5) for p in passed])
        return
    assert rates == pytest.approx([0.00075] * each + [0.001] * each + [0.00025] * each)


def test_the_cosine_falls_from_the_rate_to_zero_behind_a_linear_warm_up() -> None:
    rates = [cosine_rate(passed, 1.0, 10, 2, 0.1) for passed in (0, 1, 2, 6, 10)]
    assert rates == pytest.approx([0.1, 0.55, 1.0, 0.5, 0.0])
    assert cosine_rate(0.0, 1.0, 10, 0, 0.1) == 1.0
    assert cosine_rate(2.5, 1.0, 10, 0, 0.1) == pytest.approx(0.8535534)


def test_a_cosine_that_would_never_leave_its_warm_up_is_refused() -> None:
    settings = ["optimiser.schedule=cosine", "optimiser.epochs=8", "optimiser.warmup_epochs=8"]
    with pytest.raises(RecipeError, match="warmup_epochs is 8 of 8 epochs; the cosine schedule needs fewer"):
        load_recipe("bot", settings)


def test_epochs_can_be_counted_from_0_as_m3ls_repository_does() -> None:
    settings = load_recipe("m3l-table2").optimiser
    assert rate_at(settings, 1, 0, 200) == pytest.approx(3.5e-6)
    assert rate_at(settings, 2, 0, 200) == pytest.approx(3.815e-5)
    assert [rate_at(settings, epoch, 0, 200) for epoch in (30, 31, 51)] == pytest.approx(
        [3.5e-4, 3.5e-5, 3.5e-6]
    )
    assert misfits(settings) == []
    ten = load_recipe("ptl-table1-resnet50").optimiser
    assert [rate_at(ten, epoch, 0, 1) for epoch in (10, 11, 20, 21)] == pytest.approx(
        [0.01, 1e-3, 1e-3, 1e-4]
    )
