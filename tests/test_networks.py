"""The networks' parts by naive loops and by hand: IBN, DualNorm, SNR, AGW, MGN, DenseNet, and their ImageNet
weights."""

import pytest
import torch
import torchvision
from torch import Tensor, nn

from reid.models.agw import GeM, NonLocal
from reid.models.bottleneck import ExtendedBottleneck
from reid.models.build import batchnorm_layers, build
from reid.models.densenet import DenseNetTrunk
from reid.models.imagenet import load_imagenet
from reid.models.mgn import MgnTrunk
from reid.models.norms import InstanceBatchNorm, Restored, StyleRestitution
from reid.models.resnet import ResNetTrunk
from reid.models.spec import ModelSpec
from training.losses import restitution_loss, weighted_triplet
from training.methods import METHODS
from training.recipe import RecipeError, load_recipe


def count(module: nn.Module) -> int:
    """Parameters."""
    return sum(p.numel() for p in module.parameters())


def instance_norm(x: Tensor) -> Tensor:
    """Channel by channel, image by image."""
    out = torch.empty_like(x)
    for b in range(x.shape[0]):
        for c in range(x.shape[1]):
            out[b, c] = (x[b, c] - x[b, c].mean()) / (x[b, c].var(unbiased=False) + 1e-5).sqrt()
    return out


def test_ibn_norms_half_of_the_channels_by_image() -> None:
    x = torch.randn(3, 5, 4, 2, dtype=torch.float64)
    layer = InstanceBatchNorm(5).double()
    found = layer(x)
    assert torch.allclose(found[:, :2], instance_norm(x[:, :2]))
    rest = x[:, 2:]
    mean, var = rest.mean((0, 2, 3), keepdim=True), rest.var((0, 2, 3), unbiased=False, keepdim=True)
    assert torch.allclose(found[:, 2:], (rest - mean) / (var + 1e-5).sqrt())


def test_ibn_and_dualnorm_by_their_counts() -> None:
    plain, ibn, dual = ResNetTrunk(), ResNetTrunk(variant="ibn"), ResNetTrunk(variant="dualnorm")
    assert count(ibn) == count(plain) == 23_508_032
    assert count(dual) - count(plain) == 3_584  # methods A.10, oracle 12
    assert sum(isinstance(m, InstanceBatchNorm) for m in ibn.modules()) == 3 + 4 + 6
    with_heads = batchnorm_layers(build(ModelSpec("resnet50-dualnorm")))
    assert len(with_heads) == 60  # what adaptation moves is the same as for the plain network
    assert sum(2 * layer.num_features for layer in with_heads.values()) == 60_288


def test_an_extended_bottleneck_is_the_bottleneck_with_something_more() -> None:
    block = torchvision.models.resnet50(weights=None).layer1[1].eval()
    x = torch.randn(2, 256, 4, 2)
    assert torch.equal(ExtendedBottleneck(block).eval()(x), block(x))
    doubled = ExtendedBottleneck(block, behind=nn.Upsample(scale_factor=2)).eval()
    assert doubled(x).shape == (2, 256, 8, 4)


def test_snr_puts_back_what_the_gate_lets_through() -> None:
    layer = StyleRestitution(32)
    x = torch.randn(2, 32, 4, 2)
    for parameter in layer.gate.parameters():
        nn.init.zeros_(parameter)  # the gate is one half everywhere
    plain = instance_norm(x)
    assert torch.allclose(layer(x), plain + (x - plain) / 2, atol=1e-5)
    assert layer.seen is not None
    assert torch.allclose(layer.seen.relevant, layer.seen.irrelevant)


