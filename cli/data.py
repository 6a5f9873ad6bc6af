"""data check: what is in a dataset, before a model learns from it. Options that other verbs share."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from cli.output import fail, picture, progress, say, table, written

if TYPE_CHECKING:
    from training.data.inspection import Inspection, NearPair
    from training.data.records import Dataset
    from training.data.summary import Summary

_OWN = ("folders", "market-style", "tracklets", "pattern", "classes", "unlabeled")
_CAMERAS = 30  # rows of the table
_SHOWN = 20  # sentences on what is to mend
_MOST_ALIKE = 3  # pairs of nearly equal pictures
_RECIPE = "bot-small"  # the one that the check names: it trains on a CPU

Data = Annotated[Path, typer.Option(envvar="RESIGHT_DATA", help="root folder of the dataset")]
Pattern = Annotated[
    str,
    typer.Option(
        help="of the dataset pattern:FOLDER: a regex over paths with groups named person, camera, part, time "
        "and track, like '(?P<camera>[^/]+)/(?P<person>[^_]+)_'"
    ),
]
IgnoreCameras = Annotated[
    bool,
    typer.Option(
        "--ignore-cameras", help="also count matches of the query's own camera, which are left out otherwise"
    ),
]
SkipUnreadable = Annotated[
    bool, typer.Option("--skip-unreadable", help="leave out images that cannot be read, and name them")
]
LeaveOutSingles = Annotated[
    bool, typer.Option("--leave-out-singles", help="do not train on people with one image; says how many")
]


def data_check(
    name: Annotated[str, typer.Argument(help="a dataset, like folders:SITE; docs/datasets.md has them all")],
    data: Data,
    split: Annotated[int, typer.Option(min=0, help="where a dataset has several")] = 0,
    pattern: Pattern = "",
    ignore_cameras: IgnoreCameras = False,
    quick: Annotated[bool, typer.Option("--quick", help="open no image: the numbers alone")] = False,
    sheet: Annotated[
        Optional[Path],
        typer.Option(help="a picture of twelve people: people in rows, their crops by camera"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="of the people on the sheet")] = 0,
    json_out: Annotated[Optional[Path], typer.Option("--json", help="also write everything here")] = None,
) -> None:
    """Count a dataset's people, images and cameras, and find what would spoil a training or an evaluation.

    Exit status 1 where there is something to mend: unreadable images, one picture of two people or in two
    parts, or no query that can be scored."""
    from training.data import read_dataset
    from training.data.contact_sheet import draw_contact_sheet
    from training.data.inspection import inspect
    from training.data.records import DatasetError
    from training.data.summary import oddities, summarise

    if sheet:
        picture("--sheet", sheet)
    if json_out is not None:
        written("--json", json_out)
    try:
        dataset = read_dataset(name, data, split, pattern)
        dataset = dataclasses.replace(dataset, ignore_camera=dataset.ignore_camera or ignore_cameras)
        summary = summarise(dataset)
        _tables(summary)
        for sentence in [*oddities(summary), *_unread(name, data, dataset)]:
            say(f"note: {sentence}")
        inspection = None
        if not quick:
            with progress("looking at images") as show:
                inspection = inspect(dataset, show)
            if inspection.near:
                say(f"note: {_alike(inspection.near)}")
        problems = _problems(summary, inspection)
        for sentence in problems[:_SHOWN]:
            say(f"to mend: {sentence}")
        if len(problems) > _SHOWN:
            say(f"to mend: {len(problems) - _SHOWN} more, which --json FILE names")
        if sheet:
            draw_contact_sheet(dataset, seed=seed).save(sheet)
            say(f"wrote {sheet}")
        if json_out is not None:
            values = summary.values() | (inspection.values() if inspection else {})
            json_out.write_text(json.dumps(values, indent=2) + "\n")
    except (DatasetError, OSError) as error:
        fail(str(error))
    if problems:
        raise typer.Exit(1)
    say(f"nothing to mend; {_next(name, data, pattern, ignore_cameras, summary)}")


def _next(name: str, data: Path, pattern: str, ignore_cameras: bool, summary: Summary) -> str:
    """The command that this data is ready for, or what a training still needs."""
    where = f"--data {shlex.quote(str(data))}" + (f" --pattern {shlex.quote(pattern)}" if pattern else "")
    reader, _, below = name.partition(":")
    if reader == "unlabeled":
        return f"next: resight distill TEACHER --unlabeled {shlex.quote(str(data / below))} --out RUN"
    train = next((part for part in summary.parts if part.part == "train"), None)
    if train is None:
        evaluation = f"next: resight evaluate RUN --dataset {shlex.quote(name)} {where}"
        return evaluation + (" --ignore-cameras" if ignore_cameras else "")
    people = train.people - summary.singles
    if people < 2:
        return "a training needs two people with two images each"
    smaller = f" --set batch_identities={people}" if people < _batch_identities() else ""
    singles = " --leave-out-singles" if summary.singles else ""
    setting = shlex.quote(f"dataset={name}")
    return f"next: resight train {_RECIPE} {where} --set {setting}{smaller}{singles} --out RUN"


def _batch_identities() -> int:
    """How many people a batch of the named recipe holds."""
    from training.recipe import load_recipe

    return load_recipe(_RECIPE).batch_identities


def echo_summary(dataset: Dataset) -> None:
    """Prints the cheap part of `data check`, of several processes once."""
    from training.data.summary import in_lines, summarise

    if os.environ.get("RANK", "0") == "0":  # torchrun's number of this process
        for line in in_lines(summarise(dataset)):
            say(line)


def _tables(summary: Summary) -> None:
    rows = []
    for part in summary.parts:
        fewest, median, most = part.per_person
        spread = f"{fewest} / {median:g} / {most}"
        images = f"{part.images} in {part.tracks} tracks" if part.tracks else str(part.images)
        rows.append((part.part, str(part.people), images, str(len(part.per_camera)), spread))
    columns = ("part", "people", "images", "cameras", "images a person: fewest / median / most")
    table(summary.name, columns, rows)
    cameras = dict.fromkeys(camera for part in summary.parts for camera in part.per_camera)
    counts: list[tuple[str, ...]] = []
    for camera in cameras:
        counts.append((camera, *(str(part.per_camera.get(camera, 0)) for part in summary.parts)))
    if len(counts) > _CAMERAS:
        counts[_CAMERAS:] = [(f"and {len(counts) - _CAMERAS} more", *("" for _ in summary.parts))]
    table("images by camera", ("camera", *(part.part for part in summary.parts)), counts)
    if summary.queries:
        scored = summary.queries - summary.matchless
        say(f"queries that can be scored: {scored} of {summary.queries}")


def _unread(name: str, data: Path, dataset: Dataset) -> list[str]:
    """What lies beside the crops and is no part of the dataset, where its folder is the user's own."""
    from training.data.files import unread_files

    kind, _, folder = name.partition(":")
    if kind not in _OWN or "+" in name:
        return []
    read = [record.path for record in (*dataset.train, *dataset.query, *dataset.gallery)]
    root = data / folder
    images, others = unread_files(root, read)
    # in a folder that was read, only junk is not, and the dataset's notes count that
    folders = {path.relative_to(root).parts[0] for path in read}
    images = [path for path in images if path.relative_to(root).parts[0] not in folders]
    sentences = [f"{len(images)} images are not read, such as {images[0]}"] if images else []
    if others:
        counts = ", ".join(f"{count} {suffix or 'without a suffix'}" for suffix, count in others.items())
        sentences.append(f"files that are not read as images: {counts}")
    return sentences


