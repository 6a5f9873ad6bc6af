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
    return base * scale * _warmup(epoch, warmup_epochs, warmup_factor)


def cosine_rate(passed: float, base: float, epochs: int, warmup_epochs: int, warmup_factor: float) -> float:
    """Rate after `passed` epochs (a fraction within one): linear warm-up, then half a cosine down to 0.

    `warmup_epochs` must be fewer than `epochs`.
    """
    if passed < warmup_epochs:
        return base * _warmup(passed, warmup_epochs, warmup_factor)
    share = (passed - warmup_epochs) / (epochs - warmup_epochs)
    return base * 0.5 * (1 + math.cos(math.pi * share))


def _warmup(passed: float, warmup_epochs: int, warmup_factor: float) -> float:
    """Share of the rate: from the factor up to 1, where the warm-up ends."""
    if passed >= warmup_epochs:
        return 1.0
    share = passed / warmup_epochs
    return warmup_factor * (1 - share) + share
