"""One adaptation as one page of HTML that needs nothing else: what was asked, tried, judged, and went live.

Everything on it comes from the job's answer. Sizes of marks are computed from the numbers that stand beside
them; every text is escaped by `tag`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.adapt_report_cameras import cameras, similarity
from cli.adapt_report_layers import change_rates, outputs
from cli.adapt_report_ranks import ranks
from cli.adapt_report_signals import signals
from cli.drawings import HUES, Range, interval, range_of, stacked
from cli.markup import Markup, joined, tag

if TYPE_CHECKING:
    from resight_client import Job, Rung

_TIERS = {"0": "centring", "1": "statistics", "2": "BNTA", "3": "groups"}
_JUDGES = {
    "labels": "decided by labels",
    "signals": "decided by signals without labels",
    "veto": "decided by a veto",
    "off": "the gate was off",
}
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # the page loads nothing and runs nothing


def page(job: Job) -> str:
    """The page of an adaptation that has ended, in whatever way."""
    title = f"Adaptation of {job.site}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("title", title),
        tag("style", Markup(Path(__file__).with_suffix(".css").read_text(encoding="utf-8"))),
    )
    body = tag(
        "body",
        tag("h1", "Adaptation of ", tag("bdi", job.site)),
        tag("p", _outcome(job), class_="lead"),
        _facts(job),
        _rungs(job.rungs),
        _gate_error(job.report.get("gate_error")),
        cameras(job.report.get("cameras") or {}, job.report.get("people") or {}),
        similarity(job.report.get("similarity")),
        ranks(job.report.get("ranks")),
        outputs(job.report.get("outputs")),
        change_rates(job.report.get("change_rates")),
        _seconds(job.report.get("seconds") or {}),
        _way_back(job),
    )
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


def tiers_in_words(tiers: str) -> str:
    """Like "tier 1+0 (statistics over centring)"."""
    if tiers == "none":
        return "the bundle's own values"
    known = [_TIERS[tier] for tier in tiers.split("+") if tier in _TIERS]
    return f"tier {tiers}" + (f" ({' over '.join(known)})" if known else "")


def _outcome(job: Job) -> str:
    """How the job ended, as a sentence."""
    if job.state == "succeeded":
        tiers = job.report.get("tiers")
        live = tiers_in_words(tiers) if tiers else "a new profile"
        return f"It succeeded: {live} went live and makes up the site since version {job.version}."
    why = job.report.get("reason") or job.report.get("error")
    return f"It {_ENDS.get(job.state, job.state)}" + (f": {why}" if why else ".")


_ENDS = {
    "declined": "declined, and the site stayed as it was",
    "failed": "failed, and the site stayed as it was",
    "cancelled": "was cancelled, and the site stayed as it was",
}


def _facts(job: Job) -> Markup:
    report = job.report
    rows: list[tuple[str, str | None]] = [
        ("job", tag("code", job.job)),
        ("asked for at", job.created_at or "this server does not say"),
        ("asked for", _asked(job.asked)),
        ("notes", ". ".join(report.get("notes") or []) or None),
        ("drift", _with_unit(report.get("drift"), "1 - mean cosine of embeddings before and after")),
        ("computed on", report.get("device")),
        ("profile", tag("code", report["profile"]) if report.get("profile") else None),
    ]
    return tag("dl", *(joined(tag("dt", name), tag("dd", told)) for name, told in rows if told is not None))


def _asked(asked: Mapping[str, Any] | None) -> str:
    if asked is None:
        return "this server does not say"
    told = [tiers_in_words(asked["tier"]) if asked.get("tier") != "auto" else "the tiers that help (auto)"]
    if "gate" in asked:
        told.append("judged by the gate" if asked["gate"] else "without the gate")
    told += [f"{name} {asked[key]}" for name, key in _OPTIONS if key in asked]
    return ", ".join(told)


_OPTIONS = (("max. samples", "max_samples"), ("seed", "seed"))


def _with_unit(value: float | None, unit: str) -> str | None:
    return None if value is None else f"{value:g} ({unit})"


def _rungs(rungs: list[Rung]) -> Markup:
    """What was tried, in order, with gains on one scale."""
    if not rungs:
        return joined(tag("h2", "What was tried"), tag("p", "No tier was tried."))
    ends = [value for rung in rungs for value in (rung.low, rung.gain, rung.high) if value is not None]
    shown = range_of(ends)
    scale = (
        f"All gains on one scale: {shown[0]:+.1f} to {shown[1]:+.1f} points of mAP; the line is no change."
    )
    return joined(
        tag("h2", "What was tried"),
        tag("p", scale, class_="soft") if ends else Markup(),
        *(_rung(number, rung, shown) for number, rung in enumerate(rungs, 1)),
    )


def _rung(number: int, rung: Rung, shown: Range) -> Markup:
    verdict = "taken" if rung.accepted else "refused"
    below = "over " + tiers_in_words(rung.below)
    return tag(
        "article",
        tag("h3", f"{number}. {tiers_in_words(rung.tiers)}, {below}: ", tag("b", verdict, class_=verdict)),
        tag("p", f"{_JUDGES.get(rung.by, rung.by)}; {rung.seconds:g} s", class_="soft"),
        _gain(rung, shown),
        tag("p", rung.reason),
        signals(rung.signals),
    )


def _gain(rung: Rung, shown: Range) -> Markup:
    if rung.gain is None or rung.low is None or rung.high is None:
        return Markup()
    measured = "measured" if rung.by == "labels" else "predicted"
    drawn = interval(rung.gain, rung.low, rung.high, shown, rung.accepted)
    numbers = f"{rung.gain:+.2f} ({rung.low:+.2f} to {rung.high:+.2f})"
    row = tag(
        "tr",
        tag("td", f"change of mAP, {measured}"),
        tag("td", drawn, class_="mark"),
        tag("td", numbers, class_="number"),
    )
    return tag("table", row, class_="gain")


def _gate_error(by_tier: Mapping[str, Any] | None) -> Markup:
    """One sentence: how often the gate was wrong where the truth was known."""
    told = [sentence for tier, rates in (by_tier or {}).items() if (sentence := _wrong(tier, rates))]
    if not told:
        return Markup()
    sentence = f"Where the truth was known, the gate was measured like this: {'; '.join(told)}."
    return joined(tag("h2", "How often this gate is wrong"), tag("p", sentence))


def _wrong(tier: str, rates: Any) -> str:
    """The part of a tier; empty where the server measures other rates than those."""
    names = ("accepted_harmful", "accepted_harmful_upper", "helpful_kept", "accepted", "judged")
    if not isinstance(rates, Mapping) or any(not isinstance(rates.get(name), (int, float)) for name in names):
        return ""
    return (
        f"of tier {tier} it accepted {rates['accepted']} of {rates['judged']} trials, "
        f"{_share(rates, names[0])} of which did harm (with 95 % confidence at most "
        f"{_share(rates, names[1])}), and it accepted {_share(rates, names[2])} of those that helped"
    )


def _share(rates: Mapping[str, float], name: str) -> str:
    return f"{100 * rates[name]:.1f} %"


def _seconds(seconds: Mapping[str, float]) -> Markup:
    """One bar of all stages, and what each part of it is."""
    if not seconds:
        return Markup()
    rows = [
        tag(
            "tr",
            tag("td", tag("span", class_=f"swatch hue-{number % HUES}"), stage),
            tag("td", f"{spent:.3f} s", class_="number"),
        )
        for number, (stage, spent) in enumerate(seconds.items())
    ]
    drawn = tag("div", stacked(list(seconds.values())), class_="whole")
    return joined(
        tag("h2", f"{sum(seconds.values()):.1f} seconds by stage"), drawn, tag("table", *rows, class_="whole")
    )


def _way_back(job: Job) -> Markup:
    if job.state != "succeeded":
        told = joined(tag("p", "Nothing went live, so there is nothing to roll back."))
    else:
        told = joined(
            tag("pre", tag("code", f"resight rollback --site {shlex.quote(job.site)} --wait")),
            tag(
                "p",
                "This undoes the site's last adaptation, so it undoes this one only while the site is on "
                f"version {job.version}. It makes a new version with the profile that was live before; no "
                "item is lost.",
            ),
        )
    return joined(tag("h2", "How to roll back"), told)
