"""What a foreign network expects of its input: order of channels, mean and deviation; given, or found out.

A network that is fed what it does not expect tells people apart less well. So each usual way is tried on
probe crops of people whose identity is known, and the one that ranks them best is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from reid.models.spec import IMAGENET_MEAN, IMAGENET_STD
from reid.ranking import rank_embeddings

Order = Literal["rgb", "bgr"]
RGB = tuple[float, float, float]
_IMAGENET: tuple[RGB, RGB] = (
    (255 * IMAGENET_MEAN[0], 255 * IMAGENET_MEAN[1], 255 * IMAGENET_MEAN[2]),
    (255 * IMAGENET_STD[0], 255 * IMAGENET_STD[1], 255 * IMAGENET_STD[2]),
)
_RESAMPLES, _FEW = 1000, 8
_SAME, _NEAR = 0.999, 1.0  # cosine of what is one way to a network; points of mAP that decide nothing


class Preprocessing(NamedTuple):
    """(pixel - mean) / std, then the order of channels."""

    order: Order
    mean: RGB = (0.0, 0.0, 0.0)  # of red, green and blue, on the scale of 0..255
    std: RGB = (1.0, 1.0, 1.0)

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """uint8 [B,H,W,3] RGB -> float32 [B,3,H,W]."""
        values = ((crops - np.array(self.mean)) / np.array(self.std)).astype(np.float32)
        ordered = values[..., ::-1] if self.order == "bgr" else values
        return np.ascontiguousarray(ordered.transpose(0, 3, 1, 2))

    def __str__(self) -> str:
        """As the options of the command line."""
        mean, std = (",".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        return f"--input {self.order} --mean {mean} --std {std}"


class Probes(NamedTuple):
    """Crops of people who are known."""

    crops: np.ndarray  # uint8 [N,H,W,3]
    identities: np.ndarray  # int [N]
    cameras: np.ndarray  # int [N]


class Judged(NamedTuple):
    """How well the probes are ranked with one way of preprocessing."""

    how: Preprocessing
    alike: int  # other ways that the network answers in the same way, since it normalises by itself
    mean_ap: float  # percent
    precisions: np.ndarray  # average precision of each query


class Choice(NamedTuple):
    """The way that ranks best, and how sure that is."""

    how: Preprocessing
    sure: float  # share of resampled probes on which it beats every way that is not near it
    judged: list[Judged]  # best first


def candidates(order: Order | None, mean: RGB | None, std: RGB | None) -> list[Preprocessing]:
    """The usual ways that agree with what is given, the plainest first."""
    scales = [(_even(0), _even(1)), (_even(0), _even(255)), (_even(127.5), _even(127.5)), _IMAGENET]
    if mean is not None or std is not None:
        scales = [(mean or _even(0), std or _even(1))]
    orders: Sequence[Order] = [order] if order else ["rgb", "bgr"]
    return [Preprocessing(each, *scale) for scale in scales for each in orders]


def _even(value: float) -> RGB:
    return value, value, value


def choose(
    embed: Callable[[np.ndarray], np.ndarray], probes: Probes, ways: list[Preprocessing], seed: int = 0
) -> Choice:
    """The way with the highest mAP on the probes; of those within a point of it, the plainest.

    Args:
        embed: float32 [B,3,H,W] -> float [B,D].
    """
    judged = []
    for how, alike in _told_apart(embed, probes.crops[:: max(1, len(probes.crops) // _FEW)], ways):
        judged.append(_judge(how, alike, _directions(embed(how(probes.crops))), probes))
    best = max(each.mean_ap for each in judged)
    near = [each for each in judged if each.mean_ap >= best - _NEAR]
    others = [each.precisions for each in judged if each.mean_ap < best - _NEAR]
    sure = _share_won(near[0].precisions, others, seed) if others else 1.0
    return Choice(near[0].how, sure, sorted(judged, key=lambda each: -each.mean_ap))


def _told_apart(
    embed: Callable[[np.ndarray], np.ndarray], crops: np.ndarray, ways: list[Preprocessing]
) -> list[tuple[Preprocessing, int]]:
    """The ways that the network tells apart, and how many others it takes for each of them."""
    apart: list[tuple[Preprocessing, np.ndarray, int]] = []
    for how in ways:
        found = _directions(embed(how(crops)))
        for place, (first, vectors, alike) in enumerate(apart):
            if float((found * vectors).sum(1).mean()) >= _SAME:
                apart[place] = (first, vectors, alike + 1)
                break
        else:
            apart.append((how, found, 0))
    return [(how, alike) for how, _, alike in apart]


def _judge(how: Preprocessing, alike: int, vectors: np.ndarray, probes: Probes) -> Judged:
    labels = (probes.identities, probes.identities, probes.cameras, probes.cameras)
    scores = rank_embeddings(vectors, vectors, *labels)
    return Judged(how, alike, 100 * scores.mean_ap, scores.per_query[:, 0])


def _share_won(chosen: np.ndarray, others: list[np.ndarray], seed: int) -> float:
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(chosen), (_RESAMPLES, len(chosen)))
    rivals = np.max([other[drawn].mean(1) for other in others], axis=0)
    return float((chosen[drawn].mean(1) > rivals).mean())


def _directions(vectors: np.ndarray) -> np.ndarray:
    flat = vectors.reshape(len(vectors), -1).astype(np.float32)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