def test_snr_s_loss_by_loops() -> None:
    labels = torch.tensor([0, 0, 1, 1, 1])
    seen = Restored(*torch.randn(3, 5, 8))

    def d(f: Tensor, i: int, j: int) -> Tensor:
        return 0.5 - f[i] @ f[j] / (2 * f[i].norm() * f[j].norm())

    total = torch.zeros(())
    for a in range(5):
        p = max(
            (j for j in range(5) if labels[j] == labels[a]), key=lambda j: float(d(seen.normalised, a, j))
        )
        n = min(
            (j for j in range(5) if labels[j] != labels[a]), key=lambda j: float(d(seen.normalised, a, j))
        )
        for better, worse in ((seen.relevant, seen.normalised), (seen.normalised, seen.irrelevant)):
            total += nn.functional.softplus(d(better, a, p) - d(worse, a, p)) + nn.functional.softplus(
                d(worse, a, n) - d(better, a, n)
            )
    assert torch.allclose(restitution_loss(seen, labels), total / 5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_weighted_triplet_by_loops(dtype: torch.dtype) -> None:
    features, labels = torch.randn(6, 4).to(dtype), torch.tensor([0, 1, 0, 2, 1, 0])
    exact = features.to(torch.float64)
    total = torch.zeros((), dtype=torch.float64)
    for a in range(6):
        d = (exact[a] - exact).norm(dim=1)
        positive = [j for j in range(6) if labels[j] == labels[a]]
        negative = [j for j in range(6) if labels[j] != labels[a]]
        wp, wn = d[positive].exp(), (-d[negative]).exp()
        gap = (wp / wp.sum() * d[positive]).sum() - (wn / wn.sum() * d[negative]).sum()
        total += (1 + gap.exp()).log()
    assert torch.allclose(
        weighted_triplet(features, labels).double(), total / 6, atol=1e-3 if dtype == torch.bfloat16 else 1e-5
    )
    with pytest.raises(ValueError, match="two identities"):
        weighted_triplet(features, torch.zeros(6))


def test_gem_is_between_mean_and_maximum() -> None:
    layer, x = GeM(), torch.rand(2, 3, 4, 2) + 0.1
    layer.p.data.fill_(1.0)
    assert torch.allclose(layer(x), x.mean(dim=(2, 3)))
    layer.p.data.fill_(60.0)
    assert torch.allclose(layer(x), x.amax(dim=(2, 3)), rtol=0.06)
    layer.p.data.fill_(3.0)
    assert torch.allclose(layer(x), x.pow(3).mean(dim=(2, 3)).pow(1 / 3))


def test_attention_begins_as_the_identity_and_then_follows_its_formula() -> None:
    layer, x = NonLocal(4).double(), torch.randn(2, 4, 3, 2, dtype=torch.float64)
    assert torch.equal(layer(x), x)
    nn.init.ones_(layer.out[1].weight)
    layer.eval()
    theta, phi, g = layer.theta(x).flatten(2), layer.phi(x).flatten(2), layer.g(x).flatten(2)
    y = torch.zeros(2, 2, 6, dtype=torch.float64)
    for b in range(2):
        for i in range(6):
            for j in range(6):
                y[b, :, i] += (theta[b, :, i] @ phi[b, :, j]) * g[b, :, j] / 6
    assert torch.allclose(layer(x), x + layer.out(y.unflatten(2, (3, 2))))


@pytest.mark.parametrize("ptl", [False, True])
def test_mgn_s_eight_features(ptl: bool) -> None:
    trunk = MgnTrunk(ptl).eval()
    seen: list[Tensor] = []
    for reduction in trunk.reduce.children():
        reduction.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    ends: list[Tensor] = []
    for branch in trunk.branches.children():
        branch.register_forward_hook(lambda _, __, output: ends.append(output))
    with torch.no_grad():
        assert trunk(torch.randn(1, 3, 192, 64)).shape == (1, 2048, 1, 1)
    assert [e.shape[2:] for e in ends] == [(6, 2), (12, 4), (12, 4)]
    assert seen[0].shape[1] == 2048 + 128 * ptl
    halves, thirds = ends[1], ends[2]
    for i, rows in enumerate((slice(0, 6), slice(6, 12))):
        assert torch.equal(seen[3 + i][:, :2048], halves[:, :, rows].amax(dim=(2, 3), keepdim=True))
    for i, rows in enumerate((slice(0, 4), slice(4, 8), slice(8, 12))):
        assert torch.equal(seen[5 + i][:, :2048], thirds[:, :, rows].amax(dim=(2, 3), keepdim=True))


def test_densenet_161_and_its_cells_by_their_counts() -> None:
    trunk = DenseNetTrunk(ptl=True)
    assert count(DenseNetTrunk()) == 26_472_000
    assert round(count(trunk) / 1e6) == 42  # the paper's count, whose classifier is a small part of it
    with torch.no_grad():
        assert trunk.eval()(torch.randn(1, 3, 64, 32)).shape == (1, 2208, 4, 2)


@pytest.mark.parametrize("variant", ["ibn", "dualnorm", "snr", "agw"])
def test_imagenet_weights_load_around_what_was_added(variant: str) -> None:
    state = torchvision.models.resnet50(weights=None).state_dict()
    trunk = ResNetTrunk(variant=variant)
    load_imagenet(trunk, state)
    assert torch.equal(trunk.layer3[5].conv3.weight, state["layer3.5.conv3.weight"])
    del state["layer2.1.conv1.weight"]
    with pytest.raises(RuntimeError, match=r"layer2\.1\.conv1"):
        load_imagenet(trunk, state)


def test_imagenet_weights_reach_every_branch_of_mgn() -> None:
    state = torchvision.models.resnet50(weights=None).state_dict()
    trunk = MgnTrunk(True)
    load_imagenet(trunk, state)
    for branch in trunk.branches.children():
        assert isinstance(branch, nn.Sequential)
        assert torch.equal(branch[0].conv1.weight, state["layer3.1.conv1.weight"])
        assert torch.equal(branch[5][2].conv3.weight, state["layer4.2.conv3.weight"])


@pytest.mark.parametrize(
    ("recipe", "setting", "sentence"),
    [
        ("mgn", "model.ssl_heads=true", "ssl_heads"),
        ("mgn", "model.height=128", "multiple of 96"),
        ("mgn", "losses.centre=0.1", "losses.centre"),
        ("mgn", "model={arch: resnet18, height: 64, width: 32, ssl_heads: false}", "mgn-ptl"),
        ("heads", "model.ssl_heads=false", "ssl_heads"),
        ("heads", "model.arch=resnet18", "start"),
        ("m3l", "model.neck=false", "neck"),
    ],
)
def test_what_does_not_go_together_is_refused(recipe: str, setting: str, sentence: str) -> None:
    def begin() -> None:
        chosen = load_recipe(recipe, [setting])
        METHODS[chosen.method](chosen, build(chosen.model), [4, 4], 2)

    with pytest.raises(RecipeError, match=sentence):
        begin()
