"""The tiers of adaptation, each beside a plain computation of the same."""

import dataclasses

import numpy as np
import pytest
import torch

from reid.adaptation.bnta import AdaptationError, Bnta, adapt
from reid.adaptation.centring import fit_centres
from reid.adaptation.overview import overview
from reid.adaptation.pairing import greedy_pairs, nearest_parts, only_across, without_camera_means
from reid.adaptation.people import person_weights
from reid.adaptation.sampling import held_out
from reid.adaptation.statistics import PRIOR, SHARE, Statistics, fit_statistics, mean_table
from reid.batchnorm import profile_from_model
from reid.bundle import Bundle
from reid.engines.pytorch import load_embedder
from reid.models.build import PixelEmbedder, batchnorm_layers
from reid.profile import Centres, Profile, mix_tables


@pytest.fixture
def crops(bundle: Bundle, rng: np.random.Generator) -> np.ndarray:
    """uint8 [80,H,W,3]: blocks of colour, darker at odd places."""
    height, width = bundle.manifest.height, bundle.manifest.width
    blocks = rng.integers(0, 255, (80, height // 8, width // 8, 3))
    dark = np.where(np.arange(80) % 2, 0.5, 1.0)[:, None, None, None]
    return np.clip(blocks.repeat(8, 1).repeat(8, 2) * dark, 0, 255).astype(np.uint8)


def test_statistics_are_those_that_torch_takes_in_training(bundle: Bundle, crops: np.ndarray) -> None:
    table = Statistics(bundle.onnx_model(), bundle.profile()).of(crops)
    network = load_embedder(bundle)
    for layer in batchnorm_layers(network).values():
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over batches
        layer.train()
    with torch.no_grad():
        for batch in np.array_split(crops, 2):  # 80 crops are two batches of at most 64
            PixelEmbedder(network)(torch.from_numpy(batch))
    twin = profile_from_model(bundle.base_id, network).site
    for name, values in table.items():
        if not name.startswith("heads."):  # which the graph lacks
            np.testing.assert_allclose(values, twin[name], rtol=1e-3, atol=1e-4 * np.abs(twin[name]).max())
    heads = [name for name in table if name.startswith("heads.")]
    assert heads
    for name in heads:
        np.testing.assert_array_equal(table[name], bundle.profile().site[name])


def test_a_camera_gets_its_own_statistics_mixed_with_the_source_by_its_people(
    bundle: Bundle, crops: np.ndarray, rng: np.random.Generator
) -> None:
    source = bundle.profile()
    statistics = Statistics(bundle.onnx_model(), source)
    cameras = ["a" if row % 2 else "b" for row in range(60)] + ["few"] * 10 + [None] * 10
    people = _different_people(rng, 80)
    profile = fit_statistics(statistics, source, crops, cameras, people)
    assert sorted(profile.cameras) == ["a", "b"]
    own = statistics.of(crops[1:60:2])
    expected = mix_tables(own, source.site, SHARE * 30 / (30 + PRIOR))
    for name, values in profile.cameras["a"].items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-4, atol=1e-5)
    for name, values in profile.site.items():
        both = np.stack([profile.cameras["a"][name], profile.cameras["b"][name]]).astype(np.float64)
        np.testing.assert_allclose(values[:3], both.mean(0)[:3], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(values[3], both[:, 3].mean(0) + both[:, 2].var(0), rtol=1e-3, atol=1e-5)
    profile.require_finite()


def test_without_enough_crops_of_any_camera_all_crops_make_the_sites_table(
    bundle: Bundle, crops: np.ndarray, rng: np.random.Generator
) -> None:
    source = bundle.profile()
    statistics = Statistics(bundle.onnx_model(), source)
    people = _different_people(rng, 20)
    profile = fit_statistics(statistics, source, crops[:20], [None] * 20, people)
    assert not profile.cameras
    expected = mix_tables(statistics.of(crops[:20]), source.site, SHARE * 20 / (20 + PRIOR))
    for name, values in profile.site.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-4, atol=1e-5)


def test_statistics_of_one_crop_are_refused(bundle: Bundle, crops: np.ndarray) -> None:
    with pytest.raises(ValueError, match="at least 2 crops, got 1"):
        Statistics(bundle.onnx_model(), bundle.profile()).of(crops[:1])


def test_many_crops_of_one_person_hardly_move_a_table(
    bundle: Bundle, crops: np.ndarray, rng: np.random.Generator
) -> None:
    source = bundle.profile()
    statistics = Statistics(bundle.onnx_model(), source)
    one_person = np.repeat(_different_people(rng, 1), 40, 0)
    profile = fit_statistics(statistics, source, crops[:40], ["a"] * 40, one_person)
    expected = mix_tables(statistics.of(crops[:40]), source.site, SHARE * 1 / (1 + PRIOR))
    for name, values in profile.cameras["a"].items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-4, atol=1e-5)


