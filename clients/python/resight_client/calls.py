"""The server's calls as data, shared by the sync and the async client."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx

from resight_client.fields import Filter, Threshold, Time, filter_text, json_text, threshold_text, time_text
from resight_client.pictures import Image, parts
from resight_client.values import ResightError
from resight_client.vectors import OneOrMore, vector_texts

# what httpx raises where nothing was answered: its own errors, and a RuntimeError of a closed client or loop
NO_ANSWER = (httpx.HTTPError, httpx.StreamError, OSError, RuntimeError)


class Call(NamedTuple):
    """One request."""

    method: str
    path: str
    options: dict[str, Any]


def enroll(
    site: str,
    images: Image | Iterable[Image] | None,
    camera: str | None,
    identity: str | None,
    captured_at: Time | None,
    metadata: dict[str, Any] | None,
    records: Sequence[dict[str, Any]] | None,
    partial: bool,
    idempotency_key: str | None,
    vectors: OneOrMore | None = None,
    raw_space_id: str | None = None,
) -> Call:
    """POST /gallery."""
    fields: dict[str, Any] = {
        "site": site,
        "camera": camera,
        "identity": identity,
        "captured_at": time_text(captured_at),
        "partial": "true" if partial else None,
    }
    fields["metadata"] = json_text(metadata, "metadata") if metadata is not None else None
    fields["records"] = json_text(list(records), "records") if records is not None else None
    fields["vector"] = vector_texts(vectors) if vectors is not None else None
    fields["raw_space_id"] = raw_space_id
    options: dict[str, Any] = {"data": _set(fields), "headers": _key(idempotency_key)}
    if images is not None:
        options["files"] = parts(images)
    return Call("POST", "/gallery", options)


def query(
    site: str,
    images: Image | Iterable[Image] | None,
    item_id: str | None,
    top_k: int,
    query_camera: str | None,
    camera: str | None,
    exclude_same_camera: bool,
    filter: Filter | None,
    threshold: Threshold | None,
    group_by: str | None,
    without_metadata: bool,
    include_hidden: bool = False,
    vectors: OneOrMore | None = None,
    raw_space_id: str | None = None,
    rerank: bool = False,
) -> Call:
    """POST /query."""
    fields: dict[str, Any]
    fields = {"site": site, "item_id": item_id, "top_k": str(top_k), "group_by": group_by}
    fields["vector"] = vector_texts(vectors) if vectors is not None else None
    fields["raw_space_id"] = raw_space_id
    fields |= {"query_camera": query_camera, "camera": camera}
    fields["without_metadata"] = "true" if without_metadata else None
    fields["include_hidden"] = "true" if include_hidden else None
    fields["rerank"] = "true" if rerank else None
    fields["exclude_same_camera"] = "true" if exclude_same_camera else None
    fields["filter"] = filter_text(filter)
    fields["threshold"] = threshold_text(threshold)
    options: dict[str, Any] = {"data": _set(fields)}
    if images is not None:
        options["files"] = parts(images)
    return Call("POST", "/query", options)


def embed(
    site: str, images: Image | Iterable[Image], camera: str | None, cameras: Sequence[str | None] | None
) -> Call:
    """POST /embed."""
    fields = {"site": site, "camera": camera}
    fields["cameras"] = json_text(list(cameras), "cameras") if cameras is not None else None
    return Call("POST", "/embed", {"data": _set(fields), "files": parts(images)})


def adapt(site: str, tier: str | int, max_samples: int | None, seed: int, gate: bool, refit: bool) -> Call:
    """POST /adapt."""
    values: dict[str, Any] = {
        "site": site,
        "tier": tier,
        "max_samples": max_samples,
        "seed": seed,
        "gate": gate,
    }
    if refit:  # older servers do not know it
        values["refit"] = True
    return Call("POST", "/adapt", {"json": values})


def calibrate(site: str, labels: str | None) -> Call:
    """POST /sites/{site}/calibrate."""
    options = {"params": {"labels": labels}} if labels is not None else {}
    return Call("POST", path("sites", site, "calibrate"), options)


def adapt_after(site: str, items: int | None, hours: float | None) -> Call:
    """PUT /sites/{site}/adapt-after."""
    return Call("PUT", path("sites", site, "adapt-after"), {"json": {"items": items, "hours": hours}})


def conditions(
    camera: str | None,
    identity: str | None,
    captured_after: Time | None,
    captured_before: Time | None,
    filter: Filter | None,
) -> dict[str, Any]:
    """The parameters that say which items are meant."""
    return {
        "camera": camera,
        "identity": identity,
        "captured_after": time_text(captured_after),
        "captured_before": time_text(captured_before),
        "filter": filter_text(filter),
    }


def listing(
    site: str,
    where: dict[str, Any],
    cursor: str | None,
    limit: int,
    without_metadata: bool,
    with_vectors: bool = False,
) -> Call:
    """GET /gallery."""
    values = {"site": site, **where, "cursor": cursor, "limit": limit}
    values["without_metadata"] = "true" if without_metadata else None
    values["with_vectors"] = "true" if with_vectors else None
    return Call("GET", "/gallery", {"params": _set(values)})


def erase(item_id: str, site: str | None) -> Call:
    """DELETE /gallery/{item_id}."""
    return Call("DELETE", path("gallery", item_id), {"params": _set({"site": site})})


def erase_items(site: str, where: dict[str, Any], all: bool) -> Call:
    """DELETE /gallery."""
    values = {"site": site, **where, "all": "true" if all else None}
    return Call("DELETE", "/gallery", {"params": _set(values)})


def path(*parts: str) -> str:
    """The path of a thing. Raises ResightError for a name that would make it the path of another thing."""
    for part in parts:
        if not isinstance(part, str) or part in ("", ".", ".."):
            raise ResightError(0, "no-name", f"{part!r} is no name; nothing was sent")
    try:
        return "".join(f"/{quote(part, safe='')}" for part in parts)
    except UnicodeEncodeError as error:
        raise no_text(error) from error


def request(client: httpx.Client | httpx.AsyncClient, call: Call) -> httpx.Request:
    """The call as a request. Raises ResightError for values that none can hold."""
    try:
        return client.build_request(call.method, call.path, **call.options)
    except UnicodeEncodeError as error:
        raise no_text(error) from error
    except (TypeError, ValueError, httpx.InvalidURL) as error:
        raise ResightError(0, "no-request", f"{error}; nothing was sent") from error


def no_text(error: UnicodeEncodeError) -> ResightError:
    """The error of a request that was never sent because UTF-8 cannot hold it."""
    return ResightError(
        0, "no-text", f"{error.object[:80]!r} is no text that UTF-8 can hold; nothing was sent"
    )


def event(line: str) -> dict[str, Any] | None:
    """The data of one line of a server-sent event, if it has any. Raises ResightError for what is no JSON."""
    try:
        data: dict[str, Any] | None = json.loads(line[5:]) if line.startswith("data:") else None
    except ValueError as error:
        raise ResightError(200, "unexpected", "the server sent an event that is no JSON") from error
    return data


def _key(idempotency_key: str | None) -> dict[str, str]:
    """The header of a request that may be repeated."""
    if idempotency_key is None:
        return {}
    if not idempotency_key.isascii() or not idempotency_key.isprintable():
        raise ResightError(
            0, "no-key", f"idempotency_key {idempotency_key[:80]!r} is no text for a header; nothing was sent"
        )
    return {"Idempotency-Key": idempotency_key}


def _set(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
