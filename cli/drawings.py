"""The marks of a report as SVG: no text in them, so that they may shrink; numbers stand beside them."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

from cli.markup import Markup, tag

WIDTH, HEIGHT, EDGE = 300.0, 18.0, 6.0  # user units; EDGE leaves room for half a dot
Range = tuple[float, float]  # the values at the left and the right end
HUES = 8  # classes hue-0 to hue-7 of the style sheet


def range_of(values: Sequence[float]) -> Range:
    """From the lowest to the highest value and always over 0; 0 to 1 where all are 0."""
    low, high = min([0.0, *values]), max([0.0, *values])
    return (low, high) if high > low else (0.0, 1.0)


def across(value: float, shown: Range) -> float:
    """Where a value lies, in user units."""
    return EDGE + (value - shown[0]) / (shown[1] - shown[0]) * (WIDTH - 2 * EDGE)


def interval(gain: float, low: float, high: float, shown: Range, accepted: bool) -> Markup:
    """A gain as a dot on the bar of its interval, beside the line of zero."""
    left, right = across(low, shown), across(high, shown)
    kind = "taken" if accepted else "refused"
    return _drawing(
        f"{gain:+.2f}, from {low:+.2f} to {high:+.2f}",
        _rectangle(left, 6, right - left, 6, f"interval {kind}"),
        _upright(across(0.0, shown)),
        _dot(across(gain, shown), 4.5, f"dot {kind}"),
    )


def before_and_after(before: float, after: float, shown: Range | None = None, line: float = 0.0) -> Markup:
    """A ring before, a dot after, and an upright line, on a scale of their own unless one is given."""
    shown = shown or range_of([before, after])
    first, second = across(before, shown), across(after, shown)
    return _drawing(
        f"{before} before, {after} after",
        _upright(across(line, shown)),
        tag("line", class_="way", x1=_short(first), x2=_short(second), y1=HEIGHT / 2, y2=HEIGHT / 2),
        _dot(second, 4.5, "dot after"),
        _dot(first, 4.5, "ring"),
    )


def places(before: int, after: Sequence[int], last: int) -> Markup:
    """A ring before and a dot after each step, the last one biggest, from the first to the last place there
    is, on a logarithmic scale."""
    shown = (0.0, log(max(last, 2)))
    ring, *dots = (across(log(place), shown) for place in (before, *after))
    ends = [tag("line", class_="way", x1=_short(ring), x2=_short(dots[-1]), y1=HEIGHT / 2, y2=HEIGHT / 2)]
    marks = [_dot(x, 3.0, "dot after") for x in dots[:-1]] + [_dot(dots[-1], 4.5, "dot after")]
    title = f"place {before} before, {', '.join(map(str, after))} after"
    return _drawing(title, _upright(EDGE), *ends, *marks, _dot(ring, 4.5, "ring"))


def bar(value: float, most: float) -> Markup:
    """A bar, as long as its share of the most."""
    width = WIDTH * value / most if most > 0 else 0.0
    return _drawing(f"{value:g}", _rectangle(0, 3, width, HEIGHT - 6, "bar"))


def stacked(values: Sequence[float]) -> Markup:
    """One bar of all values, in this order, in the hues 0, 1, 2 and so on."""
    total, start, parts = sum(values), 0.0, []
    for number, value in enumerate(values):
        width = WIDTH * value / total if total > 0 else 0.0
        parts.append(_rectangle(start, 1, width, HEIGHT - 2, f"part hue-{number % HUES}"))
        start += width
    return _drawing("shares of the seconds", *parts)


def _drawing(what: str, *marks: Markup) -> Markup:
    return tag("svg", *marks, viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}", role="img", aria_label=what)


def _rectangle(x: float, y: float, width: float, height: float, kind: str) -> Markup:
    return tag("rect", class_=kind, x=_short(x), y=y, width=_short(width), height=height)


def _dot(x: float, radius: float, kind: str) -> Markup:
    return tag("circle", class_=kind, cx=_short(x), cy=HEIGHT / 2, r=radius)


def _upright(x: float) -> Markup:
    return tag("line", class_="zero", x1=_short(x), x2=_short(x), y1=1, y2=HEIGHT - 1)


def _short(number: float) -> str:
    return f"{number:.2f}"
