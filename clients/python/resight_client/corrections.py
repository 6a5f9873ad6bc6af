"""The calls that correct items and people, as data, shared by the sync and the async client."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from resight_client.calls import Call, path
from resight_client.fields import Filter, json_text, time_text
from resight_client.values import ResightError


def update(item_id: str, values: Mapping[str, Any], revision: int | None, site: str | None) -> Call:
    """PATCH /gallery/{item_id}."""
    body = _labels(values) | ({} if revision is None else {"revision": revision})
    return Call("PATCH", path("gallery", item_id), _json(body) | {"params": _set({"site": site})})


def update_items(
    site: str,
    values: Mapping[str, Any],
    items: Iterable[str] | None,
    filter: Filter | None,
    all: bool,
    revisions: Mapping[str, int] | None,
) -> Call:
    """POST /gallery/update."""
    try:
        where = json.loads(filter) if isinstance(filter, str) else filter
    except ValueError as error:
        raise ResightError(0, "no-json", f"filter is no JSON: {error}; nothing was sent") from error
    body = {
        "site": site,
        "items": list(items) if items is not None else None,
        "filter": where,
        "all": all or None,
        "revisions": dict(revisions) if revisions is not None else None,
    }
    return Call("POST", "/gallery/update", _json(_set(body) | {"values": _labels(values)}))


def people(site: str, identity: str | None, include_hidden: bool, cursor: str | None, limit: int) -> Call:
    """GET /people."""
    values = {"site": site, "identity": identity, "cursor": cursor, "limit": limit}
    values["include_hidden"] = "true" if include_hidden else None
    return Call("GET", "/people", {"params": _set(values)})


def crop_map(site: str, identity: str | None, cluster: str | None) -> Call:
    """GET /people/map."""
    return Call(
        "GET", "/people/map", {"params": _set({"site": site, "identity": identity, "cluster": cluster})}
    )


def person(action: str, site: str, identity: str, **values: Any) -> Call:
    """POST /people/{action}."""
    return Call("POST", path("people", action), _json({"site": site, "identity": identity, **values}))


def clusters(site: str, threshold: float | None, cursor: str | None, limit: int) -> Call:
    """GET /clusters."""
    values = {"site": site, "threshold": threshold, "cursor": cursor, "limit": limit}
    return Call("GET", "/clusters", {"params": _set(values)})


def cluster(site: str, item: str, threshold: float | None, cursor: str | None, limit: int) -> Call:
    """GET /clusters/{item}."""
    values = {"site": site, "threshold": threshold, "cursor": cursor, "limit": limit}
    return Call("GET", path("clusters", item), {"params": _set(values)})


def name_cluster(site: str, item: str, identity: str, items: int | None, threshold: float | None) -> Call:
    """POST /clusters/name."""
    body = {"site": site, "item": item, "identity": identity, "items": items, "threshold": threshold}
    return Call("POST", "/clusters/name", _json(_set(body)))


def review(site: str, limit: int) -> Call:
    """GET /sites/{site}/review."""
    return Call("GET", path("sites", site, "review"), {"params": {"limit": limit}})


def answer_review(site: str, case: str, answer: str) -> Call:
    """POST /sites/{site}/review/{case}."""
    return Call("POST", path("sites", site, "review", case), _json({"answer": answer}))


def journal(site: str, item: str | None, cursor: str | None, limit: int) -> Call:
    """GET /journal."""
    values = {"site": site, "item": item, "cursor": cursor, "limit": limit}
    return Call("GET", "/journal", {"params": _set(values)})


def entry(number: int) -> Call:
    """GET /journal/{entry}."""
    return Call("GET", path("journal", str(number)), {})


def undo(number: int) -> Call:
    """POST /journal/{entry}/undo."""
    return Call("POST", path("journal", str(number), "undo"), {})


def _labels(values: Mapping[str, Any]) -> dict[str, Any]:
    labels = dict(values)
    if "captured_at" in labels:
        labels["captured_at"] = time_text(labels["captured_at"])
    return labels


def _json(body: dict[str, Any]) -> dict[str, Any]:
    """A body of JSON in which dates are text and numbers of numpy are numbers."""
    text = json_text(body, "the request")
    return {"content": text.encode(), "headers": {"Content-Type": "application/json"}}


def _set(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
