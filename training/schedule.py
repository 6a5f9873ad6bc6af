"""Learning-rate schedules: linear warm-up, then steps (methods A.0.6) or half a cosine."""

from __future__ import annotations

import bisect
import math


def learning_rate(
    epoch: int,
    base: float,
    milestones: tuple[int, ...],
    gamma: float = 0.1,
    warmup_epochs: int = 10,
    warmup_factor: float = 0.01,
) -> float:
    """Rate of `epoch`, counted from 1 as in BoT's code: base 3.5e-4 gives 3.815e-5 in the first epoch."""
    scale = gamma ** bisect.bisect_right(sorted(milestones), epoch)
    if epoch < warmup_epochs:
        share = epoch / warmup_epochs
        scale *= warmup_factor * (1 - share) + share
    return base * scale


def cosine_rate(passed: float, base: float, epochs: int, warmup_epochs: int, warmup_factor: float) -> float:
    """Rate after `passed` epochs (a fraction within one): linear warm-up, then half a cosine down to 0."""
    if passed < warmup_epochs:
        share = passed / warmup_epochs
        return base * (warmup_factor * (1 - share) + share)
    left = max(1e-9, epochs - warmup_epochs)
    return base * 0.5 * (1 + math.cos(math.pi * min(1.0, (passed - warmup_epochs) / left)))
