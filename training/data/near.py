"""Pictures that are nearly the same: encoded again, resized, or cut by a pixel. They are told by thumbnails.

Candidates are neighbours in sorted lists of a hash, so 100,000 pictures take seconds and not their square.
"""

from __future__ import annotations

import numpy as np

from reid.images import Crop, resize

_HEIGHT, _WIDTH = 16, 8
# Mean difference of two thumbnails in levels of 0..255. The same crop as a JPEG of quality 20 differs by up
# to 2, cut by a pixel at each side by up to 2.3; the nearest two of the rendered people's pictures by 15.
NEAR = 3.0
# Levels: a smaller step between two columns counts as none, so that flat areas have no noise in their hash.
_STEP = 2
_WORDS = 8  # of a hash, 16 bits each; so many lists are sorted, each by another word first
_NEIGHBOURS = 8  # that are compared at each side, in each list
_CHUNK = 4096  # pictures that are compared at once


def thumbnail(crop: Crop) -> np.ndarray:
    """uint8 [384]: the picture at 16x8 pixels."""
    return resize(crop, _HEIGHT, _WIDTH).ravel()


def near_pairs(first: np.ndarray, second: np.ndarray) -> list[tuple[float, int, int]]:
    """Pairs (difference, row of `first`, row of `second`) of nearly equal pictures, the most alike first.

    Of many that are all nearly equal, only some pairs are seen.

    Args:
        first: uint8 [A,384], thumbnails of one part of a dataset.
        second: uint8 [B,384], those of another.
    """
    if not len(first) or not len(second):
        return []
    words, others = _hashes(first), _hashes(second)
    seen: dict[tuple[int, int], float] = {}
    for lead in range(_WORDS):
        keys, other_keys = _keys(words, lead), _keys(others, lead)
        order = np.argsort(other_keys, kind="stable")
        places = np.searchsorted(other_keys[order], keys)
        for offset in range(-_NEIGHBOURS, _NEIGHBOURS):
            columns = order[np.clip(places + offset, 0, len(order) - 1)]
            for row, difference in _near(first, second, columns):
                seen[row, int(columns[row])] = difference
    return sorted((difference, a, b) for (a, b), difference in seen.items())


def _near(first: np.ndarray, second: np.ndarray, columns: np.ndarray) -> list[tuple[int, float]]:
    """(row, difference) of each row of `first` that is nearly `second[columns[row]]`."""
    pairs = []
    for start in range(0, len(first), _CHUNK):
        rows = slice(start, start + _CHUNK)
        a, b = first[rows], second[columns[rows]]
        differences = (np.maximum(a, b) - np.minimum(a, b)).mean(axis=1)
        pairs += [(start + int(row), float(differences[row])) for row in np.flatnonzero(differences <= NEAR)]
    return pairs


def _hashes(thumbnails: np.ndarray) -> np.ndarray:
    """uint16 [N,8]: a bit for each pixel, set where it is lighter than its neighbour at the right."""
    grey = thumbnails.reshape(-1, _HEIGHT, _WIDTH, 3).sum(axis=3, dtype=np.int16)
    bits = grey - np.roll(grey, -1, axis=2) > 3 * _STEP  # [N,16,8]
    return np.packbits(bits.reshape(len(bits), -1), axis=1).view(np.uint16)


def _keys(words: np.ndarray, lead: int) -> np.ndarray:
    """uint64 [N]: four words of each hash, that of number `lead` first."""
    keys = np.zeros(len(words), np.uint64)
    for number in range(4):
        keys = keys << np.uint64(16) | words[:, (lead + number) % _WORDS].astype(np.uint64)
    return keys
