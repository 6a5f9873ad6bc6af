"""The counts of BNTA's reconstruction (methods A.10, oracle 12)."""

from reid.models import ModelSpec, build
from reid.models.build import batchnorm_layers


def test_resnet50_with_heads_has_60_batchnorm_layers_and_60288_affine_parameters() -> None:
    layers = batchnorm_layers(build(ModelSpec()))
    assert len(layers) == 60
    assert sum(2 * layer.num_features for layer in layers.values()) == 60_288
