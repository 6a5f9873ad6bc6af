"""gallery export and import: a site's items as files, and back, at this server or another."""

from __future__ import annotations

import datetime
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.connection import LOCAL, Key, Server, Site, connect
from cli.output import fail, shown
from cli.sending import Sender, Sending, send_all

if TYPE_CHECKING:
    from resight_client import Client, Item

SITE_FILE, ITEMS_FILE, IMAGES = "site.json", "items.jsonl", "images"
_FORMAT = "resight gallery, 1"
_LABELS = ("identity", "camera", "captured_at", "metadata")
_FIELDS = {"id", "image", "enrolled_at", *_LABELS}
_OURS = re.compile(r"([0-9a-f]{32})\.(jpg|png|webp|avif|heic)")  # files that an export writes
_AT_ONCE = 32


def gallery_export(
    site: Site,
    out: Annotated[
        Path, typer.Option(help="a new folder, or an export of the same site, which goes on and is updated")
    ],
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Write a site's items with their labels, times and images into a folder that only you can read.

    Repeating the command fetches what is new and leaves out what was erased meanwhile; images that an earlier
    export wrote of erased items are deleted.
    """
    _require_place(out, site)
    with connect(server, api_key) as client:
        model = client.info()["bundle"]
        client.site(site)
        images = out / IMAGES
        images.mkdir(mode=0o700, parents=True, exist_ok=True)
        out.chmod(0o700)
        about = {"format": _FORMAT, "site": site, "model": model["name"], "base": model["base"]}
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        _write(out / SITE_FILE, json.dumps(about | {"exported_at": now}, indent=2).encode() + b"\n")
        have = {ours[1]: ours[0] for path in images.iterdir() if (ours := _OURS.fullmatch(path.name))}
        lines: list[dict[str, Any]] = []
        for item in client.iter_items(site):
            name = have.get(item.id) or _fetched(client, item, images)
            if name == "":
                continue  # it was erased meanwhile
            labels = {label: getattr(item, label) for label in _LABELS}
            image = f"{IMAGES}/{name}" if name is not None else None
            lines.append({"id": item.id, "image": image, **labels, "enrolled_at": item.enrolled_at})
    _write(out / ITEMS_FILE, "".join(json.dumps(line) + "\n" for line in lines).encode())
    kept = {Path(line["image"]).name for line in lines if line["image"] is not None}
    for path in images.iterdir():
        if _OURS.fullmatch(path.name) and path.name not in kept:
            path.unlink()  # of an item that was erased since an earlier export
    typer.echo(f"wrote {len(lines)} item(s) of site {site} to {shown(out)}")
    without = sum(line["image"] is None for line in lines)
    if without:
        typer.echo(f"the image of {without} of them was not kept: they cannot be imported", err=True)


def gallery_import(
    folder: Annotated[Path, typer.Argument(help="that gallery export wrote")],
    site: Site,
    partial: Annotated[
        bool, typer.Option("--partial", help="skip items without an image and images that are refused")
    ] = False,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Enroll the items of an export at a site, with labels and times, embedded by this server's model.

    Every line is checked before anything is sent. Repeating the command enrolls nothing twice and goes on
    where an earlier one ended. Items get new ids and times of enrolling.
    """
    from rich.progress import track

    sendings, without = _read(folder)
    if without and not partial:
        fail(f"{without[0]}: the item has no image, so nothing can be embedded; --partial skips such items")
    count = 0
    with connect(server, api_key) as client:
        sending = send_all(Sender(client, site), sendings, _AT_ONCE)
        quiet = not sys.stderr.isatty()
        for result in track(sending, "importing", total=len(sendings), disable=quiet):
            if result.item is not None:
                count += 1
            elif partial and result.skippable:
                typer.echo(f"skipped {result.name}: {result.problem}", err=True)
            else:
                sending.close()
                fail(f"{result.name}: {result.problem} ({count} items were enrolled before; repeat to go on)")
    typer.echo(f"enrolled {count} of {len(sendings) + len(without)} items at {site}")
    if not count:
        fail(f"nothing was enrolled at {site}")


def _require_place(out: Path, site: str) -> None:
    """Fails where something else than an export of the site would be written over."""
    if not out.exists():
        return
    if not out.is_dir():
        fail(f"--out {shown(out)} is no folder; name a new one")
    about = out / SITE_FILE
    if not any(out.iterdir()):
        return
    try:
        known = json.loads(about.read_text())
        same = (known["format"], known["site"]) == (_FORMAT, site)
    except (OSError, ValueError, KeyError, TypeError):
        fail(f"--out {shown(out)} holds something else than an export; name a new folder")
    if not same:
        fail(f"--out {shown(out)} holds an export of another site; name a new folder")


def _fetched(client: Client, item: Item, images: Path) -> str | None:
    """The name of the file that an item's image was written to; None where it was not kept, empty where the
    item was erased meanwhile."""
    from resight_client import ResightError

    try:
        data = client.image(item.id)
    except ResightError as error:
        if error.status != 404:
            raise
        try:
            client.item(item.id)
        except ResightError as gone:
            if gone.status != 404:
                raise
            return ""
        return None
    name = f"{item.id}.{_kind(data)}"
    _write(images / name, data)
    return name


def _kind(data: bytes) -> str:
    """The suffix of an image file, by its first bytes."""
    if data[:4] == b"\x89PNG":
        return "png"
    if data[:4] == b"RIFF":
        return "webp"
    if data[4:8] == b"ftyp":
        return "avif" if data[8:12] in (b"avif", b"avis") else "heic"
    return "jpg"


def _write(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    except OSError as error:
        fail(f"{shown(path)} cannot be written: {error.strerror}; what is there stays, repeat to go on")


def _read(folder: Path) -> tuple[list[Sending], list[str]]:
    """What is to be sent, and the places of items without an image. Fails for a line that is wrong."""
    path = folder / ITEMS_FILE
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        fail(f"{shown(path)} cannot be read: {why}; name a folder that gallery export wrote to its end")
    sendings: list[Sending] = []
    without: list[str] = []
    for number, line in enumerate(lines, 1):
        place = f"{shown(path)}, line {number}"
        item = _item(line, place)
        if item["image"] is None:
            without.append(place)
            continue
        image = _image(folder, item["image"], place)
        fields = {name: item[name] for name in _LABELS if item.get(name) is not None}
        sendings.append(Sending(image, fields, item["id"]))
    if not sendings and not without:
        fail(f"{shown(path)} has no items")
    return sendings, without


def _item(line: str, place: str) -> dict[str, Any]:
    try:
        item = json.loads(line)
    except ValueError as error:
        fail(f"{place} is no JSON: {error}")
    if not isinstance(item, dict) or not isinstance(item.get("id"), str) or "image" not in item:
        fail(f"{place}: an item is an object with at least id and image")
    unknown = sorted(set(item) - _FIELDS)
    if unknown:
        fail(f"{place}: unknown field {unknown[0]!r}; known: {', '.join(sorted(_FIELDS))}")
    return item


def _image(folder: Path, name: object, place: str) -> Path:
    """The file of an image. Fails for a name that leads elsewhere than into the export's folder of images."""
    parts = Path(name).parts if isinstance(name, str) else ()
    if len(parts) != 2 or parts[0] != IMAGES or parts[1] in (".", ".."):
        fail(f"{place}: image {name!r} is no file in {IMAGES}/")
    path = folder / IMAGES / parts[1]
    if path.is_symlink() or not path.is_file():
        fail(f"{place}: there is no file {shown(path)}")
    return path
