"""Tier 3: groups of crops that look like one person, the loss that draws them together, and what changes."""

import numpy as np
import pytest
import torch

from reid.adaptation.bnta import AdaptationError
from reid.adaptation.groups import Groups, Means, adapt_by_groups, groups_of, proxy_loss
from reid.models.build import batchnorm_layers, build
from reid.models.spec import ModelSpec
from reid.reranking import jaccard_distances

SPEC = ModelSpec("resnet18", 96, 48)


def unit(vectors: np.ndarray) -> np.ndarray:
    """float32 [N,D], unit length."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def crops_of_people(rng: np.random.Generator, people: int, each: int) -> tuple[np.ndarray, list[str | None]]:
    """uint8 [people * each,96,48,3] in two colours a person, and the camera of each, of two."""
    crops: list[np.ndarray] = []
    cameras: list[str | None] = []
    for _ in range(people):
        upper, lower = rng.integers(0, 256, (2, 3))
        for number in range(each):
            crop = np.empty((96, 48, 3))
            crop[:48], crop[48:] = upper, lower
            crops.append(np.clip(crop + rng.normal(0, 6, crop.shape), 0, 255).astype(np.uint8))
            cameras.append("ab"[number % 2])
    return np.stack(crops), cameras


def test_the_loss_agrees_with_loops(rng: np.random.Generator) -> None:
    vectors, means = unit(rng.normal(size=(5, 8))), unit(rng.normal(size=(7, 8)))
    groups, of_group = np.array([0, 1, 2, 0, 1]), np.array([0, 0, 1, 2, 2, 3, 4])
    settings = Groups(negatives=3, temperature=0.2)
    losses = []
    for vector, group in zip(vectors, groups, strict=True):
        others = sorted(np.exp(means[of_group != group] @ vector / 0.2), reverse=True)[:3]
        terms = []
        for mean in means[of_group == group]:
            likeness = np.exp(mean @ vector / 0.2)
            terms.append(-np.log(likeness / (likeness + sum(others))))
        losses.append(np.mean(terms))
    v, g, m, of = (torch.from_numpy(values) for values in (vectors, groups, means, of_group))
    assert proxy_loss(v, g, m, of, settings).item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_loss_falls_as_a_crop_comes_nearer_to_its_group_at_every_camera() -> None:
    means = torch.eye(4)[:3]
    of_group = torch.tensor([0, 0, 1])
    near = torch.tensor([[0.7, 0.7, 0.1, 0.1]])
    far = torch.tensor([[0.1, 0.1, 0.7, 0.7]])
    one_sided = torch.tensor([[1.0, 0.0, 0.1, 0.1]])
    values = [
        proxy_loss(torch.nn.functional.normalize(vector), torch.tensor([0]), means, of_group, Groups()).item()
        for vector in (near, one_sided, far)
    ]
    assert values == sorted(values)


def test_people_far_apart_are_a_group_each_and_a_lonely_crop_is_in_none(rng: np.random.Generator) -> None:
    people = np.repeat(unit(rng.normal(size=(6, 32))), 5, axis=0)
    crops = unit(np.concatenate([people + 0.05 * rng.normal(size=people.shape), rng.normal(size=(1, 32))]))
    groups = groups_of(crops, Groups(neighbours=4, averaged=2))
    assert groups[-1] == -1
    for number in range(6):
        assert len(set(groups[5 * number : 5 * number + 5])) == 1
    assert len(set(groups[:-1])) == 6


def test_jaccard_distances_are_what_the_paper_computes(rng: np.random.Generator) -> None:
    vectors = unit(rng.normal(size=(30, 6)))
    k1 = 5
    distances = 2 - 2 * vectors @ vectors.T
    np.fill_diagonal(distances, -1)
    near = np.argsort(distances, axis=1, kind="stable")[:, : k1 + 1]
    half = near[:, : int(np.around(k1 / 2)) + 1]
    np.fill_diagonal(distances, 0)
    weights = np.zeros((30, 30))
    for i in range(30):
        mutual = {j for j in near[i] if i in near[j]}
        members = set(mutual)
        for j in mutual:
            candidate = {k for k in half[j] if j in half[k]}
            if 3 * len(candidate & mutual) > 2 * len(candidate):
                members |= candidate
        for j in members:
            weights[i, j] = np.exp(-distances[i, j] / distances[i].max())
        weights[i] /= weights[i].sum()
    overlap = np.minimum(weights[:, None], weights[None]).sum(2)
    np.testing.assert_allclose(jaccard_distances(vectors, k1, 1), 1 - overlap / (2 - overlap), atol=1e-5)


def test_each_group_has_a_mean_at_each_camera_that_saw_it() -> None:
    compared = np.eye(5, dtype=np.float32)
    means = Means.of(compared, np.array([0, 0, 0, 1, -1]), np.array([0, 0, 1, 1, 0]), torch.device("cpu"))
    assert means.group.tolist() == [0, 0, 1]
    assert means.of_crop.tolist() == [0, 0, 1, 2, -1]
    half = np.sqrt(0.5)
    expected = [[half, half, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0]]
    np.testing.assert_allclose(means.vectors.numpy(), expected, atol=1e-6)
    means.move(np.array([2]), torch.tensor([[0.0, 0, 0, 0, 1]]), 0.2)
    moved = unit(np.array([[0, 0, 0.8, 0, 0.2]]))[0]
    np.testing.assert_allclose(means.vectors[1].numpy(), moved, atol=1e-6)
    np.testing.assert_allclose(means.vectors[0].numpy(), expected[0], atol=1e-6)


def test_only_scale_and_shift_of_batchnorm_learn_and_the_seed_decides(rng: np.random.Generator) -> None:
    crops, cameras = crops_of_people(rng, 8, 4)
    settings = Groups(epochs=1, groups=4, neighbours=4, averaged=2, reach=0.7)
    torch.manual_seed(0)
    model = build(SPEC).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    report = adapt_by_groups(model, crops, cameras, settings)
    assert report.groups[0] >= 2
    assert report.across[0] >= 1
    assert not model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    learn = {f"{name}.{kind}" for name in batchnorm_layers(model) for kind in ("weight", "bias")}
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed <= learn
    assert len(changed) > len(learn) / 2
    once = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(before)
    adapt_by_groups(model, crops, cameras, settings)
    assert all(torch.allclose(value, once[name], atol=1e-6) for name, value in model.state_dict().items())


def test_crops_in_which_nobody_comes_back_are_refused(rng: np.random.Generator) -> None:
    model = build(SPEC).eval()
    with pytest.raises(AdaptationError, match="at least 16 crops, got 15"):
        adapt_by_groups(model, np.zeros((15, 96, 48, 3), np.uint8), ["a"] * 15)
    with pytest.raises(AdaptationError, match="no two people who were seen often enough"):
        adapt_by_groups(model, np.zeros((20, 96, 48, 3), np.uint8), ["a"] * 20)
