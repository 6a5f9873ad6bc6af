"""M3L: oracles of methods A.10 (1 to 5), several domains, resume."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from reid.checkpoint import read_embedder
from reid.models.build import build
from reid.models.spec import ModelSpec
from training.data import read_dataset
from training.data.loader import Batch
from training.data.records import Dataset, Record, join
from training.data.sampler import DomainSampler
from training.loop import Run
from training.methods.m3l import M3L, inner_adam
from training.methods.memory import Memory
from training.methods.metabn import MetaBatchNorm
from training.recipe import RecipeError, load_recipe
from training.synthetic.drawn import draw_sites

SMALL = [
    "precision=32-true",
    "model.arch=resnet18",
    "model.height=64",
    "model.width=32",
    "batch_identities=2",
    "batch_crops=2",
]


@pytest.mark.parametrize(
    ("gradient", "step"),
    [
        (1e-6, 1.106794e-07),
        (1e-4, 1.106241e-05),
        (1e-3, 1.055287e-04),
        (1e-2, 3.337116e-04),
        (1.0, 3.499982e-04),
    ],
)
def test_inner_step_by_hand(gradient: float, step: float) -> None:
    moved = inner_adam(
        {"p": torch.zeros(1, dtype=torch.float64)},
        (torch.tensor([gradient], dtype=torch.float64),),
        3.5e-4,
        0.0,
        "full",
    )
    assert -moved["p"].item() == pytest.approx(step, rel=1e-6)


@pytest.mark.parametrize("mode", ["full", "second_order_only", "first_order"])
def test_what_reaches_theta_through_the_inner_step(mode: str) -> None:
    """L_mtr = theta' A theta / 2, L_mte = |theta' - b|^2 / 2: the derivative in closed form."""
    a, b = (
        torch.tensor([[0.03, 0.01], [0.01, 0.02]], dtype=torch.float64),
        torch.tensor([0.4, -0.3], dtype=torch.float64),
    )
    theta = torch.tensor([0.2, -0.1], dtype=torch.float64, requires_grad=True)
    rate, decay = 0.01, 5e-2
    (g,) = torch.autograd.grad(theta @ a @ theta / 2, theta, create_graph=True)
    moved = inner_adam({"theta": theta}, (g,), rate, decay, mode)["theta"]
    ((moved - b).square().sum() / 2).backward()
    total = (a @ theta + decay * theta).detach()
    root = (total.square() + 1e-5).sqrt()
    slope = torch.diag(rate * (root + 1e-8 - total.square() / root) / (root + 1e-8).square())
    v, one = (moved - b).detach(), torch.eye(2, dtype=torch.float64)
    expected = {
        "full": (one - (a + decay * one).T @ slope) @ v,
        "second_order_only": -a.T @ slope @ v,
        "first_order": v,
    }[mode]
    assert theta.grad is not None
    assert torch.allclose(theta.grad, expected, atol=1e-12)


def method(*settings: str, domains: int = 3) -> M3L:
    """An untrained M3L over some domains of four identities."""
    recipe = load_recipe("m3l", [*SMALL, "model.ssl_heads=false", *settings])
    torch.manual_seed(0)
    made = M3L(recipe, build(recipe.model), [4] * domains, 1)
    made.optimisers()
    return made.train()


def batch(domains: int = 3) -> Batch:
    """Two identities with two crops of each domain."""
    rng = np.random.default_rng(0)
    labels = [4 * d + i for d in range(domains) for i in (0, 0, 1, 1)]
    crops = rng.integers(0, 255, (len(labels), 64, 32, 3), np.uint8)
    columns = (labels, [0] * len(labels), [label // 4 for label in labels], range(len(labels)))
    return Batch(torch.from_numpy(crops), *(torch.tensor(c) for c in columns))


def test_the_copy_does_not_touch_running_statistics() -> None:
    m3l, some = method(), batch()
    torch.stack(list(m3l(some).values())).sum().backward()
    m3l.after_step(some)
    for layer in (m3l.pixels.embedder.trunk.bn1, m3l.pixels.embedder.neck):
        assert (
            layer.num_batches_tracked == 5
        )  # two meta-train forwards and three for the memories; the meta-test one is the copy's


@pytest.mark.parametrize("mode", ["full", "second_order_only", "first_order"])
@pytest.mark.parametrize("metabn", ["true", "false"])
def test_every_mode_gives_every_parameter_a_gradient(mode: str, metabn: str) -> None:
    m3l = method(f"meta.inner_grad={mode}", f"meta.metabn={metabn}")
    torch.stack(list(m3l(batch()).values())).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in m3l.parameters())


@pytest.mark.parametrize("arch", ["resnet50-dcsd", "resnet50-ptl"])
def test_it_trains_the_other_networks_too(arch: str) -> None:
    m3l = method(f"model.arch={arch}", domains=2)
    torch.stack(list(m3l(batch(domains=2)).values())).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in m3l.parameters())


def test_the_baseline_has_one_loss_over_all_domains() -> None:
    m3l, some = method("meta.enabled=false"), batch()
    (name,) = losses = m3l(some)
    expected = []
    for d in range(3):
        own = some.domains == d
        output = m3l.net(m3l.pixels.normalise(some.crops[own]))
        expected.append(m3l._loss(output, some.labels[own], d))
    assert torch.allclose(losses[name], torch.stack(expected).mean(), atol=1e-5)


def test_metabn_is_batchnorm_but_for_its_mixtures() -> None:
    torch.manual_seed(0)
    layer, plain = MetaBatchNorm(8, slots=2), torch.nn.BatchNorm1d(8)
    assert list(layer.state_dict()) == list(plain.state_dict())
    x, y = torch.randn(6, 8) * 3 + 1, torch.randn(6, 8)
    layer.remember(x, 0)
    layer.remember(y, 1)
    assert torch.allclose(layer.slot_mean[0], x.mean(0)) and torch.allclose(
        layer.slot_var[0], x.var(0, unbiased=False)
    )
    assert torch.equal(layer(x), plain(x))
    before = layer.running_mean.clone()
    outputs = layer.sample(y, share=torch.tensor(1.0))
    assert len(outputs) == 2 and torch.allclose(
        outputs[0], F.batch_norm(y, None, None, training=True), atol=1e-6
    )
    assert torch.equal(layer.running_mean, before)
    torch.manual_seed(1)
    noise = layer.sample(x, share=torch.tensor(0.0))
    torch.manual_seed(1)
    assert all(
        torch.allclose(a, b) for a, b in zip(noise, layer.sample(y, share=torch.tensor(0.0)), strict=True)
    )
    assert torch.equal(layer.eval()(x), plain.eval()(x))


@pytest.mark.parametrize(("scale", "power"), [("std", 1), ("variance", 2)])
def test_the_noise_has_the_slot_s_moments(scale: str, power: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer = MetaBatchNorm(1, slots=1, scale=scale)
    layer.slot_mean.fill_(5.0)
    layer.slot_var.fill_(9.0)
    layer.weight.data.fill_(1.0)
    monkeypatch.setattr(F, "batch_norm", lambda x, *rest, **named: x)  # what would be normalised
    (noise,) = layer.sample(torch.zeros(200_000, 1), share=torch.tensor(0.0))
    assert noise.mean().item() == pytest.approx(5.0, abs=0.1)
    assert noise.std().item() == pytest.approx(3.0**power, rel=0.02)


def test_memory_by_loops() -> None:
    torch.manual_seed(0)
    embeddings, labels = F.normalize(torch.randn(8, 5)), torch.tensor([3, 3, 3, 3, 5, 5, 5, 5])
    memory = Memory([3, 4], 5, 0.2, 0.05, "mean")
    memory.fill(F.normalize(torch.randn(14, 5)), torch.arange(14) % 7)
    before = memory.vectors.clone()
    logits = embeddings @ before[3:7].T / 0.05
    loops = torch.stack(
        [-torch.log_softmax(row, 0)[label - 3] for row, label in zip(logits, labels, strict=True)]
    ).mean()
    assert torch.allclose(memory(embeddings, labels, 1), loops)
    memory.update(embeddings, labels)
    for label in range(7):
        own = embeddings[labels == label]
        expected = F.normalize(0.2 * before[label] + 0.8 * own.mean(0), dim=0) if len(own) else before[label]
        assert torch.allclose(memory.vectors[label], expected, atol=1e-6)


@pytest.mark.parametrize(("rule", "same"), [("mean", True), ("sequential", False)])
def test_the_order_of_crops_matters_to_the_official_code_only(rule: str, same: bool) -> None:
    torch.manual_seed(0)
    embeddings, labels, found = F.normalize(torch.randn(4, 5)), torch.zeros(4, dtype=torch.long), []
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        memory = Memory([1], 5, 0.2, 0.05, rule)
        memory.update(embeddings[order], labels)
        assert memory.vectors.norm(dim=1).item() == pytest.approx(1.0, abs=1e-6)
        found.append(memory.vectors)
    assert torch.allclose(*found, atol=1e-6) == same


def test_a_batch_holds_a_batch_of_every_domain() -> None:
    labels = [i // 5 for i in range(60)]  # 12 identities: 8 in the first domain, 4 in the second
    domains = [0 if label < 8 else 1 for label in labels]
    sampler = DomainSampler(labels, [0] * 60, domains, p=2, k=2, seed=0)
    batches = list(sampler.batches(1))
    assert len(batches) == len(sampler) == 8
    for found in batches:
        assert [domains[i] for i in found] == [0] * 4 + [1] * 4
        assert set(Counter(labels[i] for i in found).values()) == {2}
    assert batches == list(sampler.batches(1)) != list(sampler.batches(2))


def test_joined_datasets_share_nothing(tmp_path: Path) -> None:
    one = Dataset("one", [Record(Path("a"), 7, 0), Record(Path("b"), 9, 2)], [], [])
    two = Dataset("two", [Record(Path("c"), 7, 0)], [], [])
    both = join([one, two])
    assert both.train_labels() == [0, 1, 2] and both.identities() == [2, 1]
    assert [r.camid for r in both.train] == [0, 2, 3] and both.name == "one+two"
    draw_sites(tmp_path, 2, identities=2, cameras=2, images=2)
    assert read_dataset("folders:site-0+folders:site-1", tmp_path).identities() == [2, 2]


def test_one_domain_is_refused() -> None:
    with pytest.raises(RecipeError, match="at least two domains"):
        M3L(load_recipe("m3l"), build(ModelSpec("resnet18", 96, 48)), [5], 1)


def test_a_resumed_run_is_the_run_that_never_stopped(tmp_path: Path) -> None:
    dataset = join(draw_sites(tmp_path / "drawn", 3, identities=4, cameras=2, images=2))
    dataset = dataclasses.replace(dataset, train=dataset.train[::2])  # two steps an epoch
    recipe = load_recipe("m3l", [*SMALL, "model.ssl_heads=false", "optimiser.epochs=1"])
    Run(recipe, dataset, tmp_path / "whole").fit()
    while (run := Run(recipe, dataset, tmp_path / "pieces")).epoch <= 1:
        run.fit(max_steps=1)
    whole, pieces = (read_embedder(tmp_path / name)[0].state_dict() for name in ("whole", "pieces"))
    assert all(torch.equal(whole[name], pieces[name]) for name in whole)
