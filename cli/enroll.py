"""enroll: the images of files and folders, each at most once."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import sys
import threading
import unicodedata
from collections.abc import Generator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from cli.connection import LOCAL, Key, Server, Site, connect, sentence_of
from cli.image_files import image_files
from cli.output import fail, shown

if TYPE_CHECKING:
    from resight_client import Client

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
    count = 0
    with connect(server, api_key) as client:
        sending = _send_all(_Sender(client, site), list(zip(files, fields, strict=True)), min(batch, 64))
        total, quiet = len(files), not sys.stderr.isatty()
        for result in track(sending, "enrolling", total=total, disable=quiet):
            if result.item is not None:
                ids.add(result.item)
                count += 1
            elif partial and result.skippable:
                typer.echo(f"skipped {result.name}: {result.problem}", err=True)
            else:
                sending.close()
                more = "; the same command goes on from there" if count else ""
                fail(f"{result.name}: {result.problem} ({count} images were enrolled before{more})")
    typer.echo(f"enrolled {count} of {len(files)} images at {site}")
    if len(ids) < count:
        typer.echo(f"{count - len(ids)} of them are copies of others, which are enrolled once", err=True)
    if not count:
        fail(f"nothing was enrolled at {site}: all {len(files)} images were skipped")


@dataclasses.dataclass(frozen=True)
class _Result:
    """What became of a file: the id of its item, or a problem."""

    name: str
    item: str | None
    problem: str = ""
    skippable: bool = False  # with --partial: the file is at fault, not the connection or the site


class _Sender:
    """Enrolls a file in a request of its own, whose Idempotency-Key is made of its content and labels.

    However often it is sent, and with whatever other files, the server enrolls it once.
    """

    def __init__(self, client: Client, site: str) -> None:
        self.client, self.site = client, site
        self.sending: dict[str, threading.Lock] = {}  # by key: two requests under one key are a conflict

    def __call__(self, file: Path, fields: dict[str, Any]) -> _Result:
        """Sends one file."""
        from resight_client import ResightError

        name = shown(file)
        try:
            data = file.read_bytes()
        except OSError as error:
            return _Result(name, None, f"it cannot be read: {error.strerror}", True)
        key = _content_key(self.site, fields, data)
        try:
            with self.sending.setdefault(key, threading.Lock()):
                answer = self.client.enroll(self.site, [data], records=[fields], idempotency_key=key)
        except ResightError as error:
            if error.code == "conflict" and "were erased" in error.detail:
                return _Result(name, None, "it was enrolled and erased, and is not brought back", True)
            return _Result(name, None, sentence_of(error).removeprefix("image 0: "), "index" in error.facts)
        return _Result(name, answer.items[0].id)


def _send_all(
    sender: _Sender, files: list[tuple[Path, dict[str, Any]]], at_once: int
) -> Generator[_Result, None, None]:
    """Results as they come. Closing the iterator sends nothing more, and waits for what is under way."""
    with ThreadPoolExecutor(at_once) as pool:
        waiting: set[Future[_Result]] = set()
        for file, fields in files:
            waiting.add(pool.submit(sender, file, fields))
            if len(waiting) >= at_once:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        for future in waiting:
            yield future.result()


def _content_key(site: str, fields: dict[str, Any], data: bytes) -> str:
    """The Idempotency-Key of an image with its labels at a site."""
    labels = json.dumps([site, fields], sort_keys=True).encode()
    return "content-" + hashlib.sha256(labels + hashlib.sha256(data).digest()).hexdigest()


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
