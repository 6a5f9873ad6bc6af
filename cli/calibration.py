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
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Measure what a site's scores mean, by identities of its items."""
    with connect(server, api_key) as client:
        measured = client.calibrate(site)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(measured), indent=2))
        return
    for line in lines(site, measured):
        typer.echo(line)


def lines(site: str, measured: Calibration) -> list[str]:
    """A calibration in sentences."""
    seen = measured.measured
    among = f", at about {seen.people_now} people in the gallery" if seen is not None else ""
    shown = [f"site {site} is calibrated by {measured.people} people{among}"]
    for rate, threshold in measured.thresholds.items():
        alarms = f"{1000 * float(rate):g} false alarms in 1,000 queries of unknown people"
        if threshold is None:
            shown.append(f"{alarms}: not known: {seen.refused[rate] if seen is not None else ''}")
            continue
        missed = seen.missed[rate] if seen is not None else None
        of_known = "" if missed is None else f", which misses {100 * missed:.0f} % of those who are enrolled"
        shown.append(f"{alarms}: above {threshold:.4f}{of_known}")
    return shown
