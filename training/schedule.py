"""Learning-rate schedules: linear warm-up, then steps (methods A.0.6) or half a cosine."""

from __future__ import annotations

import bisect
import math

from training.recipe import Optimiser


def learning_rate(
    epoch: int,
    base: float,
    milestones: tuple[int, ...],
    gamma: float = 0.1,
    warmup_epochs: int = 10,
    warmup_factor: float = 0.01,
) -> float:
    """Rate of `epoch`; counted from 1 as in BoT's code, base 3.5e-4 gives 3.815e-5 in the first epoch."""
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


def rate_at(settings: Optimiser, epoch: int, step: int, steps: int) -> float:
    """Rate of the step that follows `step` steps of `epoch` (from 1), where an epoch has `steps`."""
    warmup = (settings.warmup_epochs, settings.warmup_factor)
    if settings.schedule == "cosine":
        return cosine_rate(epoch - 1 + step / steps, settings.rate, settings.epochs, *warmup)
    counted = epoch - 1 + settings.first_epoch
    return learning_rate(counted, settings.rate, settings.milestones, settings.gamma, *warmup)


def misfits(settings: Optimiser) -> list[str]:
    """A sentence on each part of a schedule that its number of epochs leaves without effect."""
    epochs, warmup, milestones = settings.epochs, settings.warmup_epochs, settings.milestones
    sentences = []
    if warmup >= epochs:
        sentences.append(
            f"optimiser.epochs is {epochs} and the warm-up lasts {warmup}, so no epoch before the last "
            f"trains at the full rate: set optimiser.warmup_epochs lower"
        )
    if settings.schedule == "cosine":
        return sentences
    last = epochs - 1 + settings.first_epoch
    late = [milestone for milestone in milestones if milestone > last]
    early = [milestone for milestone in milestones if milestone <= min(warmup, last)]
    if late:
        never = "never falls" if len(late) == len(milestones) else "falls less often than the recipe says"
        sentences.append(
            f"optimiser.epochs is {epochs} and optimiser.milestones has {late}, so the rate {never}: set the "
            f"milestones to epochs that the run has"
        )
    if early:
        sentences.append(
            f"optimiser.milestones has {early} inside the warm-up of {warmup} epochs, so the rate rises to "
            f"less than optimiser.rate: set optimiser.warmup_epochs lower or the milestones higher"
        )
    return sentences
