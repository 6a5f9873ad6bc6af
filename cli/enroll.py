"""enroll: the images of files and folders, each at most once."""

from __future__ import annotations

import re
import sys
import unicodedata
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from cli.connection import LOCAL, Key, Server, Site, connect
from cli.image_files import image_files
from cli.output import fail, shown
from cli.sending import Sender, Sending, send_all, there_already

_GROUPS = ("identity", "camera", "captured_at")  # that --pattern may name


def enroll(
    paths: Annotated[list[Path], typer.Argument(help="images, or folders of them")],
    site: Site,
    camera: Annotated[Optional[str], typer.Option(help="of all images")] = None,
    identity: Annotated[Optional[str], typer.Option(help="of all images")] = None,
    pattern: Annotated[
        Optional[str],
        typer.Option(
            help=r"regex over file names with groups named identity, camera or captured_at, like "
            r"'(?P<identity>\d+)_c(?P<camera>\d)'; with a / in it, over paths below the given folder"
        ),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="skip unreadable images instead of stopping")
    ] = False,
    batch: Annotated[int, typer.Option(min=1, help="images sent at once, 64 at most")] = 32,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Enroll crops at a site.

    Repeating the command enrolls nothing twice, and goes on where an earlier one ended: an image that was
    enrolled before with the same labels is left as it is. Hidden files in folders are left out.
    """
    from rich.progress import track

    files = image_files(paths)
    names = _pattern(pattern)
    fields = [_fields(file, _searched(file, paths, names), names, camera, identity) for file in files]
    ids: set[str] = set()  # files of the same content and labels are one item
    new: set[str] = set()
    count = 0
    with connect(server, api_key) as client:
        named = [Sending(file, labels) for file, labels in zip(files, fields, strict=True)]
        sending = send_all(Sender(client, site), named, min(batch, 64))
        total, quiet = len(files), not sys.stderr.isatty()
        for result in track(sending, "enrolling", total=total, disable=quiet):
            if result.item is not None:
                ids.add(result.item)
                count += 1
                if not result.earlier:
                    new.add(result.item)
            elif partial and result.skippable:
                typer.echo(f"skipped {result.name}: {result.problem}", err=True)
            else:
                sending.close()
                more = "; the same command goes on from there" if count else ""
                fail(f"{result.name}: {result.problem} ({count} images were enrolled before{more})")
    already = there_already(len(ids - new))
    typer.echo(f"enrolled {count} of {len(files)} images at {site}{already}")
    if len(ids) < count:
        typer.echo(f"{count - len(ids)} of them are copies of others, which are enrolled once", err=True)
    if not count:
        fail(f"nothing was enrolled at {site}: all {len(files)} images were skipped")


def _pattern(pattern: str | None) -> re.Pattern[str] | None:
    """The expression of --pattern; fails for one that is none, or whose groups name nothing of an item."""
    if pattern is None:
        return None
    try:
        names = re.compile(pattern)
    except re.error as error:
        fail(f"--pattern is not a regular expression: {error}")
    known = "groups are named identity, camera or captured_at, like (?P<identity>...)"
    for name in names.groupindex:
        if name not in _GROUPS:
            fail(f"--pattern has a group {name!r}; {known}")
    if not names.groupindex:
        fail(f"--pattern has no named group; {known}")
    return names


def _searched(file: Path, paths: list[Path], pattern: re.Pattern[str] | None) -> str:
    """What --pattern is searched in: the name, or with a / in the pattern the path below the given folder."""
    if pattern is None or "/" not in pattern.pattern:
        return file.name
    for path in paths:
        if file != path and file.is_relative_to(path):
            return file.relative_to(path).as_posix()
    return file.as_posix()


def _fields(
    file: Path, text: str, pattern: re.Pattern[str] | None, camera: str | None, identity: str | None
) -> dict[str, Any]:
    fields: dict[str, Any] = {"camera": camera, "identity": identity}
    if pattern is not None:
        match = pattern.search(text)
        if match is None:
            what = "path" if "/" in pattern.pattern else "file name"
            fail(f"--pattern does not fit the {what} {shown(Path(text))}")
        fields |= match.groupdict()
    for label in fields.values():
        if label is not None and not _is_text(label):
            fail(f"{shown(file)}: --pattern takes a label that is not UTF-8 out of its name; rename it")
    # composed, as the server reads them: the key of a file is the same however its name is spelled
    return {k: unicodedata.normalize("NFC", v) for k, v in fields.items() if v is not None}


def _is_text(label: str) -> bool:
    try:
        label.encode()
    except UnicodeEncodeError:
        return False
    return True