def test_the_mean_of_tables_is_that_of_their_populations_together(rng: np.random.Generator) -> None:
    samples = [rng.normal(mean, 1 + mean, (20_000, 3)) for mean in (0, 2)]
    tables = [{"n": np.stack([np.ones(3), np.zeros(3), s.mean(0), s.var(0)])} for s in samples]
    together = np.concatenate(samples)
    mean = mean_table(tables)["n"]
    np.testing.assert_allclose(mean[2], together.mean(0), atol=1e-5)
    np.testing.assert_allclose(mean[3], together.var(0), rtol=1e-4)


def _different_people(rng: np.random.Generator, count: int) -> np.ndarray:
    """float32 [N,400], unit length: in so many dimensions no two are alike."""
    vectors = rng.normal(size=(count, 400)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def test_centres_are_means_shrunk_to_the_sites_and_few_crops_have_none(rng: np.random.Generator) -> None:
    vectors = _different_people(rng, 100)
    cameras = ["a"] * 60 + ["b"] * 20 + ["few"] * 15 + [None] * 5
    centres = fit_centres(vectors, cameras, prior=20, site_prior=25)
    assert sorted(centres.cameras) == ["a", "b"]
    site = 0.8 * vectors.mean(0)
    np.testing.assert_allclose(centres.site, site, atol=1e-6)
    np.testing.assert_allclose(centres.cameras["a"], 0.75 * vectors[:60].mean(0) + 0.25 * site, atol=1e-6)
    with pytest.raises(ValueError, match="no embeddings"):
        fit_centres(vectors[:0], [])
    with pytest.raises(ValueError, match="100 embeddings with 99 cameras"):
        fit_centres(vectors, cameras[:-1])


def test_a_person_who_comes_again_and_again_counts_once_in_a_centre(rng: np.random.Generator) -> None:
    vectors = _different_people(rng, 40)
    guard = np.repeat(vectors[:1], 160, 0)
    centres = fit_centres(np.concatenate([vectors, guard]), ["a"] * 200, prior=40, site_prior=0)
    np.testing.assert_allclose(centres.cameras["a"], vectors.mean(0), atol=1e-6)
    alone = fit_centres(guard, ["a"] * 160, prior=63, site_prior=15)
    assert np.linalg.norm(alone.cameras["a"]) < 0.08  # one person is no reason to subtract anything


def test_of_a_camera_with_many_embeddings_some_stand_for_all(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = _different_people(rng, 60)
    counts: dict[str | None, int] = {"a": 600}
    centres = fit_centres(vectors, ["a"] * 60, counts, prior=200, site_prior=0)
    np.testing.assert_allclose(centres.cameras["a"], vectors.mean(0), atol=1e-6)
    monkeypatch.setattr("reid.adaptation.centring.MOST_OF_CAMERA", 30)
    half = fit_centres(vectors, ["a"] * 60, prior=0, site_prior=0)
    chosen = vectors[np.linspace(0, 59, 30).astype(int)]
    np.testing.assert_allclose(half.cameras["a"], chosen.mean(0), atol=1e-6)


def test_weights_of_people_are_one_over_their_crops(rng: np.random.Generator) -> None:
    vectors = _different_people(rng, 5)
    np.testing.assert_allclose(person_weights(vectors[[0, 1, 0, 2]]), [0.5, 1, 0.5, 1], atol=1e-6)


def test_the_overview_says_how_many_people_and_how_alike_cameras_are(rng: np.random.Generator) -> None:
    vectors = _different_people(rng, 9)
    vectors[3:5] = vectors[5]  # camera b sees one person three times, and two others
    cameras = ["a"] * 3 + ["b"] * 5 + [None]
    after = np.concatenate([vectors[:3], -vectors[3:]])
    seen = overview(vectors, vectors, after, cameras)
    assert seen is not None
    assert seen.people == {"a": pytest.approx(3), "b": pytest.approx(3), "": 1}
    assert seen.cameras == ["a", "b"]
    pairs = [vectors[i] @ vectors[j] for i in range(3, 8) for j in range(3, 8) if i != j]
    across = [vectors[i] @ vectors[j] for i in range(3) for j in range(3, 8)]
    np.testing.assert_allclose(seen.before[1, 1], np.mean(pairs), atol=1e-6)
    np.testing.assert_allclose(seen.before[0, 1], np.mean(across), atol=1e-6)
    np.testing.assert_allclose(seen.after[0, 1], -np.mean(across), atol=1e-6)
    assert overview(vectors, vectors, after * np.nan, cameras) is None


def test_a_camera_called_none_or_nothing_is_a_camera(rng: np.random.Generator) -> None:
    vectors = _different_people(rng, 60)
    centres = fit_centres(vectors, ["None"] * 20 + [""] * 20 + [None] * 20, prior=0)
    assert sorted(centres.cameras) == ["", "None"]
    np.testing.assert_allclose(centres.cameras[""], vectors[20:40].mean(0), atol=1e-6)


def test_embeddings_are_compared_from_the_centre_of_their_camera() -> None:
    centres = Centres(np.array([1.0, 0.0], np.float32), {"a": np.array([0.0, 1.0], np.float32)})
    vectors = np.array([[1, 1], [1, 1], [0, 1]], np.float32)
    compared = centres.compare(vectors, ["a", "unknown", "a"])
    # the second uses the site's centre; the third equals its own and stays as it was
    np.testing.assert_allclose(compared, [[1, 0], [0, 1], [0, 1]])
    np.testing.assert_allclose(centres.compare(vectors[:1], [None]), [[0, 1]])


def test_every_fourth_crop_of_a_camera_is_held_out() -> None:
    held, fit = held_out(["a", "b", "a", "a", "a", "b", "a", "b", "b"])
    assert list(held) == [4, 8]
    assert sorted([*held, *fit]) == list(range(9))


def test_pairs_across_cameras_never_join_one_camera(rng: np.random.Generator) -> None:
    parts = torch.from_numpy(rng.normal(size=(12, 6, 4)).astype(np.float32))
    cameras = ["a"] * 8 + ["b"] * 4
    distance, stripe = nearest_parts(without_camera_means(parts, cameras))
    pairs = greedy_pairs(only_across(distance, cameras), stripe)
    assert len(pairs.first) == 4
    for one, other in zip(pairs.first, pairs.second, strict=True):
        assert cameras[one] != cameras[other]
    moved = without_camera_means(parts, cameras)
    np.testing.assert_allclose(moved[:8].mean(0), np.zeros((6, 4)), atol=1e-6)


def test_pairs_across_cameras_need_two_cameras(bundle: Bundle, crops: np.ndarray) -> None:
    network = load_embedder(bundle)
    settings = Bnta(across_cameras=True)
    with pytest.raises(AdaptationError, match="no two crops come from different cameras"):
        adapt(network, crops[:16], settings, cameras=["a"] * 16)
    with pytest.raises(AdaptationError, match="need the camera"):
        adapt(network, crops[:16], settings)


def test_every_epoch_sees_every_pair(bundle: Bundle, crops: np.ndarray) -> None:
    once = adapt(load_embedder(bundle), crops[:16], Bnta(batch_pairs=4))
    twice = adapt(load_embedder(bundle), crops[:16], Bnta(batch_pairs=4, epochs=2))
    assert twice.steps == 2 * once.steps


def test_other_centres_keep_the_tables_id_and_survive_bytes(bundle: Bundle) -> None:
    base = bundle.profile()
    centred = base.with_centres(Centres(np.ones(4, np.float32), {"a/b": np.zeros(4, np.float32)}))
    assert centred.tables_id == base.tables_id == base.id
    assert centred.id != base.id
    read = Profile.from_bytes(centred.to_bytes())
    assert read.id == centred.id
    assert read.centres is not None
    np.testing.assert_array_equal(read.centres.cameras["a/b"], np.zeros(4))
    assert dataclasses.replace(read, centres=None).id == base.id
