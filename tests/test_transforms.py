"""Augmentation, draw by draw: what is flipped, where a padded crop is cut, what is erased."""

from collections import Counter

import numpy as np
import pytest

from training.data.loader import TrainingLoader
from training.data.transforms import Augmentation

HEIGHT, WIDTH = 24, 12
MEAN_PIXEL = (124, 116, 104)  # RGB; what erasing paints


def draws(augment: Augmentation, crop: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """uint8 [count,H,W,3]."""
    rng = np.random.default_rng(seed)
    return np.stack([augment(crop, rng, MEAN_PIXEL) for _ in range(count)])


def marked() -> np.ndarray:
    """A crop without black, every pixel another colour."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([rows + 1, columns + 1, np.full_like(rows, 200)], -1).astype(np.uint8)


def test_a_padded_crop_is_cut_at_every_offset_and_both_ways_alone() -> None:
    crop, pad = marked(), 2
    moves: Counter[tuple[int, int]] = Counter()
    for drawn in draws(Augmentation(flip=0, pad=pad, erase=0), crop, 2000):
        y, x = np.argwhere((drawn != 0).all(-1))[0]  # the first pixel that is no padding
        moves[int(drawn[y, x, 0]) - 1 - int(y), int(drawn[y, x, 1]) - 1 - int(x)] += 1
        padded = np.pad(crop, ((pad, pad), (pad, pad), (0, 0)))
        top, left = int(drawn[y, x, 0]) - 1 - int(y) + pad, int(drawn[y, x, 1]) - 1 - int(x) + pad
        assert np.array_equal(drawn, padded[top : top + HEIGHT, left : left + WIDTH])
    assert set(moves) == {(top, left) for top in range(-pad, pad + 1) for left in range(-pad, pad + 1)}
    assert max(moves.values()) < 3 * min(moves.values())  # 80 of each are expected


def test_without_padding_nothing_moves() -> None:
    crop = marked()
    assert (draws(Augmentation(flip=0, pad=0, erase=0), crop, 20) == crop).all()


@pytest.mark.parametrize(("chance", "low", "high"), [(0.0, 0, 0), (0.3, 240, 360), (1.0, 1000, 1000)])
def test_as_many_crops_are_flipped_as_the_recipe_says(chance: float, low: int, high: int) -> None:
    crop = marked()
    flipped = 0
    for drawn in draws(Augmentation(flip=chance, pad=0, erase=0), crop, 1000):
        mirrored = np.array_equal(drawn, crop[:, ::-1])
        assert mirrored or np.array_equal(drawn, crop)
        flipped += mirrored
    assert low <= flipped <= high


@pytest.mark.parametrize(("chance", "low", "high"), [(0.0, 0, 0), (0.3, 240, 360), (1.0, 1000, 1000)])
def test_as_many_crops_are_erased_as_the_recipe_says(chance: float, low: int, high: int) -> None:
    drawn = draws(Augmentation(flip=0, pad=0, erase=chance), marked(), 1000)
    assert low <= (drawn == MEAN_PIXEL).all(-1).any((1, 2)).sum() <= high


def test_what_is_erased_is_one_rectangle_of_the_mean_colour_within_its_bounds_and_anywhere() -> None:
    crop = np.zeros((64, 32, 3), np.uint8)
    areas, aspects, places = [], [], np.zeros((64, 32), int)
    for drawn in draws(Augmentation(flip=0, pad=0, erase=1, erase_area=(0.05, 0.3)), crop, 600):
        erased = (drawn == MEAN_PIXEL).all(-1)
        assert (drawn[~erased] == 0).all()
        rows, columns = np.flatnonzero(erased.any(1)), np.flatnonzero(erased.any(0))
        height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
        assert erased.sum() == height * width  # whole
        areas.append(height * width / erased.size)
        aspects.append(height / width)
        places += erased
    rounding = 0.03  # sides are whole pixels
    assert 0.05 - rounding < min(areas) < 0.07 and 0.26 < max(areas) < 0.3 + rounding
    assert 0.3 * 0.8 < min(aspects) < 0.45 and 2.2 < max(aspects) < 1 / 0.3 * 1.25
    assert places.any(0).all() and places.any(1).all()  # up to every edge
    assert abs(np.argwhere(places).mean(0) - [31.5, 15.5]).max() < 1


def test_the_crop_that_comes_in_is_never_changed() -> None:
    crop = marked()
    before = crop.copy()
    for drawn in draws(Augmentation(), crop, 50):
        assert drawn.shape == crop.shape and drawn.dtype == np.uint8 and drawn.flags.c_contiguous
        drawn[:] = 0
    assert np.array_equal(crop, before)


def test_draws_depend_on_seed_epoch_batch_and_place_and_on_nothing_else() -> None:
    crops = np.stack([marked()] * 8)

    def batches(seed: int, epoch: int, skip: int = 0) -> list[np.ndarray]:
        loader = TrainingLoader(crops, [0] * 8, [0] * 8, [0] * 8, Augmentation(), seed, MEAN_PIXEL)
        return [b[0].crops.numpy() for b in loader.epoch(epoch, [[0, 1, 2, 3], [4, 5, 6, 7]], skip=skip)]

    first = batches(1, 1)
    assert all(np.array_equal(a, b) for a, b in zip(first, batches(1, 1), strict=True))
    assert np.array_equal(batches(1, 1, skip=1)[0], first[1])  # a resumed epoch draws the same
    others = [batches(2, 1)[0], batches(1, 2)[0], first[1]]
    assert not any(np.array_equal(first[0], other) for other in others)
    assert len({crop.tobytes() for crop in first[0]}) > 1
