"""review: doubtful cases, and what people say of them."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.connection import LOCAL, Key, Server, Site, connect
from cli.corrections import AsJson, say_corrected
from cli.output import table

if TYPE_CHECKING:
    from resight_client import CaseSide

_SHOWN = 3  # items of a side in the table


def review_list(
    site: Site,
    limit: Annotated[int, typer.Option(help="cases to list")] = 20,
    as_json: AsJson = False,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """List doubtful cases, the most useful first."""
    with connect(server, api_key) as client:
        queue = client.review(site, limit=limit)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(queue), indent=2))
        return
    rows: list[tuple[str, ...]] = []
    for each in queue.cases:
        probability = f"{each.probability:.2f}" if each.probability is not None else ""
        why = f"{each.reason} (skipped)" if each.skipped else each.reason
        rows.append((each.case, probability, why, *map(_side, each.sides)))
    table(f"doubtful cases of {site}", ("case", "same", "why it is asked", "one side", "other side"), rows)
    guess = "; probabilities are a guess: the site is not calibrated by its own labels" if queue.guess else ""
    typer.echo(f"{len(rows)} of {queue.open} case(s){guess}", err=True)


def review_answer(
    site: Site,
    case: Annotated[str, typer.Argument(help="of the list")],
    answer: Annotated[
        Literal["same", "different", "skip"], typer.Argument(help="whether both sides are the same person")
    ],
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Decide a case: `same` gives the first side the name of the second, `different` is remembered.
    `resight journal undo` takes it back. `skip` puts the case behind the others."""
    with connect(server, api_key) as client:
        corrected = client.answer_review(site, case, answer)
    if answer == "skip":
        typer.echo("put behind the others")
        return
    say_corrected(corrected, "the same person" if answer == "same" else "noted")


def _side(side: CaseSide) -> str:
    """A side in a few lines: who it is, how many items, and the ids of the first ones."""
    name = side.identity if side.identity is not None else "no name"
    items = [item.id for item in side.evidence[:_SHOWN]]
    return "\n".join([f"{name}, {side.items} item(s)", *items])
