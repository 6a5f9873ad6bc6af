"""update, people and journal: correcting what items say and who they show."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from cli.connection import LOCAL, Filter, Key, Server, Site, connect
from cli.output import fail, table

if TYPE_CHECKING:
    from resight_client import Change, Corrected

AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
Person = Annotated[str, typer.Argument(help="name of a person at the site")]
Ids = Annotated[list[str], typer.Argument(help="ids of items")]
Cursor = Annotated[Optional[str], typer.Option(help="of the list before, which says it")]
Entry = Annotated[int, typer.Argument(help="number of the entry, as journal list shows it")]


def update(
    site: Site,
    item: Annotated[Optional[list[str]], typer.Argument(help="ids of items, instead of a filter")] = None,
    identity: Annotated[Optional[str], typer.Option(help="new name; empty: nobody's")] = None,
    camera: Annotated[Optional[str], typer.Option(help="new camera; empty: not known")] = None,
    captured_at: Annotated[Optional[str], typer.Option(help="new time; empty: not known")] = None,
    metadata: Annotated[Optional[str], typer.Option(help="JSON instead of all that items have")] = None,
    filter: Filter = None,
    all: Annotated[bool, typer.Option("--all", help="every item of the site")] = False,
    revision: Annotated[
        Optional[int], typer.Option(help="of the one item, that you have seen; refused if it changed since")
    ] = None,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Give items other labels: all of them, or none. `resight journal undo` takes it back."""
    values: dict[str, Any] = {"identity": identity, "camera": camera, "captured_at": captured_at}
    values = {name: value or None for name, value in values.items() if value is not None}
    if metadata is not None:
        values["metadata"] = _object(metadata)
    if not values:
        fail("nothing says what to change: give --identity, --camera, --captured-at or --metadata")
    if bool(item) + (filter is not None) + all != 1:
        fail("give ids of items, --filter, or --all for the whole site: one of them")
    if revision is not None and len(item or []) != 1:
        fail("--revision is of one item; give its id alone")
    revisions = {item[0]: revision} if item and revision is not None else None
    with connect(server, api_key) as client:
        corrected = client.update_items(
            site, values, items=item or None, filter=filter, all=all, revisions=revisions
        )
    say_corrected(corrected, "updated")


def people_list(
    site: Site,
    identity: Annotated[Optional[str], typer.Option(help="this person alone")] = None,
    include_hidden: Annotated[bool, typer.Option("--include-hidden", help="hidden people too")] = False,
    limit: Annotated[int, typer.Option(help="people to list")] = 100,
    cursor: Cursor = None,
    as_json: AsJson = False,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """List a site's people by name: their items, and where and when they were seen."""
    with connect(server, api_key) as client:
        page = client.people(
            site, identity=identity, include_hidden=include_hidden, limit=limit, cursor=cursor
        )
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(page), indent=2))
        return
    rows: list[tuple[str, ...]] = []
    for person in page.people:
        name = f"{person.identity} (hidden)" if person.hidden else person.identity
        seen = (person.first_seen or "", person.last_seen or "")
        rows.append((name, str(person.items), " ".join(person.cameras), *seen, person.feature))
    table(f"people of {site}", ("name", "items", "cameras", "first seen", "last seen", "picture"), rows)
    if page.cursor is not None:
        typer.echo(f"there are more: --cursor {page.cursor}", err=True)


