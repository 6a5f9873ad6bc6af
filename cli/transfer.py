"""gallery export and import: a site's items as files, and back, at this server or another."""

from __future__ import annotations

import base64
import binascii
import datetime
import json
import math
import os
import re
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.connection import LOCAL, Key, Server, Site, connect
from cli.output import fail, shown
from cli.sending import Sender, Sending, SentVector, send_all, there_already

if TYPE_CHECKING:
    from resight_client import Client, Item

SITE_FILE, ITEMS_FILE, IMAGES = "site.json", "items.jsonl", "images"
_FORMAT = "resight gallery, 1"
_LABELS = ("identity", "camera", "captured_at", "metadata")
_FIELDS = {"id", "image", "enrolled_at", "vector", "raw_space_id", *_LABELS}
_OURS = re.compile(r"([0-9a-f]{32})\.(jpg|png|webp|avif|heic)")  # files that an export writes
_AT_ONCE = 32
_NOTHING = "the item has no image and no vector, so it cannot be enrolled"


def gallery_export(
    site: Site,
    out: Annotated[
        Path, typer.Option(help="a new folder, or an export of the same site, which goes on and is updated")
    ],
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Write a site's items with their labels, times and images into a folder that only you can read. Items
    whose image was not kept come with their vector instead.

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
        lines: dict[str, dict[str, Any]] = {}  # by id, in order of enrolling
        for item in client.iter_items(site):
            name = have.get(item.id) or _fetched(client, item, images)
            if name != "":  # otherwise it was erased meanwhile
                lines[item.id] = _line(item, f"{IMAGES}/{name}" if name is not None else None)
        bare = {item_id for item_id, line in lines.items() if line["image"] is None}
        if bare:
            _add_vectors(client, site, lines, bare)
    _write(out / ITEMS_FILE, "".join(json.dumps(line) + "\n" for line in lines.values()).encode())
    kept = {Path(line["image"]).name for line in lines.values() if line["image"] is not None}
    for path in images.iterdir():
        if _OURS.fullmatch(path.name) and path.name not in kept:
            path.unlink()  # of an item that was erased since an earlier export
    typer.echo(f"wrote {len(lines)} item(s) of site {site} to {shown(out)}")
    _say_what_lacks_an_image(lines)


def _line(item: Item, image: str | None) -> dict[str, Any]:
    """An item as a line of the export."""
    labels = {label: getattr(item, label) for label in _LABELS}
    return {"id": item.id, "image": image, **labels, "enrolled_at": item.enrolled_at}


def _add_vectors(client: Client, site: str, lines: dict[str, dict[str, Any]], bare: set[str]) -> None:
    """Gives the lines of items without an image their vectors, with the labels that these items have then: a
    vector belongs to its camera. Takes out lines of items that were erased meanwhile."""
    for item in client.iter_items(site, with_vectors=True):
        if item.id in bare:
            bare.remove(item.id)
            lines[item.id] = _line(item, None)
            if item.vector is not None:
                numbers = struct.pack(f"<{len(item.vector)}f", *item.vector)
                lines[item.id]["vector"] = base64.b64encode(numbers).decode()
                lines[item.id]["raw_space_id"] = item.raw_space_id
    for item_id in bare:
        del lines[item_id]


def _say_what_lacks_an_image(lines: dict[str, dict[str, Any]]) -> None:
    without = [line for line in lines.values() if line["image"] is None]
    spaces = sorted({line["raw_space_id"] for line in without if "vector" in line})
    count = sum("vector" in line for line in without)
    if count:
        typer.echo(
            f"the image of {count} of them was not kept: they are written with their vectors, which a site "
            f"of raw space {' or '.join(spaces)} takes",
            err=True,
        )
    if len(without) > count:
        typer.echo(
            f"{len(without) - count} of them have neither image nor vector: they cannot be imported", err=True
        )


def gallery_import(
    folder: Annotated[Path, typer.Argument(help="that gallery export wrote")],
    site: Site,
    partial: Annotated[
        bool,
        typer.Option("--partial", help="skip what is refused, and vectors that the site does not take"),
    ] = False,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Enroll the items of an export at a site, with labels and times, embedded by this server's model; those
    without an image by their vectors, where the site is of the same raw space.

    The form of every line is checked before anything is sent. Repeating the command enrolls nothing twice and
    goes on where an earlier one ended. Items get new ids and times of enrolling. Calibrations and adaptations
    do not come along: adapt and calibrate the new site.
    """
    from rich.progress import track

    sendings, without = _read(folder)
    if without and not partial:
        fail(f"{without[0]}: {_NOTHING}; --partial skips such items")
    for place in without:
        typer.echo(f"skipped {place}: {_NOTHING}", err=True)
    total, count, earlier = len(sendings) + len(without), 0, 0
    with connect(server, api_key) as client:
        sendings = _of_its_space(client, site, sendings, partial)
        sending = send_all(Sender(client, site), sendings, _AT_ONCE)
        quiet = not sys.stderr.isatty()
        for result in track(sending, "importing", total=len(sendings), disable=quiet):
            if result.item is not None:
                count += 1
                earlier += result.earlier
            elif partial and result.skippable:
                typer.echo(f"skipped {result.name}: {result.problem}", err=True)
            else:
                sending.close()
                fail(f"{result.name}: {result.problem} ({count} items were enrolled before; repeat to go on)")
    typer.echo(f"enrolled {count} of {total} items at {site}{there_already(earlier)}")
    if not count:
        fail(f"nothing was enrolled at {site}")


def _of_its_space(client: Client, site: str, sendings: list[Sending], partial: bool) -> list[Sending]:
    """The images, and the vectors that the site takes. Fails for another vector unless `partial`, which names
    and leaves it out."""
    vectors = [(sending.file, sending) for sending in sendings if isinstance(sending.file, SentVector)]
    if not vectors:
        return sendings
    space = _raw_space(client, site)
    refused = set()
    for vector, sending in vectors:
        if vector.raw_space_id == space:
            continue
        why = f"its vector is of raw space {vector.raw_space_id}, and site {site} takes those of {space}"
        if not partial:
            fail(f"{vector.line}: {why}; nothing was enrolled, --partial leaves such items out")
        typer.echo(f"skipped {vector.line}: {why}", err=True)
        refused.add(id(sending))
    return [sending for sending in sendings if id(sending) not in refused]


def _raw_space(client: Client, site: str) -> str | None:
    """The raw space of the vectors that a site takes, also of one that begins with them."""
    from resight_client import ResightError

    try:
        return client.site(site).raw_space_id
    except ResightError as error:
        if error.status != 404:
            raise
    space: str | None = client.info().get("raw_space_id")
    return space


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
    """What is to be sent, and the places of items without image and vector. Fails for a wrong line."""
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
        content: Path | SentVector
        if item["image"] is not None:
            content = _image(folder, item["image"], place)
        elif item.get("vector") is not None:
            content = _vector(item, place)
        else:
            without.append(place)
            continue
        fields = {name: item[name] for name in _LABELS if item.get(name) is not None}
        sendings.append(Sending(content, fields, item["id"]))
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


def _vector(item: dict[str, Any], place: str) -> SentVector:
    """The vector of an item without an image. Fails for text that is none."""
    space = item.get("raw_space_id")
    try:
        numbers = base64.b64decode(item["vector"], validate=True)
    except (binascii.Error, ValueError, TypeError):
        numbers = b""
    if not numbers or len(numbers) % 4:
        fail(f"{place}: vector is no base64 of little-endian float32 numbers")
    values = struct.unpack(f"<{len(numbers) // 4}f", numbers)
    if not all(map(math.isfinite, values)) or not any(values):
        fail(f"{place}: vector has numbers that are not finite, or none but zeros")
    if not isinstance(space, str):
        fail(f"{place}: a vector needs the raw_space_id that it is of")
    return SentVector(place, numbers, space)


def _image(folder: Path, name: object, place: str) -> Path:
    """The file of an image. Fails for a name that leads elsewhere than into the export's folder of images."""
    parts = Path(name).parts if isinstance(name, str) else ()
    if len(parts) != 2 or parts[0] != IMAGES or parts[1] in (".", ".."):
        fail(f"{place}: image {name!r} is no file in {IMAGES}/")
    path = folder / IMAGES / parts[1]
    if path.is_symlink() or not path.is_file():
        fail(f"{place}: there is no file {shown(path)}")
    return path
