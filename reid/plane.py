"""A map of crops: the plane in which they differ most, and where each lies in it. No torch."""

from __future__ import annotations

import numpy as np

_BLOCK = 12  # directions that are followed; the two first settle the sooner the more there are
_ROUNDS = 40


def plane_of(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32 [N,2]: places on the two axes along which crops differ most (PCA), and float32 [2]: the share
    of all differences that each axis holds; the first holds more.

    The same vectors have the same places: an axis points to where the crop farthest from the middle lies.

    Args:
        vectors: float32 [N,D], unit length, as they are compared.
    """
    if len(vectors) < 2:
        return np.zeros((len(vectors), 2), np.float32), np.zeros(2, np.float32)
    centred = vectors - vectors.mean(axis=0)  # [N,D]
    total = float(np.square(centred).sum())
    if total < 1e-9:  # copies of one crop
        return np.zeros((len(vectors), 2), np.float32), np.zeros(2, np.float32)
    # Subspace iteration: all axes of 2,000 crops take many seconds, the first two a fraction of one.
    wanted = min(_BLOCK, *centred.shape)
    basis = np.random.default_rng(0).standard_normal((centred.shape[1], wanted)).astype(np.float32)
    for _ in range(_ROUNDS):
        basis, _ = np.linalg.qr(centred.T @ (centred @ basis))  # [D,wanted]
    _, _, axes = np.linalg.svd(centred @ basis, full_matrices=False)  # [wanted,wanted]
    places = np.zeros((len(vectors), 2), np.float32)
    found = (centred @ (basis @ axes[:2].T)).astype(np.float32)  # [N,1 or 2]
    places[:, : found.shape[1]] = found
    for axis in places.T:
        if axis[np.argmax(np.abs(axis))] < 0:
            axis *= -1
    return places, (np.square(places).sum(axis=0) / total).astype(np.float32)
