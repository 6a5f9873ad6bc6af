"""query, adapt, adapt-after, adapt-report and rollback: a server from the outside."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from cli.connection import LOCAL, Filter, Key, Server, Site, connect
from cli.output import fail, percent, shown, table, written
from cli.vector_files import read_vectors

if TYPE_CHECKING:
    from resight_client import Answer, Client, Job


def query(
    site: Site,
    images: Annotated[
        Optional[list[Path]], typer.Argument(help="one crop, or the crops of one tracklet")
    ] = None,
    item: Annotated[Optional[str], typer.Option(help="id of an enrolled item, instead of images")] = None,
    vector: Annotated[
        Optional[Path],
        typer.Option(
            help="a file of vectors instead of images, of one crop or one tracklet: NAME.npz of resight "
            "embed, NAME.npy, or the JSON that POST /embed answered"
        ),
    ] = None,
    raw_space_id: Annotated[
        Optional[str], typer.Option(help="of the vectors, where their file does not name it")
    ] = None,
    top_k: Annotated[int, typer.Option(help="matches to return")] = 10,
    query_camera: Annotated[Optional[str], typer.Option(help="where the query was seen")] = None,
    camera: Annotated[Optional[str], typer.Option(help="the older name of --query-camera")] = None,
    exclude_same_camera: Annotated[
        bool, typer.Option("--exclude-same-camera", help="leave out items of the query's camera")
    ] = False,
    filter: Filter = None,
    threshold: Annotated[
        Optional[float], typer.Option(help="lowest score to return: a cosine, from -1 to 1")
    ] = None,
    false_alarms_per_1000: Annotated[
        Optional[float],
        typer.Option(
            help="instead of --threshold: allow so many in 1,000 queries of unknown people, at the gallery's "
            "present size; the site has to be calibrated"
        ),
    ] = None,
    group_by: Annotated[
        Optional[str],
        typer.Option(help="identity: rank people instead of items, and say whether anybody fits"),
    ] = None,
    rerank: Annotated[
        bool,
        typer.Option(
            "--rerank",
            help="put the 200 nearest items in the order of the neighbours that they share with the query",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Rank a site's gallery for a crop, the crops of one tracklet, their vectors, or an enrolled item."""
    import dataclasses

    if bool(images) + (item is not None) + (vector is not None) > 1:
        fail("images, --item and --vector contradict each other; give one of them")
    if raw_space_id is not None and vector is None:
        fail("--raw-space-id is of vectors; give them with --vector, or leave it out")
    if rerank and group_by is not None:
        fail("--rerank is for items and --group-by for people; give one of them")
    if threshold is not None and false_alarms_per_1000 is not None:
        fail("--threshold and --false-alarms-per-1000 contradict each other; give one or the other")
    if not images and not item and vector is None:
        fail(
            "nothing says what to look for: give an image, its vector with --vector, or the id of an "
            "enrolled item with --item"
        )
    vectors = None
    if vector is not None:
        vectors, named = read_vectors("--vector", vector)
        raw_space_id = raw_space_id or named
        if raw_space_id is None:
            fail(f"--vector {shown(vector)} does not name its raw space; give it with --raw-space-id")
    for path in images or []:
        if path.is_dir():
            fail(f"{path} is a folder; a query takes one crop, or the crops of one tracklet, as files")
        if not path.exists():
            fail(f"{path} does not exist")
        if not path.is_file():
            fail(f"{path} is a device or a pipe and no file")
    with connect(server, api_key) as client:
        answer = client.query(
            site,
            images or None,
            vectors=vectors,
            raw_space_id=raw_space_id,
            item_id=item,
            top_k=top_k,
            query_camera=query_camera,
            camera=camera,
            exclude_same_camera=exclude_same_camera,
            filter=filter,
            threshold=threshold
            if false_alarms_per_1000 is None
            else {"false_alarms_per_1000": false_alarms_per_1000},
            group_by=group_by,
            rerank=rerank,
        )
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(answer), indent=2))
        return
    if answer.people is not None:
        _print_people(answer)
        return
    if not answer.matches:
        typer.echo(f"no item of {site} matches")
        return
    table(
        f"{site}, version {answer.version}",
        ("rank", "score", "identity", "camera", "captured at", "id"),
        [
            (str(m.rank), f"{m.score:.4f}", m.identity or "", m.camera or "", m.captured_at or "", m.id)
            for m in answer.matches
        ],
    )


def _print_people(answer: Answer) -> None:
    """People as a table, the decision in a sentence, and where all items of those without a name are."""
    rows = []
    people = answer.people or []
    for person in people:
        cameras = sorted({match.camera for match in person.items if match.camera})
        margin = "" if person.margin is None else f"{person.margin:.4f}"
        items = " ".join(match.id for match in person.items)
        name = person.identity or ("(unknown)" if person.cluster else "(no identity)")
        rows.append((str(person.rank), name, f"{person.score:.4f}", margin, " ".join(cameras), items))
    if rows:
        heads = ("rank", "identity", "score", "margin", "cameras", "items")
        table(f"{answer.site}, version {answer.version}", heads, rows)
    typer.echo(_decision(answer))
    for person in people:
        if person.cluster:
            look = f"resight clusters show --site {answer.site} {person.cluster}"
            typer.echo(f"Person {person.rank} has no name: {look}")


