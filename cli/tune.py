"""tune: how a server should use this CPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from cli.output import fail, table
from cli.serving import DATA, STORE, sentence_of
from reid.engine_names import CHOICES

_BUSY = 0.5  # load of the machine over a minute


def tune(
    bundle: Annotated[Optional[Path], typer.Option(help="the .resight folder (RESIGHT_BUNDLE)")] = None,
    data: Annotated[Optional[Path], typer.Option(help=DATA)] = None,
    store: Annotated[Optional[str], typer.Option(help=STORE)] = None,
    engine: Annotated[Optional[str], typer.Option(help=CHOICES)] = None,
) -> None:
    """Measure how the CPU's cores are best shared out between queries and bulk work, and keep it beside the
    gallery for the next start of its server. Give what the server is given, and let nothing else run: it
    takes a minute."""
    from pydantic import ValidationError

    from server.errors import StartError
    from server.settings import Settings
    from server.tune import tune as measure

    given: dict[str, Any] = {"bundle": bundle, "data": data, "store": store, "engine": engine}
    given = {name: value for name, value in given.items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        fail(sentence_of(error, given))
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > _BUSY:
        typer.echo("note: this machine is busy; measure again when nothing else runs", err=True)
    try:
        measured = measure(settings)
    except StartError as error:
        fail(str(error))
    tuning, fastest = measured.tuning, max(measured.rates.values())
    rows = [
        (str(way.streams) if way.streams else "as queries", str(way.batch), f"{rate / fastest:.2f}")
        for way, rate in measured.rates.items()
    ]
    table("bulk work, as shares of the fastest", ("streams", "batch", "crops a second"), rows)
    soonest = min(measured.seconds.values())
    times = [
        (str(threads) if threads else "default", f"{seconds / soonest:.2f}")
        for threads, seconds in measured.seconds.items()
    ]
    table("one crop, as times the soonest", ("threads", "time"), times)
    bulk = f"{tuning.streams} streams of {tuning.batch} crops" if tuning.streams else "the engine for queries"
    queries = f"{tuning.query_threads} threads" if tuning.query_threads else "the runtime's own choice"
    typer.echo(f"bulk work: {bulk}; queries: {queries}; from the next start of the server")
