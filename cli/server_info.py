"""info and image: what a server runs, and one picture that it keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.connection import LOCAL, Key, Server, connect
from cli.output import fail, table, written


def info(
    as_json: Annotated[bool, typer.Option("--json", help="everything that GET /info answers")] = False,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Say which model and which engine a server runs, and what it tried before."""
    with connect(server, api_key) as client:
        report = client.info()
    if as_json:
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
        return
    bundle, engine = report["bundle"], report["engine"]
    size = f"{bundle['height']}x{bundle['width']}"
    tiers = ", ".join(report["tiers"])
    rows = [
        ("model", f"{bundle['name']}: {bundle['architecture']}, crops of {size}, vectors of {bundle['dim']}"),
        ("engine", f"{engine['engine']} {engine['version']}, {engine['precision']}, on {engine['device']}"),
        ("search", f"on the {report['search']}, index {report['index']}"),
        ("images", "are kept" if report["keep_images"] else "are not kept"),
        ("tiers of adapt", f"{tiers}; single ones can be joined, like 1+0"),
        ("running for", f"{report['uptime_s']:.0f} s"),
    ]
    table(server.rstrip("/"), ("what", "value"), rows)
    for name, reason in report["refused_engines"].items():
        typer.echo(f"engine {name} was refused: {reason}")
    for name, trial in report["engine_trials"].items():
        typer.echo(f"engine {name} was tried: {_trial(trial)}")
    tuning = report.get("tuning")  # an older server does not say
    if tuning is not None:
        by = "as resight tune measured it" if tuning["measured"] else "by default; see resight tune --help"
        typer.echo(f"bulk work: {tuning['streams']} batches at once of {tuning['batch']} crops, {by}")
        if tuning["note"] is not None:
            typer.echo(f"note: {tuning['note']}")
    for fallback in report["fallbacks"]:
        typer.echo(
            f"did not run as wished: {fallback['what']}, {fallback['times']} times: {fallback['reason']}"
        )


def _trial(trial: dict[str, Any]) -> str:
    """What came out when an engine was tried, as a part of a sentence."""
    if trial["refused"] or trial["undecided"]:
        return str(trial["refused"] or f"no result: {trial['undecided']}")
    parts = []
    if trial["crops_per_second"] is not None:
        parts.append(f"{trial['crops_per_second']:.0f} crops a second")
    if trial["speed_up"] is not None:
        parts.append(f"{trial['speed_up']:.2f} times the rate of float")
    if trial["min_cosine"] is not None:
        parts.append(f"cosine to the recorded vectors at least {trial['min_cosine']:.4f}")
    return ", ".join(parts)


def image(
    item: Annotated[str, typer.Argument(help="id of the item, as list and query print it")],
    out: Annotated[Path, typer.Option(help="the picture as it was enrolled; a file that is there is kept")],
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Fetch the picture of an item. The server's audit log notes it."""
    written("--out", out)
    if out.exists():
        fail(f"--out {out} is there already; name another file")
    with connect(server, api_key) as client:
        data = client.image(item)
    try:
        with out.open("xb") as file:
            file.write(data)
    except OSError as error:
        fail(f"--out {out}: {error.strerror}")
    typer.echo(f"wrote {out}: {len(data)} bytes")
