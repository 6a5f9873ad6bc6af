"""review: doubtful cases, and what people say of them."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.connection import LOCAL, Key, Server, Site, connect
from cli.corrections import AsJson, say_corrected
from cli.output import say

if TYPE_CHECKING:
    from resight_client import CaseSide

_SHOWN = 3  # items of a side


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
    typer.echo(f"doubtful cases of {site}{'' if queue.cases else ': none'}")
    for each in queue.cases:
        say(f"{each.case}  {each.reason}{' (skipped)' if each.skipped else ''}")
        for side in each.sides:
            say(f"    {_side(side)}")
    told = any(each.probability is not None for each in queue.cases)
    guess = "; probabilities are a guess: the site is not calibrated by its own labels"
    shown = f"{len(queue.cases)} of {queue.open} case(s)"
    typer.echo(f"{shown}{guess if told and queue.guess else ''}", err=True)


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
    """Who a side is, how many items it has, and the ids of those that are most like the other side."""
    name = side.identity if side.identity is not None else "no name"
    return f"{name}, {side.items} item(s): {' '.join(item.id for item in side.evidence[:_SHOWN])}"
