"""What was seen at each camera: crops and people, and how alike the crops of two cameras are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cli.drawings import bar
from cli.markup import Markup, joined, tag

_MOST_CAMERAS = 40  # that have a bar of their own


def cameras(crops: Mapping[str, int], people: Mapping[str, int]) -> Markup:
    """Crops by camera, most first, and about how many people they show where that is known."""
    if not crops:
        return Markup()
    ranked = sorted(crops.items(), key=lambda pair: (-pair[1], pair[0]))
    most, rest = ranked[0][1], ranked[_MOST_CAMERAS:]
    rows = [_camera(name, count, most, people.get(name)) for name, count in ranked[:_MOST_CAMERAS]]
    more = f"{len(rest)} more cameras have {sum(count for _, count in rest)} crops together."
    return joined(
        tag("h2", f"{sum(crops.values())} crops by camera"),
        tag("table", *rows),
        tag("p", more, class_="soft") if rest else Markup(),
    )


def similarity(facts: Mapping[str, Any] | None) -> Markup:
    """Two tables, before and after, on one scale of colour; nothing for fewer than two cameras."""
    if not facts or len(facts["cameras"]) < 2:
        return Markup()
    values = [value for side in ("before", "after") for row in facts[side] for value in row]
    low, high = min(values), max(values)
    sides = [
        tag("div", tag("h3", side), _matrix(facts["cameras"], facts[side], low, high), class_="wide")
        for side in ("before", "after")
    ]
    explanation = (
        "Mean similarity of the crops of two cameras, before anything and after the last tier that was "
        "tried. Where cameras differ only in who walks by, all values are about even; a dark diagonal says "
        "that crops are alike because one camera took them."
    )
    return joined(tag("h2", "How alike cameras are"), tag("p", explanation, class_="soft"), *sides)


def _camera(name: str, count: int, most: int, people: int | None) -> Markup:
    seen = "" if people is None else f"about {people} {'person' if people == 1 else 'people'}"
    return tag(
        "tr",
        tag("td", _named(name)),
        tag("td", bar(count, most), class_="mark"),
        tag("td", str(count), class_="number"),
        tag("td", seen, class_="number"),
    )


def _named(camera: str) -> Markup:
    return tag("bdi", camera) if camera else tag("i", "no camera named")


def _matrix(names: Sequence[str], rows: Sequence[Sequence[float]], low: float, high: float) -> Markup:
    heads = tag("tr", tag("th"), *(tag("th", _named(name), class_="number") for name in names))
    lines = []
    for name, row in zip(names, rows, strict=True):
        cells = [_cell(value, low, high) for value in row]
        lines.append(tag("tr", tag("th", _named(name)), *cells))
    return tag("table", heads, *lines, class_="matrix")


def _cell(value: float, low: float, high: float) -> Markup:
    share = (value - low) / (high - low) if high > low else 0.0
    return tag("td", f"{value:.2f}", class_="number", style=f"--share: {100 * share:.0f}%")
