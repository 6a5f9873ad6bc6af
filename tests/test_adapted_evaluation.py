"""BNTA's own protocol: a network is adapted to each split's gallery, scored, and put back for the next."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from reid.adaptation.bnta import Bnta, adapt
from reid.models.build import Embedder, batchnorm_layers, build
from reid.models.spec import ModelSpec
from resight import app
from tests.conftest import make_checkpoint
from training.adapted import AdaptedNetwork, Adapting, read_adapting
from training.data.records import Dataset
from training.synthetic.drawn import draw_dataset

SPEC = ModelSpec("resnet18", 96, 32)
CROPS = np.random.default_rng(0).integers(0, 255, (16, 96, 32, 3), np.uint8)
_KIND = {"running_mean": "mean", "running_var": "variance", "weight": "gamma", "bias": "beta"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """People whose gallery is large enough to adapt to."""
    return draw_dataset(tmp_path_factory.mktemp("drawn"), identities=30, sites=1, cameras=2, images=4)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network with heads."""
    return make_checkpoint(tmp_path_factory.mktemp("run") / "run", SPEC)


def moved(before: Embedder, after: Embedder) -> set[str]:
    """Which values of which kinds of layers differ: mean, variance, gamma, beta, conv, in."""
    norms, kinds = batchnorm_layers(before), set()
    modules = dict(before.named_modules())
    for (name, old), new in zip(before.state_dict().items(), after.state_dict().values(), strict=True):
        layer, _, value = name.rpartition(".")
        if torch.equal(old, new) or value == "num_batches_tracked":
            continue
        in_norm = isinstance(modules[layer], nn.InstanceNorm2d)
        kinds.add(_KIND[value] if layer in norms else "in" if in_norm else "conv")
    return kinds


@pytest.mark.parametrize(
    ("layers", "values", "expected"),
    [
        (("bn",), ("mean", "variance", "gamma", "beta"), {"mean", "variance", "gamma", "beta"}),
        (("bn",), ("mean",), {"mean"}),
        (("bn",), ("variance", "gamma"), {"variance", "gamma"}),
        (("conv",), ("mean",), {"conv"}),
        (("bn", "in"), ("beta",), {"beta", "in"}),
    ],
)
def test_only_what_is_named_moves(
    layers: tuple[str, ...], values: tuple[str, ...], expected: set[str]
) -> None:
    before = build(SPEC).eval()
    before.add_module("extra", nn.InstanceNorm2d(4, affine=True))
    if "in" in layers:
        before.trunk.bn1 = nn.Sequential(nn.InstanceNorm2d(64, affine=True), before.trunk.bn1)
    after = copy.deepcopy(before)
    adapt(after, CROPS, Bnta(layers=layers, values=values, rate=1e-2))
    assert moved(before, after) == expected
    assert all(p.requires_grad for p in after.parameters()) and not after.training


def test_the_weights_of_both_losses_count() -> None:
    network = build(SPEC).eval()
    ends = []
    for position, matching in ((1.0, 1.0), (0.0, 1.0), (1.0, 0.0)):
        after = copy.deepcopy(network)
        adapt(after, CROPS, Bnta(position=position, matching=matching, rate=1e-2, batch_pairs=4))
        ends.append(torch.cat([layer.weight.detach() for layer in batchnorm_layers(after).values()]))
    assert not torch.equal(ends[0], ends[1]) and not torch.equal(ends[0], ends[2])


def test_each_split_starts_from_the_trained_network(run: Path, dataset: Dataset) -> None:
    network = AdaptedNetwork(run, "cpu")
    before = copy.deepcopy(network.trained)
    adapting = Adapting(Bnta(rate=1e-2), crops=20)
    first, report = network.embed(dataset, adapting)
    second, _ = network.embed(dataset, adapting)
    assert np.array_equal(first.gallery, second.gallery) and report.crops == 20
    assert moved(before, network.trained) == set()
    plain, _ = network.embed(dataset, Adapting(Bnta(rate=1e-2, values=("gamma",)), crops=20))
    assert not np.allclose(first.gallery, plain.gallery, atol=1e-4)


def test_evaluate_adapts_and_says_to_what(run: Path, dataset: Dataset) -> None:
    root = Path(*dataset.gallery[0].path.parts[: dataset.gallery[0].path.parts.index("gallery")])
    words = ["evaluate", run, "--dataset", "folders", "--data", root, "--adapt", "bnta"]
    said = CliRunner().invoke(app, [*map(str, words), "--adapt-set", "max_pairs=8"])
    assert said.exit_code == 0, said.output
    assert f"adapted to {len(dataset.gallery)} crops, 8 pairs, 1 steps" in said.output


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["max_pair=3"], "unknown key 'max_pair'"),
        (["layers=[bm]"], "layers is .*choose some of bn, conv, in"),
        (["values=[]"], "choose some of mean"),
        (["crops=-1"], "a number of gallery crops"),
        (["crops"], "must look like"),
    ],
)
def test_a_wrong_setting_of_an_adaptation_is_named(settings: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_adapting(settings)
    assert read_adapting(["crops=3", "rate=1e-3"]) == Adapting(Bnta(rate=1e-3), 3)
