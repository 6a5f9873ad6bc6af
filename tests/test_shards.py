"""Batches of several shards: what they merge to by hand, and that two processes train the model that one
trains."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from reid.models.build import build
from reid.models.spec import ModelSpec
from tests.thin import thin
from training.checkpoint import load_checkpoint
from training.data import read_dataset
from training.data.loader import Batch
from training.loop import Run
from training.methods import METHODS
from training.recipe import Recipe, RecipeError, load_recipe
from training.step import Stepper
from training.synthetic.drawn import draw_sites

pytestmark = pytest.mark.usefixtures("thin_networks")
TINY = [
    "model.height=64",
    "model.width=32",
    "batch_identities=2",
    "batch_crops=2",
    "precision=32-true",
    "threads=1",
]  # one thread adds in one order
TALL = [*TINY, "model.height=96"]
RECIPES = {
    "bot": TALL,  # centres have an optimiser of their own
    # memories, and an inner step of every shard
    "m3l": [*TINY, "model.ssl_heads=false"],
    "ptl": [*TINY, "model.ssl_heads=false"],  # states go from step to step, in any method
}


def recipe_of(name: str) -> Recipe:
    """A small one of two shards over two sites."""
    return load_recipe(name, [*RECIPES[name], "shards=2", "dataset=folders:site-0+folders:site-1"])


def train(name: str, out: Path, steps: int) -> None:
    """Some steps on the sites beside the folder of `out`; also what each of two processes does."""
    recipe = recipe_of(name)
    Run(recipe, read_dataset(recipe.dataset, out.parent.parent / "world"), out).fit(max_steps=steps)


@pytest.fixture(scope="module", autouse=True)
def threads() -> Iterator[None]:
    """torch's threads as they were."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a world of two sites."""
    out = tmp_path_factory.mktemp("shards")
    draw_sites(out / "world", 2, identities=8, cameras=2, images=2)
    return out


@pytest.fixture(scope="module")
def one_process(thin_networks: None, folder: Path) -> Path:
    """Three steps of every recipe, trained by this process."""
    for name in RECIPES:
        train(name, folder / "one" / name, 3)
    return folder / "one"


@pytest.fixture(scope="module")
def two_processes(folder: Path) -> Path:
    """The same, trained by two processes that torchrun started."""
    out = folder / "two"
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "tests.test_shards",
        str(out),
    ]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.mark.parametrize("name", RECIPES)
def test_two_processes_train_what_one_trains(name: str, one_process: Path, two_processes: Path) -> None:
    one, two = (load_checkpoint(runs / name) for runs in (one_process, two_processes))
    assert one.tensors.keys() == two.tensors.keys()
    for key, tensor in one.tensors.items():
        assert torch.allclose(tensor.float(), two.tensors[key].float(), atol=1e-5, rtol=1e-4), key
    assert one.meta == two.meta
    assert len((two_processes / name / "log.csv").read_text().splitlines()) == 4  # one process writes


def test_a_sharded_run_resumes_as_if_it_had_never_stopped(folder: Path, one_process: Path) -> None:
    for steps in (1, 2):
        train("ptl", folder / "stopped" / "ptl", steps)
    one, two = (load_checkpoint(runs / "ptl") for runs in (folder / "stopped", one_process))
    assert any(key.startswith("carried/1/") for key in one.tensors)
    for key, tensor in two.tensors.items():
        assert torch.allclose(tensor.float(), one.tensors[key].float(), atol=1e-6), key


def test_shards_merge_means_and_sums_by_hand() -> None:
    torch.manual_seed(0)
    recipe = load_recipe("m3l-baseline", [*TALL, "model.ssl_heads=false", "meta.metabn=false"])
    spec = ModelSpec("resnet50", 96, 48, ssl_heads=False)
    crops = torch.randint(0, 255, (16, 96, 48, 3), dtype=torch.uint8)
    labels = torch.arange(8).repeat_interleave(2)  # two domains of four people
    whole = Batch(crops, labels, torch.zeros(16, dtype=torch.long), labels // 4, torch.arange(16))
    method = METHODS["m3l"](recipe, build(spec), [4, 4], 1).train()
    stepper = Stepper(method, Fabric(devices=1, accelerator="cpu"), shards=2, groups=2)
    slots = stepper.slots(16)
    assert slots == [[0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]]
    shards = [Batch(*(column[own] for column in whole)) for own in slots]
    start = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    alone = []
    for shard in shards:  # each shard by itself, without a step of the optimiser
        method.load_state_dict(start)
        method.zero_grad()
        torch.stack(list(method(shard).values())).sum().backward()
        alone.append(
            (
                method.pixels.embedder.trunk.conv1.weight.grad.clone(),
                method.pixels.embedder.trunk.bn1.running_mean.clone(),
            )
        )
    method.load_state_dict(start)
    for optimiser in stepper.optimisers.values():
        optimiser.param_groups[0]["lr"] = (
            0.0  # nothing moves, so that what is left in `grad` and buffers can be compared
        )
    stepper(shards)
    assert torch.allclose(
        method.pixels.embedder.trunk.conv1.weight.grad, (alone[0][0] + alone[1][0]) / 2, atol=1e-6
    )
    mean = (alone[0][1] + alone[1][1]) / 2
    # the memory's update runs the network once more on both domains and moves the statistics again, from the
    # merged ones
    moved = method.pixels.embedder.trunk.bn1.running_mean
    assert not torch.allclose(moved, start["pixels.embedder.trunk.bn1.running_mean"])
    assert torch.allclose(
        moved, mean + 0.81 * (mean - start["pixels.embedder.trunk.bn1.running_mean"]), atol=1e-6
    )
    changed = (method.memory.vectors - start["memory.vectors"]).abs().sum(1) > 0
    assert changed.all()
    assert torch.allclose(method.memory.vectors.norm(dim=1), torch.ones(8), atol=1e-5)


def test_shards_that_processes_cannot_share_are_refused() -> None:
    recipe = load_recipe("bot-unseen", TALL)
    method = METHODS["bot"](recipe, build(recipe.model), [4], 1)
    with pytest.raises(RecipeError, match="2 processes cannot share 3 shards"):
        Stepper(method, Fabric(devices=2, accelerator="cpu"), shards=3)


if __name__ == "__main__":
    with thin():
        for each in RECIPES:
            train(each, Path(sys.argv[1]) / each, 3)
