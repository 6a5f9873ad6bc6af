"""What an architecture promises in its specification, and the counts of BNTA's reconstruction (methods A.10,
oracle 12)."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.serving import ROOT
from reid.models.build import PixelEmbedder, batchnorm_layers, build
from reid.models.spec import ARCHITECTURES, OPTIONAL, ModelSpec
from training.data.transforms import Augmentation
from training.methods import METHODS
from training.recipe import RECIPES, load_recipe


def spec_of(arch: str, **values: object) -> ModelSpec:
    """A specification that every architecture accepts, with some values changed."""
    plain = {"arch": arch, "height": 192, "width": 64, "ssl_heads": False}
    return ModelSpec.from_dict(plain | values)


def test_resnet50_with_heads_has_60_batchnorm_layers_and_60288_affine_parameters() -> None:
    layers = batchnorm_layers(build(ModelSpec()))
    assert len(layers) == 60
    assert sum(2 * layer.num_features for layer in layers.values()) == 60_288


def test_bnta_s_convolutions_and_linear_layers_have_93_million_weights() -> None:
    recipe = load_recipe("bnta")
    with torch.device("meta"):  # no memory
        method = METHODS[recipe.method](recipe, build(recipe.model), [18_530], 1)
    layers = [m for m in method.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert sum(p.numel() for layer in layers for p in layer.parameters()) == 93_024_454


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_specification_tells_the_feature_map_that_the_network_has(arch: str) -> None:
    architecture = ARCHITECTURES[arch]
    for last_stride in (1, 2) if "last_stride" in architecture.options else (1,):
        spec = spec_of(arch, last_stride=last_stride)
        with torch.device("meta"):  # shapes without computing
            channels, rows = build(spec).eval().trunk(torch.empty(1, 3, spec.height, spec.width)).shape[1:3]
        assert channels == spec.dim
        assert rows == (spec.map_rows if architecture.feature_map else 1)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("option", OPTIONAL)
def test_an_option_changes_the_network_or_is_refused_by_name(arch: str, option: str) -> None:
    default = spec_of(arch)
    value = {"last_stride": 2, "shared_reduction": True, "feature_layer": True}.get(option, False)
    if option not in ARCHITECTURES[arch].options:
        with pytest.raises(ValueError, match=rf"{arch} cannot honour {option}: {value}; leave it at"):
            spec_of(arch, **{option: value})
        return
    with torch.device("meta"):
        changed, kept = build(spec_of(arch, **{option: value})), build(default)
    assert str(changed) != str(kept)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"arch": "resnet5000"}, "unknown architecture 'resnet5000'"),
        ({"last_stride": 3}, "last_stride must be 1 or 2, not 3"),
        ({"height": 208, "last_stride": 2}, "208x128.*last_stride 2 the height must be a multiple of 32"),
        ({"width": 60}, "256x60.*width one of 16"),
        ({"height": 80}, "5 rows cannot be cut into the 6 stripes.*height of 96 or more"),
        ({"height": 128, "last_stride": 2}, "4 rows cannot be cut.*height of 192 or more"),
        ({"colour": "grey"}, "unknown keys: colour"),
    ],
)
def test_a_specification_that_cannot_be_built_is_refused(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ModelSpec.from_dict(values)


def test_an_architecture_s_mean_and_deviation_reach_network_and_erasing(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    grey = dataclasses.replace(
        ARCHITECTURES["resnet18"], pixel_mean=(0.2, 0.4, 0.6), pixel_std=(0.5, 0.25, 0.1)
    )
    monkeypatch.setitem(ARCHITECTURES, "resnet18", grey)
    spec = spec_of("resnet18")
    pixels = PixelEmbedder(build(spec))
    crop = torch.tensor([51, 102, 153], dtype=torch.uint8).expand(1, 2, 2, 3)
    assert torch.allclose(pixels.normalise(crop), torch.zeros(1, 3, 2, 2), atol=1e-5)
    brighter = pixels.normalise(crop + 51)  # a fifth of the range
    assert torch.allclose(brighter[0, :, 0, 0], torch.tensor([0.4, 0.8, 2.0]), atol=1e-5)
    assert spec.mean_pixel == (51, 102, 153)
    black = torch.zeros(64, 32, 3, dtype=torch.uint8).numpy()
    erased = Augmentation(flip=0, pad=0, erase=1)(black, rng, spec.mean_pixel)
    assert {tuple(pixel) for pixel in erased.reshape(-1, 3).tolist()} == {(0, 0, 0), (51, 102, 153)}


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.yaml")))
def test_every_recipe_s_network_can_be_built(name: str) -> None:
    with torch.device("meta"):
        build(load_recipe(name).model)


@pytest.mark.parametrize("path", sorted((ROOT / "deploy").glob("*/*.resight/manifest.json")))
def test_a_shipped_bundle_s_specification_is_readable(path: Path) -> None:
    model = json.loads(path.read_text())["model"]
    spec = ModelSpec.from_dict(model)
    assert {name: value for name, value in dataclasses.asdict(spec).items() if name in model} == model
    assert all(
        getattr(spec, each.name) == each.default
        for each in dataclasses.fields(spec)
        if each.name not in model
    )