def _decision(answer: Answer) -> str:
    """What the answer says about its first person."""
    sentences = {
        None: "Whether anybody fits is not known: nothing has measured what scores mean at this site; see: "
        f"resight calibrate --site {answer.site}.",
        "nobody": "Nobody: unknown people score as high as the first person does.",
        "ambiguous": "Ambiguous: it may be the first person, but that is not sure.",
        "match": "Match: the first person.",
    }
    text = sentences[answer.decision]
    if answer.probability is not None:
        guess = " (a guess, from another gallery)" if answer.guess else ""
        text += f" Probability that it is the first person: {percent(answer.probability)}{guess}."
    return text


def adapt(
    site: Site,
    tier: Annotated[
        str,
        typer.Option(
            help="auto (those that help), none (back to the bundle's own values), or tiers like "
            "0 or 1+0; the server's /info lists them"
        ),
    ] = "auto",
    gate: Annotated[
        bool, typer.Option("--gate/--no-gate", help="whether each tier has to show that it helps")
    ] = True,
    max_samples: Annotated[Optional[int], typer.Option(help="most crops to look at")] = None,
    seed: Annotated[int, typer.Option(help="of the choice of crops and the order of pairs")] = 0,
    refit: Annotated[
        bool, typer.Option("--refit", help="make the live profile again without items erased since")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="show progress until it has ended")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="wait, and print the whole report as JSON")] = False,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Adapt a site to its own crops, tier by tier."""
    with connect(server, api_key) as client:
        job = client.adapt(site, tier, max_samples=max_samples, seed=seed, gate=gate, refit=refit)
        _follow(client, job, wait or as_json, as_json)


def adapt_after(
    site: Site,
    items: Annotated[Optional[int], typer.Option(help="after so many new items")] = None,
    hours: Annotated[Optional[float], typer.Option(help="after so many hours, if any item is new")] = None,
    off: Annotated[bool, typer.Option("--off", help="no longer")] = False,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Have a site adapted again by itself; without --items, --hours or --off, say whether it is."""
    if off and (items is not None or hours is not None):
        fail("--off contradicts --items and --hours; give one or the other")
    with connect(server, api_key) as client:
        if off or items is not None or hours is not None:
            shown = client.adapt_after(site, items=items, hours=hours)
        else:
            shown = client.site(site)
    after = shown.adapt_after
    if after is None:
        typer.echo(f"site {site} is not adapted by itself")
        return
    parts = [f"after {after.items} new items"] if after.items is not None else []
    parts += [f"after {after.hours:g} hours"] if after.hours is not None else []
    waits = f"; it waits: {after.waits}" if after.waits else ""
    typer.echo(f"site {site} is adapted {' or '.join(parts)}{waits}")


def adapt_report(
    job: Annotated[str, typer.Argument(help="id of the job, as adapt prints it")],
    out: Annotated[Path, typer.Option(help="the page; one that is there already is replaced")],
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Write one page of HTML about an adaptation that has ended: what was tried, judged, and went live."""
    from cli.adapt_report import page

    written("--out", out)
    with connect(server, api_key) as client:
        found = client.job(job)
    if found.kind != "adapt":
        fail(f"job {job} is a {found.kind}; a report is written of adaptations")
    if found.state in ("queued", "running", "interrupted"):
        share = f"{found.stage}, {found.progress:.0%}"
        fail(f"job {job} has not ended ({found.state}: {share}); its report can be written when it has")
    try:
        out.write_bytes(page(found).encode("utf-8", "replace"))
    except OSError as error:
        fail(f"--out {out}: {error.strerror}")
    typer.echo(f"wrote {out}: {found.kind} of {found.site}, {found.state}")


def rollback(
    site: Site,
    wait: Annotated[bool, typer.Option("--wait", help="show progress until it has ended")] = False,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Undo a site's last adaptation."""
    with connect(server, api_key) as client:
        _follow(client, client.roll_back(site), wait)


def _rung(rung: dict[str, Any]) -> str:
    """A rung of the ladder as one line."""
    gain = ""
    if rung["gain"] is not None:
        gain = f"{rung['gain']:+.2f} mAP ({rung['low']:+.2f} to {rung['high']:+.2f}): "
    return f"tier {rung['tiers']} over {rung['below']}: {gain}{rung['reason']}"


def _follow(client: Client, job: Job, wait: bool, as_json: bool = False) -> None:
    """Prints what a job does until it has ended; as JSON its report alone, everything else as errors."""
    if not wait:
        typer.echo(f"job {job.job} {job.state}; watch it with: curl -N {client.url}/adapt/{job.job}/events")
        return
    from rich.progress import Progress

    typer.echo(f"job {job.job} {job.state}", err=as_json)  # before the waiting, which Ctrl-C may end
    with Progress(disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(job.stage, total=1.0)
        shown = 0
        for update in client.watch(job.job):
            job = update
            bar.update(task, completed=job.progress, description=job.stage)
            rungs = job.report.get("rungs", [])
            for rung in rungs[shown:]:
                typer.echo(_rung(rung), err=as_json)
            shown = len(rungs)
    if as_json:
        typer.echo(json.dumps(job.report, indent=2, ensure_ascii=False))
    for note in job.report.get("notes") or ():
        typer.echo(f"note: {note}", err=as_json)
    if job.kind == "adapt" and job.ended:
        typer.echo(f"as a page: resight adapt-report {job.job} --out report.html", err=as_json)
    if job.state != "succeeded":  # also where the gate took nothing: nothing is adapted then
        fail(f"{job.kind} {job.state}: {job.report.get('reason') or job.report.get('error') or job.state}")
    typer.echo(_live(job), err=as_json)


def _live(job: Job) -> str:
    """What is live after a job, in a line."""
    tiers = job.report.get("tiers")
    return f"{job.site} is on version {job.version}" + (f": tiers {tiers}" if tiers else "")
