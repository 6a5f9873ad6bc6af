"""Runs that begin with other weights: heads for a finished network, ImageNet's, one dataset after the
other."""

import shutil
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from reid.bundle import Bundle
from reid.checkpoint import read_embedder
from reid.engines.pytorch import load_embedder
from training.checkpoint import load_checkpoint
from training.data.records import Dataset
from training.loop import Run
from training.recipe import RecipeError, load_recipe
from training.synthetic.drawn import draw_dataset, draw_sites
from training.transfer import train_in_order

SMALL = [
    "model.arch=resnet18",
    "model.height=96",
    "model.width=48",
    "batch_identities=4",
    "batch_crops=2",
    "precision=32-true",
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Eight drawn people."""
    return draw_dataset(tmp_path_factory.mktemp("start") / "data", identities=8, cameras=2, images=2)


def test_heads_are_trained_and_the_network_stays_as_it_was(dataset: Dataset, tmp_path: Path) -> None:
    Run(load_recipe("bot-unseen", [*SMALL, "model.ssl_heads=false"]), dataset, tmp_path / "old").fit(
        max_steps=2
    )
    recipe = load_recipe("heads", [*SMALL, f"start={tmp_path / 'old'}"])
    Run(recipe, dataset, tmp_path / "new").fit(max_steps=3)
    old, new = (read_embedder(tmp_path / name)[0].state_dict() for name in ("old", "new"))
    assert {name for name in new if name not in old} == {name for name in new if name.startswith("heads.")}
    assert all(torch.equal(new[name], tensor) for name, tensor in old.items())
    torch.manual_seed(recipe.seed)
    fresh = Run(recipe, dataset, tmp_path / "untrained").method.state_dict()
    assert not torch.equal(fresh["pixels.embedder.heads.position.weight"], new["heads.position.weight"])


def test_a_run_begins_where_another_ended(dataset: Dataset, bundle: Bundle, tmp_path: Path) -> None:
    first = bundle.path.parent / "run"  # what the bundle was exported from, with half the digits
    recipe = load_recipe("bot-unseen", [*SMALL, f"start={first}", "seed=5"])
    second = Run(recipe, dataset, tmp_path / "second").method.pixels.embedder.state_dict()
    expected = read_embedder(first)[0].state_dict()
    assert all(torch.equal(second[name], tensor) for name, tensor in expected.items())
    recipe = load_recipe("bot-unseen", [*SMALL, f"start={bundle.path}", "seed=5"])
    third = Run(recipe, dataset, tmp_path / "third").method.pixels.embedder.state_dict()
    assert all(torch.equal(third[name], t) for name, t in load_embedder(bundle).state_dict().items())
    assert all(torch.allclose(third[name], tensor, atol=1e-3) for name, tensor in expected.items())
    damaged = tmp_path / "damaged.resight"
    shutil.copytree(bundle.path, damaged)
    (damaged / "weights.safetensors").write_bytes(b"0" * 100)
    recipe = load_recipe("bot-unseen", [*SMALL, f"start={damaged}", "seed=5"])
    with pytest.raises(RecipeError, match=r"start: bundle .*weights\.safetensors"):
        Run(recipe, dataset, tmp_path / "fourth")


def test_datasets_in_order(tmp_path: Path) -> None:
    draw_sites(tmp_path / "world", 2, identities=4, cameras=2, images=2)
    settings = [*SMALL, "optimiser.epochs=1", "optimiser.rate=1e-9", "model.ssl_heads=false"]
    train_in_order(
        load_recipe("bot-unseen", [*settings, "dataset=folders:site-0>folders:site-1"]),
        tmp_path / "world",
        tmp_path / "run",
    )
    first, last = (load_checkpoint(tmp_path / name) for name in ("run/step-1", "run"))
    assert (first.meta["dataset"], first.meta["epoch"], last.meta["epoch"]) == ("folders", 2, 2)
    assert last.meta["recipe"]["start"] == str(tmp_path / "run" / "step-1")
    # with a rate of next to nothing the second run's weights are the first's, and its statistics have gone on
    # from there
    assert torch.allclose(
        first.tensors["model/trunk.conv1.weight"], last.tensors["model/trunk.conv1.weight"], atol=1e-6
    )
    assert last.tensors["model/trunk.bn1.running_mean"].abs().sum() > 0


def test_imagenet_weights_from_a_file(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = torchvision.models.resnet18(weights=None).state_dict()
    save_file(state, tmp_path / "resnet18.safetensors")
    recipe = load_recipe("bot-unseen", [*SMALL, f"start={tmp_path / 'resnet18.safetensors'}"])
    run = Run(recipe, dataset, tmp_path / "run")
    assert torch.equal(
        run.method.pixels.embedder.state_dict()["trunk.layer4.1.conv2.weight"], state["layer4.1.conv2.weight"]
    )
    printed = capsys.readouterr().out
    assert "resnet18.safetensors: 43 tensors keep their initialisation: neck (5), heads (38)" in printed


@pytest.mark.parametrize(
    ("start", "sentence"),
    [("nowhere", "does not exist"), ("run", "does not fit resnet18"), ("junk", "start:")],
)
def test_a_start_that_does_not_fit_is_named(
    start: str, sentence: str, dataset: Dataset, tmp_path: Path
) -> None:
    save_file({"conv1.weight": torch.zeros(1)}, tmp_path / "run")
    (tmp_path / "junk").write_bytes(b"0" * 100)
    with pytest.raises(RecipeError, match=sentence):
        Run(load_recipe("bot-unseen", [*SMALL, f"start={tmp_path / start}"]), dataset, tmp_path / "out")
