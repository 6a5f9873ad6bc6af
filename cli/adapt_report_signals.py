"""The signals of a rung: pairs as dots before and after, the others as numbers."""

from __future__ import annotations

from collections.abc import Mapping

from cli.drawings import before_and_after
from cli.markup import Markup, joined, tag

Value = float | None  # None: it is no number
_WORDS = {
    "mixing": "neighbours from other cameras, over chance",
    "camera_share": "variance that lies between cameras",
    "log_rank": "how different the crops are",
    "log_rank_of_camera": "the same, at the least varied camera",
    "margin_of_views": "own other view, over other crops",
    "margin_across": "best match at another camera, over the next",
    "hubness": "how unevenly crops are neighbours",
    "mean_similarity": "mean similarity of two crops",
    "spread": "spread of similarities",
    "agreement": "neighbours that stay",
    "drift": "1 - mean cosine before and after",
    "log_cameras": "cameras (log)",
    "log_fewest": "crops of the camera with fewest (log)",
    "log_mean_count": "mean crops of a camera (log)",
}


def signals(values: Mapping[str, Value]) -> Markup:
    """Both tables; nothing where there are no signals."""
    stems = [stem for name in values if (stem := name.removesuffix("_before")) != name]
    pairs = [stem for stem in stems if f"{stem}_after" in values]
    paired = {f"{stem}_{side}" for stem in pairs for side in ("before", "after")}
    single = [name for name in values if name not in paired]
    return joined(_pairs(values, pairs), _singles(values, single))


def _pairs(values: Mapping[str, Value], stems: list[str]) -> Markup:
    if not stems:
        return Markup()
    heads = tag(
        "tr",
        tag("th", "signal"),
        tag("th", "ring before, dot after, line at 0"),
        tag("th", "before", class_="number"),
        tag("th", "after", class_="number"),
    )
    return tag("table", heads, *(_pair(stem, values) for stem in stems))


def _pair(stem: str, values: Mapping[str, Value]) -> Markup:
    before, after = values[f"{stem}_before"], values[f"{stem}_after"]
    drawn = before_and_after(before, after) if before is not None and after is not None else Markup()
    return tag(
        "tr",
        tag("td", *_named(stem)),
        tag("td", drawn, class_="mark"),
        tag("td", _number(before), class_="number"),
        tag("td", _number(after), class_="number"),
    )


def _singles(values: Mapping[str, Value], names: list[str]) -> Markup:
    if not names:
        return Markup()
    rows = (
        tag("tr", tag("td", *_named(name)), tag("td", _number(values[name]), class_="number"))
        for name in names
    )
    return tag("table", *rows)


def _named(name: str) -> tuple[str, ...]:
    """What a signal is, above its name; the name alone where it is a newer one."""
    if name not in _WORDS:
        return (name,)
    return (_WORDS[name], tag("span", name, class_="name"))


def _number(value: Value) -> str:
    return "unknown" if value is None else str(value)
