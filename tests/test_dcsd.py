"""DCSD: oracles 10 and 11 of methods A.10, and its training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from reid.models.build import build
from reid.models.dcsd import DynamicConv, apply_filters, dynamic_layers, filter_norm
from reid.models.imagenet import load_imagenet
from reid.models.resnet import ResNetTrunk
from training.data.loader import Batch
from training.methods.dcsd import Dcsd
from training.recipe import RecipeError, load_recipe

SMALL = ["model.height=64", "model.width=32", "model.ssl_heads=false"]


def test_filter_norm_by_hand() -> None:
    found = filter_norm(torch.arange(1.0, 10.0, dtype=torch.float64), 0)
    assert found.tolist() == pytest.approx(
        [-1.4606, -1.0954, -0.7303, -0.3651, 0, 0.3651, 0.7303, 1.0954, 1.4606], abs=1e-4
    )
    equal = torch.ones(9, requires_grad=True)
    filter_norm(equal, 0).square().sum().backward()
    assert equal.grad is not None and torch.isfinite(equal.grad).all()


@pytest.mark.parametrize("stride", [1, 2])
def test_the_operator_by_loops(stride: int) -> None:
    torch.manual_seed(0)
    x, a = torch.randn(2, 3, 5, 7, dtype=torch.float64), torch.randn(2, 3, 9, dtype=torch.float64)
    height, width = -(-5 // stride), -(-7 // stride)
    s = torch.randn(2, 9, height, width, dtype=torch.float64)
    expected = torch.zeros(2, 3, height, width, dtype=torch.float64)
    for b, c, i, j, t in np.ndindex(2, 3, height, width, 9):
        row, column = stride * i + t // 3 - 1, stride * j + t % 3 - 1
        if 0 <= row < 5 and 0 <= column < 7:
            expected[b, c, i, j] += a[b, c, t] * s[b, t, i, j] * x[b, c, row, column]
    assert torch.allclose(apply_filters(x, a, s, stride), expected)


def test_the_shortcuts_equal_the_paper_s_sum() -> None:
    """Shifting the pooled vector and the spatial maps equals forming Y = X + e_d + e_c."""
    torch.manual_seed(0)
    layer, x = DynamicConv(20, stride=2).double(), torch.randn(2, 20, 6, 5, dtype=torch.float64)
    pooled = x.mean((2, 3))
    assert layer.domain is not None and layer.camera is not None
    both = layer.domain(pooled) + layer.camera(pooled)
    y = x + both[:, :, None, None]
    positions = filter_norm(layer.spatial(y), 1) * 2**0.5 / 3
    channels = filter_norm(layer.channel(y.mean((2, 3))).unflatten(1, (-1, 9)), 2) * layer.gain
    assert torch.allclose(layer(x), apply_filters(x, channels, positions, 2))


def test_parameters_are_the_paper_s() -> None:
    assert sum(p.numel() for p in ResNetTrunk(50, "dcsd").parameters()) == 16_061_660
    assert len(dynamic_layers(ResNetTrunk(50, "dcsd"))) == 16
    plain = ResNetTrunk(50, "dcsd", domain_branch=False, camera_branch=False)
    assert (
        16_061_660 - sum(p.numel() for p in plain.parameters())
        == 3 * 4_256 + 4 * 16_704 + 6 * 66_176 + 3 * 263_424
    )


def method(*settings: str) -> Dcsd:
    """An untrained network of two domains with two identities each, three cameras."""
    recipe = load_recipe("dcsd", [*SMALL, *settings])
    torch.manual_seed(0)
    return Dcsd(recipe, build(recipe.model), [2, 2], 3).train()


@pytest.fixture
def batch() -> Batch:
    """Eight crops."""
    crops = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (8, 64, 32, 3), np.uint8))
    labels = torch.arange(8) // 2
    return Batch(crops, labels, torch.arange(8) % 3, labels // 2, torch.arange(8))


def test_domain_and_camera_teach_the_embeddings_and_identity_does_not(batch: Batch) -> None:
    made = method()
    losses = made(batch)
    mlps = [
        p
        for layer in dynamic_layers(made)
        for mlp in (layer.domain, layer.camera)
        if mlp is not None
        for p in mlp.parameters()
    ]
    assert all(
        g is None for g in torch.autograd.grad(losses["identity"], mlps, retain_graph=True, allow_unused=True)
    )
    grads = torch.autograd.grad(losses["domain"] + losses["camera"], mlps, allow_unused=True)
    assert all(g is not None and torch.isfinite(g).all() for g in grads)
    open_ = method("losses.detach=false")
    mlps = [
        p
        for layer in dynamic_layers(open_)
        for mlp in (layer.domain, layer.camera)
        if mlp is not None
        for p in mlp.parameters()
    ]
    assert all(g is not None for g in torch.autograd.grad(open_(batch)["identity"], mlps, allow_unused=True))


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ((), {"identity", "triplet", "domain", "camera"}),
        (("model.domain_branch=false",), {"identity", "triplet", "camera"}),
        (("model.domain_branch=false", "model.camera_branch=false"), {"identity", "triplet"}),
    ],
)
def test_every_branch_is_a_switch(settings: tuple[str, ...], names: set[str], batch: Batch) -> None:
    losses = method(*settings)(batch)
    assert set(losses) == names and all(torch.isfinite(loss) for loss in losses.values())


def test_a_network_without_modules_is_refused() -> None:
    recipe = load_recipe("dcsd", ["model.arch=resnet50"])
    with pytest.raises(RecipeError, match="resnet50-dcsd"):
        Dcsd(recipe, build(recipe.model), [2, 2], 3)


def test_imagenet_weights_load_around_the_modules() -> None:
    plain, dynamic = ResNetTrunk(), ResNetTrunk(50, "dcsd")
    before = dynamic_layers(dynamic)[0].gain.clone()
    load_imagenet(dynamic, {**plain.state_dict(), "fc.weight": torch.zeros(1)})
    assert torch.equal(dynamic.layer3[2].conv1.weight, plain.layer3[2].conv1.weight)
    assert torch.equal(dynamic_layers(dynamic)[0].gain, before)


def test_a_module_exports_and_onnxruntime_agrees(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer, path = DynamicConv(16, stride=2).eval(), tmp_path / "layer.onnx"
    torch.onnx.export(
        layer,
        (torch.randn(2, 16, 9, 5),),
        path,
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    session = onnxruntime.InferenceSession(path)
    for batch in (1, 5):
        x = torch.randn(batch, 16, 9, 5)
        assert (
            np.abs(
                session.run(None, {session.get_inputs()[0].name: x.numpy()})[0] - layer(x).detach().numpy()
            ).max()
            < 1e-4
        )
