"""The counts of BNTA's reconstruction (methods A.10, oracle 12)."""

import torch
from torch import nn

from reid.models import ModelSpec, build
from reid.models.build import batchnorm_layers
from training.methods import METHODS
from training.recipe import load_recipe


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
