"""list, erase, sites and delete-site: what a server holds."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any, Optional

import typer

from cli.connection import LOCAL, Filter, Key, Server, Site, connect
from cli.output import fail, table

Camera = Annotated[Optional[str], typer.Option(help="items of this camera")]
Identity = Annotated[Optional[str], typer.Option(help="items of this person")]
After = Annotated[
    Optional[str],
    typer.Option("--captured-after", help="captured at this time or later, like 2026-05-04T09:30Z"),
]
Before = Annotated[Optional[str], typer.Option("--captured-before", help="captured before this time")]
_NOT_YET = (
    "their bytes are not purged from the server's files yet; the server tries again every few seconds and "
    "after a restart, and /ready says when it is done"
)
_UNKNOWN = "the server cannot tell when their bytes have left its files; see docs/store.md"
_COUNTED = 1000  # items that are counted before a question; a listing gives no more at once


def list_items(
    site: Site,
    camera: Camera = None,
    identity: Identity = None,
    after: After = None,
    before: Before = None,
    filter: Filter = None,
    limit: Annotated[int, typer.Option(help="items to list")] = 100,
    cursor: Annotated[Optional[str], typer.Option(help="of the list before, which says it")] = None,
    with_vectors: Annotated[
        bool, typer.Option("--with-vectors", help="each item with its vector; needs --json")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """List a site's items that meet every condition, in order of enrolling."""
    import dataclasses

    if with_vectors and not as_json:
        fail("--with-vectors needs --json: no table has room for vectors")
    where = _where(camera, identity, after, before, filter)
    with connect(server, api_key) as client:
        page = client.items(site, **where, limit=limit, cursor=cursor, with_vectors=with_vectors)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(page), indent=2))
        return
    if not page.items:  # an unknown site is an error of the server
        why = "no items behind this cursor" if cursor else "no items"
        typer.echo(f"site {site} has {why}{' that meet the conditions' if where else ''}")
        return
    rows: list[tuple[str, ...]] = []
    for item in page.items:
        metadata = json.dumps(item.metadata) if item.metadata else ""
        rows.append((item.id, item.identity or "", item.camera or "", item.captured_at or "", metadata))
    table(site, ("id", "identity", "camera", "captured at", "metadata"), rows)
    if page.cursor is not None:
        typer.echo(f"there are more: --cursor {page.cursor}", err=True)


def erase(
    site: Site,
    item: Annotated[Optional[list[str]], typer.Argument(help="ids of items, instead of conditions")] = None,
    camera: Camera = None,
    identity: Identity = None,
    after: After = None,
    before: Before = None,
    filter: Filter = None,
    all: Annotated[bool, typer.Option("--all", help="every item of the site")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="erase without asking")] = False,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Erase a site's items that meet every condition, or single items, with their images and embeddings.

    `resight list` shows them beforehand. Nothing brings them back.
    """
    where = _where(camera, identity, after, before, filter)
    if item and (where or all):
        fail("ids of items and conditions contradict each other; give one or the other")
    if not item and not where and not all:
        fail("nothing says what to erase: give ids, --identity or another condition, or --all for the site")
    if where and all:
        fail("--all erases the whole site, which contradicts the conditions; give one or the other")
    with connect(server, api_key) as client:
        if not yes:
            if item:
                expected = str(len(item))
            elif all:
                expected = str(client.site(site).items)
            else:
                page = client.items(site, **where, limit=_COUNTED)
                expected = str(len(page.items)) if page.cursor is None else f"at least {_COUNTED}"
            if not typer.confirm(f"Erase {expected} item(s) of site {site} for good?"):
                fail("nothing was erased")
        if item:
            count, purged, until = 0, None, None
            for one in item:
                answer = client.erase(one, site)
                count += answer.erased
                purged, until = answer.purged, answer.index_keeps_until  # of this erasure and all before it
        else:
            answer = client.erase_items(site, **where, all=all)
            count, purged, until = answer.erased, answer.purged, answer.index_keeps_until
    typer.echo(f"erased {count} item(s) of site {site}")
    _say_purged(count, purged, until)


def sites(
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """List a server's sites with their items, live version and tiers of adaptation."""
    with connect(server, api_key) as client:
        every = client.sites()
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(site) for site in every], ensure_ascii=False))
        return
    rows = [(site.site, str(site.items), str(site.version), site.tiers or "unknown") for site in every]
    table("sites", ("site", "items", "version", "tiers"), rows)


def delete_site(
    site: Site,
    yes: Annotated[bool, typer.Option("--yes", help="delete without asking")] = False,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Delete a site with everything in it: items, versions, profiles, jobs and schedule. Nothing brings it
    back."""
    with connect(server, api_key) as client:
        if not yes:
            items = client.site(site).items
            if not typer.confirm(f"Delete site {site} with its {items} item(s) for good?"):
                fail("nothing was deleted")
        answer = client.delete_site(site)
    typer.echo(f"deleted site {site} with {answer.erased} item(s)")
    _say_purged(answer.erased, answer.purged, answer.index_keeps_until)


def _say_purged(count: int, purged: bool | None, until: str | None) -> None:
    """What is not certain yet of what was erased."""
    if count and purged is not True:
        typer.echo(_UNKNOWN if purged is None else _NOT_YET)
    if count and until is not None:
        typer.echo(
            f"the log of the index (Milvus) keeps their vectors until {until}, at least; no answer shows "
            "them; see docs/scaling.md"
        )


def _where(
    camera: str | None, identity: str | None, after: str | None, before: str | None, filter: str | None
) -> dict[str, Any]:
    """The conditions that were given."""
    values = {
        "camera": camera,
        "identity": identity,
        "captured_after": after,
        "captured_before": before,
        "filter": filter,
    }
    return {name: value for name, value in values.items() if value is not None}