def people_map(
    site: Site,
    identity: Annotated[Optional[str], typer.Option(help="name of a person at the site")] = None,
    cluster: Annotated[Optional[str], typer.Option(help="instead: id of any item of a cluster")] = None,
    as_json: AsJson = False,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Show where the items of a person or of a cluster lie to each other in two dimensions."""
    if (identity is None) == (cluster is None):
        fail("give either --identity or --cluster: a person's name, or an item of a cluster")
    with connect(server, api_key) as client:
        made = client.crop_map(site, identity=identity, cluster=cluster)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(made), indent=2))
        return
    rows = [(each.item, each.camera or "", f"{each.x:.3f}", f"{each.y:.3f}") for each in made.points]
    table(f"{len(rows)} of {made.items} item(s)", ("item", "camera", "x", "y"), rows)
    typer.echo(f"the axes show {100 * sum(made.shown):.0f} % of how the items differ", err=True)


def rename(
    site: Site,
    identity: Person,
    to: Annotated[str, typer.Argument(help="a name that nobody has")],
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Give a person a name that nobody has."""
    with connect(server, api_key) as client:
        say_corrected(client.rename(site, identity, to), "renamed")


def merge(
    site: Site,
    identity: Person,
    into: Annotated[str, typer.Argument(help="the person who gets the items, and whose name stays")],
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Give the items of a person to another one, and say how alike both were."""
    with connect(server, api_key) as client:
        corrected = client.merge(site, identity, into)
    say_corrected(corrected, "merged")
    if corrected.alike is not None:
        alike = corrected.alike
        typer.echo(f"cosine of the means {alike.mean:.4f}, of the two best items {alike.best:.4f}")


def split(
    site: Site,
    identity: Person,
    to: Annotated[str, typer.Argument(help="a name that nobody has")],
    items: Ids,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Give some of a person's items a name that nobody has: all of them, or none."""
    with connect(server, api_key) as client:
        say_corrected(client.split(site, identity, items, to), "split off")


def hide(
    site: Site,
    identity: Person,
    off: Annotated[bool, typer.Option("--off", help="show the person again")] = False,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Leave a person out of the answers of queries."""
    with connect(server, api_key) as client:
        say_corrected(client.hide(site, identity, not off), "shown" if off else "hidden")


def feature(
    site: Site,
    identity: Person,
    item: Annotated[Optional[str], typer.Argument(help="one of the person's; without it, the newest")] = None,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Choose the item whose picture stands for a person."""
    with connect(server, api_key) as client:
        say_corrected(client.set_feature(site, identity, item), "chosen")


def different(
    site: Site,
    identity: Person,
    item: Annotated[Optional[str], typer.Option(help="id of an item that does not show the person")] = None,
    other: Annotated[Optional[str], typer.Option(help="instead: a person who is not this one")] = None,
    off: Annotated[bool, typer.Option("--off", help="take it back")] = False,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Remember that an item, or another person, is not this person. An item that bears the name loses it."""
    if (item is None) == (other is None):
        fail("give either --item or --other: an item or a person that is not this one")
    with connect(server, api_key) as client:
        say_corrected(
            client.set_different(site, identity, item=item, other=other, different=not off), "noted"
        )


def journal_list(
    site: Site,
    item: Annotated[Optional[str], typer.Option(help="only what changed this item")] = None,
    limit: Annotated[int, typer.Option(help="entries to list")] = 20,
    cursor: Cursor = None,
    as_json: AsJson = False,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """List a site's corrections, the newest first."""
    with connect(server, api_key) as client:
        page = client.journal(site, item=item, limit=limit, cursor=cursor)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(page), indent=2))
        return
    rows: list[tuple[str, ...]] = []
    for entry in page.entries:
        state = f"undone by {entry.undone_by}" if entry.undone_by else ""
        action = f"undo {entry.undoes}" if entry.undoes else entry.action
        first = _change(entry.changes[0]) if entry.changes else "erased"
        rows.append((str(entry.entry), entry.at, entry.actor, action, str(entry.items), first, state))
    heads = ("entry", "at", "actor", "action", "items", "changed, among others", "state")
    table(f"journal of {site}", heads, rows)
    if page.cursor is not None:
        typer.echo(f"there are more: --cursor {page.cursor}", err=True)


def journal_undo(entry: Entry, server: Server = LOCAL, api_key: Key = None) -> None:
    """Undo a correction; an undo can be undone too."""
    with connect(server, api_key) as client:
        say_corrected(client.undo(entry), "changed back")


def _object(text: str) -> dict[str, Any]:
    """A JSON object."""
    try:
        values = json.loads(text)
    except ValueError as error:
        fail(f"--metadata is no JSON: {error}")
    if not isinstance(values, dict):
        fail("--metadata must be a JSON object, like '{\"track\": 12}'")
    return values


def say_corrected(corrected: Corrected, done: str) -> None:
    """Prints what a correction did, and how it is undone."""
    if corrected.entry is None:
        typer.echo("everything was already so; nothing was changed")
        return
    items = f": {corrected.items} item(s) of site {corrected.site}" if corrected.items else ""
    typer.echo(f"{done}{items}; undo it with: resight journal undo {corrected.entry}")


def _change(change: Change) -> str:
    """One change in a few words."""
    name = f"{change.field} of {change.identity}" if change.identity else change.field
    return f"{name}: {json.dumps(change.before)} -> {json.dumps(change.after)}"
