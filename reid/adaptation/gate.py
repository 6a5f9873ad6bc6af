"""Decides whether a tier of adaptation helps, from what can be seen at the site. No torch.

Labels decide where a site has them and they are clear, unless signals without labels speak against what they
would accept. Signals decide otherwise, weighed together into a predicted change of mAP. Weights, thresholds
and the gate's own error rates come from `python -m benchmarks.gate fit` and stand in gate.json;
docs/adaptation.md says how they were measured.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reid.adaptation.labels import FEWEST_IDENTITIES, LabelledGain, labelled_gain, people_across
from reid.adaptation.signals import Pool, signals

_QUANTILE = 1.28  # of a normal distribution: an interval of 80 %
RANGE = 3.0  # deviations beyond which a signal says nothing more
# Predicted change of mAP from which down signals contradict labels that are clear. Nearer to zero they
# refused what helped; see docs/adaptation.md.
_AGAINST = -0.25


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the gate says about one tier on top of another.

    Args:
        by: labels, signals, veto, or off where nobody asked it. gain: measured or predicted change of mAP in
            points, with an interval from low to high.
    """

    accepted: bool
    by: str
    gain: float | None
    low: float | None
    high: float | None
    reason: str
    signals: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Weights:
    """How the signals of one tier become a predicted gain.

    Args:
        names: of the signals, in order; float64 [S] each: mean, deviation, linear, square.
        spread: standard deviation of the prediction's error, mAP points.
        threshold: the lowest predicted gain that is accepted; None where the signals do not tell.
    """

    names: list[str]
    mean: np.ndarray
    deviation: np.ndarray
    linear: np.ndarray
    square: np.ndarray
    bias: float
    spread: float
    threshold: float | None

    def predict(self, values: Mapping[str, float]) -> float:
        """The change of mAP, in points, that the signals speak for. A signal that is not a number, such as
        one of views where no images are kept, counts as an average one."""
        row = np.array([values.get(name, np.nan) for name in self.names])
        z = np.nan_to_num(np.clip((row - self.mean) / self.deviation, -RANGE, RANGE))
        return float(z @ self.linear + (z * z) @ self.square + self.bias)

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Weights:
        """Reads one tier of gate.json."""
        return cls(
            list(facts["names"]),
            np.array(facts["mean"]),
            np.array(facts["deviation"]),
            np.array(facts["linear"]),
            np.array(facts["square"]),
            facts["bias"],
            facts["spread"],
            facts["threshold"],
        )


@functools.cache
def _file() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(Path(__file__).with_name("gate.json").read_text())
    return loaded


def weights(tier: str) -> Weights | None:
    """The shipped weights of a tier; None where nobody has measured what signals say of it."""
    facts = _file()["tiers"].get(tier)
    return Weights.of(facts) if facts is not None else None


def error_rates() -> dict[str, dict[str, float]]:
    """By tier, as measured at sites that the weights were not fitted to: share of the accepted that harm, its
    upper bound of 95 %, share of the helpful that are accepted, and how many were judged."""
    rates: dict[str, dict[str, float]] = _file()["error_rates"]
    return rates


def top_tier(tiers: str) -> str:
    """The tier of a combination like "1+0" that is judged: the highest."""
    return max(tiers.split("+"))


def judge(
    tiers: str,
    before: Pool,
    after: Pool,
    fitted: Sequence[str | None],
    identities: Sequence[str | None],
) -> Verdict:
    """Whether `tiers` improve on what lies below.

    Args:
        before, after: the same crops as the two compare them. fitted: the camera of each crop that the tier
            was fitted to. identities: of the crops of the pools, where they are known; may be empty.
    """
    if not np.isfinite(after.vectors).all():
        reason = "Refused: it makes embeddings that are not finite."
        return Verdict(False, "veto", None, None, None, reason, {})
    values = signals(before, after, fitted)
    labelled = None
    if len(identities):
        labelled = labelled_gain(before.vectors, after.vectors, identities, before.cameras)
    w = weights(top_tier(tiers))
    if labelled is not None and (labelled.low > 0 or labelled.high < 0):
        return _by_labels(labelled, None if w is None else w.predict(values), values)
    return _by_signals(w, labelled, values)


def out_of_reach(
    tiers: str, identities: Sequence[str | None], cameras: Sequence[str | None]
) -> Verdict | None:
    """The refusal of a tier that only labels accept, where there are too few; known before it is computed."""
    enough = people_across(identities, cameras) >= FEWEST_IDENTITIES
    w = weights(top_tier(tiers))
    if enough or (w is not None and w.threshold is not None):
        return None
    reason = (
        f"Refused without trying: only labels accept this tier, and fewer than {FEWEST_IDENTITIES} people "
        "with an identity were seen at two cameras."
    )
    return Verdict(False, "labels", None, None, None, reason, {})


def not_judged() -> Verdict:
    """The verdict of a gate that is off."""
    return Verdict(True, "off", None, None, None, "The gate is off, so nothing judged it.", {})


def _by_labels(labelled: LabelledGain, predicted: float | None, values: dict[str, float]) -> Verdict:
    """Labels that are clear decide, but accept nothing that the signals speak against: crops that carry names
    and show nobody are such a case."""
    gain, low, high = (100 * value for value in (labelled.gain, labelled.low, labelled.high))
    contradicted = predicted is not None and predicted < _AGAINST
    accepted = labelled.low > 0 and not contradicted
    verb = "rises" if labelled.low > 0 else "falls"
    reason = (
        f"{'Accepted' if accepted else 'Refused'}: by the labels of {labelled.identities} people seen at two "
        f"cameras, mAP {verb} from {100 * labelled.before[0]:.1f} to {100 * labelled.after[0]:.1f} (90 % "
        f"interval of the change {low:+.1f} to {high:+.1f})"
    )
    if labelled.low > 0 and contradicted:
        reason += f", but signals without labels predict {predicted:+.1f}, and both have to agree"
    return Verdict(accepted, "labels", round(gain, 2), round(low, 2), round(high, 2), f"{reason}.", values)


def _by_signals(w: Weights | None, labelled: LabelledGain | None, values: dict[str, float]) -> Verdict:
    unclear = ""
    if labelled is not None:
        unclear = (
            f" The labels of {labelled.identities} people leave it open (90 % interval "
            f"{100 * labelled.low:+.1f} to {100 * labelled.high:+.1f})."
        )
    if w is None:
        reason = "Refused: nobody has measured what signals without labels say of this tier"
        return Verdict(False, "signals", None, None, None, f"{reason}.{unclear}", values)
    gain = w.predict(values)
    low, high = gain - _QUANTILE * w.spread, gain + _QUANTILE * w.spread
    predicted = f"signals without labels predict {gain:+.1f} mAP (80 % interval {low:+.1f} to {high:+.1f})"
    if w.threshold is None:
        accepted = False
        rule = "for this tier that is not reliable enough to act on, so only labels accept it"
    else:
        accepted = gain >= w.threshold
        rule = f"this tier needs {w.threshold:+.1f} or more"
    reason = f"{'Accepted' if accepted else 'Refused'}: {predicted}; {rule}.{unclear}"
    return Verdict(accepted, "signals", round(gain, 2), round(low, 2), round(high, 2), reason, values)