def _problems(summary: Summary, inspection: Inspection | None) -> list[str]:
    sentences = []
    if summary.queries and summary.matchless == summary.queries:
        sentences.append("no query can be scored")
    if inspection is None:
        return sentences
    sentences += [f"cannot be read: {fault}" for fault in inspection.unreadable]
    for group in inspection.two_people:
        people = " and ".join(dict.fromkeys(place.person for place in group))
        sentences.append(f"one picture of {people}: {_paths(group)}")
    for group in inspection.across_parts:
        parts = " and ".join(dict.fromkeys(place.part for place in group))
        if group not in inspection.two_people:
            sentences.append(f"one picture in {parts}: {_paths(group)}")
    return sentences


def _alike(pairs: Sequence[NearPair]) -> str:
    """How many pictures of different parts are nearly the same, and which are most alike."""
    named = []
    for pair in pairs[:_MOST_ALIKE]:
        named.append(" and ".join(f"{place.path} ({place.part}, {place.person})" for place in pair[1:]))
    count = "1 pair" if len(pairs) == 1 else f"{len(pairs)} pairs"
    more = "; --json FILE names all" if len(pairs) > _MOST_ALIKE else ""
    return f"{count} of pictures in different parts are nearly the same: {'; '.join(named)}{more}"


def _paths(group: Any) -> str:
    return ", ".join(dict.fromkeys(str(place.path) for place in group))
