"""calibrate: what a site's scores mean, measured now."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated

import typer

from cli.connection import LOCAL, Key, Server, Site, connect

if TYPE_CHECKING:
    from resight_client import Calibration


def calibrate(
    site: Site,
    labels: Annotated[
        str | None,
        typer.Option(
            help="identity: people whom two cameras have seen; tracklets: tracks alone, a guess; all: both; "
            "answers: the card, moved by answers, a guess too. Without it the first of identity, all and "
            "answers that suffices"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Measure what a site's scores mean, by identities of its items, by tracks, or by both."""
    with connect(server, api_key) as client:
        measured = client.calibrate(site, labels=labels)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(measured), indent=2))
        return
    for line in lines(site, measured):
        typer.echo(line)


def lines(site: str, measured: Calibration) -> list[str]:
    """A calibration in sentences."""
    seen = measured.measured
    among = f", at about {seen.people_now} people in the gallery" if seen is not None else ""
    by = f"{measured.people} people"
    if seen is not None and seen.labels != "identity":
        by = f"{by} and {seen.tracks} tracks" if measured.people is not None else f"{seen.tracks} tracks"
        by = by if seen.labels != "answers" else f"{sum(seen.pairs.values())} answers"
    shown = [f"site {site} is calibrated by {by}{among}"]
    if seen is not None:
        counts = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in seen.pairs.items() if count)
        shown += [f"pairs of crops: {counts}"] if counts else []
        if seen.torn_tracks:
            shown.append(
                f"{seen.torn_tracks} tracks bear two names, so they were left out; look at their names"
            )
        shown += seen.notes
    for rate, threshold in measured.thresholds.items():
        alarms = f"{1000 * float(rate):g} false alarms in 1,000 queries of unknown people"
        if threshold is None:
            shown.append(f"{alarms}: not known: {seen.refused[rate] if seen is not None else ''}")
            continue
        missed = seen.missed[rate] if seen is not None else None
        of_known = "" if missed is None else f", which misses {100 * missed:.0f} % of those who are enrolled"
        shown.append(f"{alarms}: above {threshold:.4f}{of_known}")
    return shown
