"""Where a few crops stand before and after each tier. They are named by their items' ids, not shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cli.drawings import places
from cli.markup import Markup, joined, tag

_LOOKS_FOR = {
    "labels": "Each looks for its person among the crops of other cameras, by the labels that the site has",
    "views": "Each looks for itself, by another view of it: mirrored, moved, brighter or darker",
}


def ranks(facts: Mapping[str, Any] | None) -> Markup:
    """A row for each crop; nothing where none was ranked."""
    if not facts or not facts["queries"]:
        return Markup()
    explanation = (
        f"{_LOOKS_FOR.get(facts['by'], facts['by'])}. 1 is the first place; {facts['among']} crops were "
        "ranked, and none of those below was fitted to. Ring before, dots after each tier, the biggest after "
        "the last; on a logarithmic scale, the first place on the left."
    )
    heads = tag(
        "tr",
        tag("th", "item"),
        tag("th", "camera"),
        tag("th", "places"),
        tag("th", "before", class_="number"),
        *(tag("th", tiers, class_="number") for tiers in facts["tiers"]),
    )
    rows = [_row(query, facts["among"]) for query in facts["queries"]]
    return joined(
        tag("h2", "Places of held-out crops"),
        tag("p", explanation, class_="soft"),
        tag("div", tag("table", heads, *rows), class_="wide"),
    )


def _row(query: Mapping[str, Any], among: int) -> Markup:
    camera: str | None = query["camera"]
    after: Sequence[int] = query["after"]
    return tag(
        "tr",
        tag("td", tag("code", query["item"])),
        tag("td", tag("bdi", camera) if camera else tag("i", "none named")),
        tag("td", places(query["before"], after, among), class_="mark"),
        *(tag("td", str(place), class_="number") for place in (query["before"], *after)),
    )
