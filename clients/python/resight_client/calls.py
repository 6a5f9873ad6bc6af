"""The server's calls as data, shared by the sync and the async client."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx

from resight_client.values import ResightError

Image = bytes | str | Path  # encoded bytes, or the path of a file
Filter = dict[str, Any] | str  # docs/filters.md, as values or as JSON text


class Call(NamedTuple):
    """One request."""

    method: str
    path: str
    options: dict[str, Any]


def enroll(
    site: str,
    images: Sequence[Image],
    camera: str | None,
    identity: str | None,
    captured_at: str | float | None,
    metadata: dict[str, Any] | None,
    records: Sequence[dict[str, Any]] | None,
    partial: bool,
    idempotency_key: str | None,
) -> Call:
    """POST /gallery."""
    fields = {
        "site": site,
        "camera": camera,
        "identity": identity,
        "captured_at": _seconds(captured_at),
        "partial": "true" if partial else None,
    }
    fields["metadata"] = json.dumps(metadata) if metadata is not None else None
    fields["records"] = json.dumps(list(records)) if records is not None else None
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
    return Call("POST", "/gallery", {"data": _set(fields), "files": _files(images), "headers": headers})


def query(
    site: str,
    images: Image | Sequence[Image] | None,
    item_id: str | None,
    top_k: int,
    query_camera: str | None,
    camera: str | None,
    exclude_same_camera: bool,
    filter: Filter | None,
    threshold: float | None,
) -> Call:
    """POST /query."""
    fields = {"site": site, "item_id": item_id, "top_k": str(top_k)}
    fields |= {"query_camera": query_camera, "camera": camera}
    fields["exclude_same_camera"] = "true" if exclude_same_camera else None
    fields["filter"] = _json(filter)
    fields["threshold"] = str(threshold) if threshold is not None else None
    options: dict[str, Any] = {"data": _set(fields)}
    if images is not None:
        options["files"] = _files([images] if isinstance(images, (bytes, str, Path)) else images)
    return Call("POST", "/query", options)


def adapt(site: str, tier: str | int, max_samples: int | None, seed: int, gate: bool) -> Call:
    """POST /adapt."""
    values = {"site": site, "tier": tier, "max_samples": max_samples, "seed": seed, "gate": gate}
    return Call("POST", "/adapt", {"json": values})


def conditions(
    camera: str | None,
    identity: str | None,
    captured_after: str | float | None,
    captured_before: str | float | None,
    filter: Filter | None,
) -> dict[str, Any]:
    """The parameters that say which items are meant."""
    return {
        "camera": camera,
        "identity": identity,
        "captured_after": _seconds(captured_after),
        "captured_before": _seconds(captured_before),
        "filter": _json(filter),
    }


def listing(site: str, where: dict[str, Any], cursor: str | None, limit: int) -> Call:
    """GET /gallery."""
    return Call(
        "GET", "/gallery", {"params": _set({"site": site, **where, "cursor": cursor, "limit": limit})}
    )


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
        if part in ("", ".", ".."):
            raise ResightError(0, "no-name", f"{part!r} is no name; nothing was sent")
    try:
        return "".join(f"/{quote(part, safe='')}" for part in parts)
    except UnicodeEncodeError as error:
        raise no_text(error) from error


def read(response: httpx.Response) -> Any:
    """The answer's JSON. Raises ResightError for a problem document and for anything unexpected."""
    if response.status_code >= 300:
        raise failure(response.status_code, response.content)
    return response.json()


def failure(status: int, content: bytes) -> ResightError:
    """The error of an answer."""
    try:
        body = json.loads(content)
        facts = {k: v for k, v in body.items() if k not in ("type", "title", "status", "code", "detail")}
        return ResightError(status, body["code"], body["detail"], facts)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ResightError(
            status, "unexpected", f"the server answered {status} without a reason; is this a Resight server?"
        )


def headers(api_key: str | None) -> dict[str, str]:
    """Headers of every request."""
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


def unreachable(url: str, error: Exception) -> ResightError:
    """The error of no answer."""
    return ResightError(
        0,
        "unreachable",
        f"no answer from {url}: {str(error) or type(error).__name__}; start a server with: resight serve "
        f"--bundle B",
    )


def no_text(error: UnicodeEncodeError) -> ResightError:
    """The error of a request that was never sent because UTF-8 cannot hold it."""
    return ResightError(
        0, "no-text", f"{error.object[:80]!r} is no text that UTF-8 can hold; nothing was sent"
    )


def event(line: str) -> dict[str, Any] | None:
    """The data of one line of a server-sent event, if it has any."""
    data: dict[str, Any] | None = json.loads(line[5:]) if line.startswith("data:") else None
    return data


def _seconds(time: str | float | None) -> str | float | None:
    """A time for a text field, where a whole number needs its decimal point: digits alone may be a date."""
    return f"{time}.0" if isinstance(time, int) and not isinstance(time, bool) else time


def _json(filter: Filter | None) -> str | None:
    return filter if filter is None or isinstance(filter, str) else json.dumps(filter)


def _set(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _files(images: Sequence[Image]) -> list[tuple[str, tuple[str, bytes, str]]]:
    parts = []
    for number, image in enumerate(images):
        if isinstance(image, bytes):
            parts.append(("images", (f"{number}.jpg", image, "application/octet-stream")))
        else:
            path = Path(image)
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            parts.append(("images", (path.name, path.read_bytes(), kind)))
    return parts
