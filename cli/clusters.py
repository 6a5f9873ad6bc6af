"""clusters: people whom nobody has named."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Optional

import typer

from cli.connection import LOCAL, Key, Server, Site, connect
from cli.corrections import AsJson, Cursor, say_corrected
from cli.output import table

Item = Annotated[str, typer.Argument(help="id of any item of the cluster")]
Threshold = Annotated[
    Optional[float],
    typer.Option(help="lowest cosine of two items that may belong together; default: by calibration"),
]


def clusters_list(
    site: Site,
    threshold: Threshold = None,
    limit: Annotated[int, typer.Option(help="clusters to list")] = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """List items without a name that look like one person, the largest cluster first."""
    with connect(server, api_key) as client:
        page = client.clusters(site, threshold=threshold, cursor=cursor, limit=limit)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(page), indent=2))
        return
    rows: list[tuple[str, ...]] = []
    for each in page.clusters:
        seen = (each.first_seen or "", each.last_seen or "")
        like = f"{each.nearest.identity} ({each.nearest.score:.2f})" if each.nearest is not None else ""
        rows.append((each.cluster, str(each.items), " ".join(each.cameras), *seen, like))
    table(
        f"unknown people of {site}", ("cluster", "items", "cameras", "first seen", "last seen", "like"), rows
    )
    guess = " (a guess: the site is not calibrated by its own labels)" if page.guess else ""
    typer.echo(
        f"{page.looked_at} of {page.unnamed} item(s) without a name were grouped, where their cosine is "
        f"{page.threshold:.2f} or more{guess}",
        err=True,
    )
    if page.cursor is not None:
        typer.echo(f"there are more: --cursor {page.cursor}", err=True)


def clusters_show(
    site: Site,
    item: Item,
    threshold: Threshold = None,
    limit: Annotated[int, typer.Option(help="items to list")] = 100,
    cursor: Cursor = None,
    as_json: AsJson = False,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """List the items of a cluster, the oldest first."""
    with connect(server, api_key) as client:
        page = client.cluster(site, item, threshold=threshold, cursor=cursor, limit=limit)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(page), indent=2))
        return
    rows: list[tuple[str, ...]] = []
    for each in page.items:
        rows.append((each.id, each.camera or "", each.captured_at or "", each.enrolled_at or ""))
    table(f"{page.cluster.items} item(s)", ("id", "camera", "captured", "enrolled"), rows)
    if page.cursor is not None:
        typer.echo(f"there are more: --cursor {page.cursor}", err=True)


def clusters_name(
    site: Site,
    item: Item,
    identity: Annotated[str, typer.Argument(help="who they show, somebody new or known")],
    items: Annotated[
        Optional[int], typer.Option(help="how many you have seen; refused if there are others by now")
    ] = None,
    threshold: Threshold = None,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Give all items of a cluster a name. `resight journal undo` takes it back."""
    with connect(server, api_key) as client:
        corrected = client.name_cluster(site, item, identity, items=items, threshold=threshold)
    say_corrected(corrected, "named")
