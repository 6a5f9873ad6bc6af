"""How many different people some crops show, told by their embeddings. No torch.

What an adaptation learns of a camera is a mean over people. A person who comes back again and again, a wall
that a detector takes for a person, or one picture enrolled many times would make that mean their own. So a
group of crops that look like one person counts once.
"""

from __future__ import annotations

import numpy as np

# Cosine similarity of two embeddings of one camera up to which they count as different people, and from which
# on as the same one; chosen for the shipped models (docs/adaptation.md).
DIFFERENT, SAME = 0.5, 0.7


def likeness(vectors: np.ndarray) -> np.ndarray:
    """float [N,D], unit length -> float32 [N,N] from 0, different people, to 1, the same one."""
    vectors = vectors.astype(np.float32, copy=False)
    alike = np.clip((vectors @ vectors.T - DIFFERENT) / (SAME - DIFFERENT), 0, 1)
    np.fill_diagonal(alike, 1)
    return alike


def person_weights(vectors: np.ndarray) -> np.ndarray:
    """float [N,D], unit length, of one camera -> float64 [N]: one over how many crops look like the same
    person. The sum says how many different people there are: N where all differ, 1 where all are alike."""
    weights: np.ndarray = 1 / likeness(vectors).sum(1, dtype=np.float64)
    return weights
