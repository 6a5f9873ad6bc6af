"""Losses against hand-computed values (methods A.10) and explicit loops."""

import numpy as np
import pytest
import torch

from reid.adaptation.losses import matching_loss, position_loss
from reid.models.build import build
from training.data.loader import Batch
from training.losses import CentreLoss, ProxyLoss, batch_hard_triplet
from training.methods.bot import BagOfTricks
from training.recipe import load_recipe
from training.schedule import learning_rate


def test_label_smoothing_is_torchs() -> None:
    logits, label = torch.tensor([[2.0, 0, -1, 0.5, 1]]), torch.tensor([0])
    assert torch.nn.CrossEntropyLoss(label_smoothing=0.1)(logits, label).item() == pytest.approx(
        0.72443789, abs=1e-6
    )


def test_batch_hard_triplet_by_hand() -> None:
    points = torch.tensor([[0.0, 0], [0, 1], [3, 0], [3, 2]])
    labels = torch.tensor([0, 0, 1, 1])
    assert batch_hard_triplet(points, labels, 0.3).item() == pytest.approx(0.0, abs=1e-6)
    # nearest positives are 1, 1, 2, 2 away, nearest negatives 3, 3.1623, 3, 3.1623
    assert batch_hard_triplet(points, labels, 2.5).item() == pytest.approx(
        np.mean([0.5, 0.3377, 1.5, 1.3377]), abs=1e-3
    )


def test_centre_loss_and_its_step_by_hand() -> None:
    loss = CentreLoss(2, 2)
    with torch.no_grad():
        loss.centres.copy_(torch.tensor([[0.0, 0], [1, 1]]))
    value = 0.01 * loss(torch.tensor([[1.0, 2], [3, 0]]), torch.tensor([0, 1]))
    assert value.item() / 0.01 == pytest.approx(5.0)
    value.backward()
    loss.undo_weight(0.01)  # the centres must not feel the weight of the loss
    torch.optim.SGD(loss.parameters(), lr=0.5).step()
    assert torch.allclose(loss.centres, torch.tensor([[0.5, 1], [2, 0.5]]))


@pytest.mark.parametrize("hardest", [0, 1, 3, 8, 20])
def test_proxy_loss_agrees_with_loops(hardest: int) -> None:
    torch.manual_seed(hardest)
    loss = ProxyLoss(9, 5, hardest, 0.1)
    features, labels = torch.randn(7, 5, requires_grad=True), torch.tensor([0, 0, 3, 8, 8, 8, 1])
    vectors, total = loss.proxies.detach().double(), 0.0
    for feature, label in zip(features.detach().double(), labels.tolist(), strict=True):
        cosines = [float(feature @ v / feature.norm() / v.norm()) for v in vectors]
        wrong = sorted((c for i, c in enumerate(cosines) if i != label), reverse=True)
        kept = [cosines[label], *(wrong[:hardest] if hardest else wrong)]
        total -= np.log(np.exp(cosines[label] / 0.1) / np.exp(np.array(kept) / 0.1).sum())
    value = loss(features, labels)
    assert value.item() == pytest.approx(total / 7, rel=1e-5)
    value.backward()
    moved = loss.proxies.grad.norm(dim=1) > 0
    assert moved[labels].all() and (hardest != 1 or moved.sum() <= len(labels) + 4)


def test_a_recipe_with_a_weight_for_proxies_has_their_loss() -> None:
    settings = ["model.height=64", "model.width=32", "model.arch=resnet18", "model.ssl_heads=false"]
    recipe = load_recipe("bot", [*settings, "losses.proxy=0.5", "losses.centre=0"])
    method = BagOfTricks(recipe, build(recipe.model), [4], 1)
    labels = torch.tensor([0, 0, 3, 3])
    nothing = torch.zeros(4, dtype=torch.int64)
    crops = torch.randint(0, 256, (4, 64, 32, 3), dtype=torch.uint8)
    losses = method(Batch(crops, labels, nothing, nothing, nothing))
    assert method.proxies is not None
    features = method.pixels.embedder.features(method.pixels.normalise(crops)).after_neck
    assert losses["proxy"].item() == pytest.approx(0.5 * method.proxies(features, labels).item(), rel=1e-3)
    assert any(
        p is method.proxies.proxies
        for group in method.optimisers()["network"].param_groups
        for p in group["params"]
    )


def test_position_loss_is_a_sum_over_stripes() -> None:
    assert position_loss(torch.zeros(5, 6, 6)).item() == pytest.approx(6 * np.log(6), rel=1e-6)


def test_matching_loss_agrees_with_loops() -> None:
    torch.manual_seed(0)
    parts, stripe = torch.randn(8, 6, 5), torch.tensor([0, 5, 2, 2])
    total = 0.0
    for k in range(4):
        h = stripe[k]
        others = [(parts[k, h] - parts[q, h]).norm() for q in range(8) if q not in (k, k + 4)]
        total += max(0.0, float(0.3 + (parts[k, h] - parts[k + 4, h]).norm() - min(others)))
    assert matching_loss(parts, stripe, 0.3).item() == pytest.approx(total, rel=1e-5)


def test_warm_up_then_steps() -> None:
    rates = [learning_rate(epoch, 1.0, (40, 70), 0.1, 10, 0.01) for epoch in (1, 10, 40, 41, 71)]
    assert rates[0] < rates[1] <= 1.0
    assert rates[-1] == pytest.approx(0.01)
