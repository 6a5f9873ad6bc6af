"""Sending images or vectors to be enrolled, each at most once, however often a command is repeated."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.connection import sentence_of
from cli.output import shown

if TYPE_CHECKING:
    from resight_client import Client


@dataclasses.dataclass(frozen=True)
class SentVector:
    """A vector instead of an image: little-endian float32 numbers of a raw space, and the line of the file
    that it stands in."""

    line: str
    numbers: bytes
    raw_space_id: str


@dataclasses.dataclass(frozen=True)
class Sending:
    """A file, or a vector, to enroll with its labels. `original`: the id that it had elsewhere, which tells
    it from its copies; empty: copies are one item."""

    file: Path | SentVector
    fields: dict[str, Any]
    original: str = ""


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of a file: the id of its item, or a problem."""

    name: str
    item: str | None
    problem: str = ""
    skippable: bool = False  # with --partial: the file is at fault, not the connection or the site
    earlier: bool = False  # it was enrolled before, by an earlier command or as a copy in this one


class Sender:
    """Enrolls a file in a request of its own, whose Idempotency-Key is made of its content and labels.

    However often it is sent, and with whatever other files, the server enrolls it once.
    """

    def __init__(self, client: Client, site: str) -> None:
        self.client, self.site = client, site
        self.sending: dict[str, threading.Lock] = {}  # by key: two requests under one key are a conflict

    def __call__(self, sending: Sending) -> Result:
        """Sends one file."""
        from resight_client import ResightError

        file = sending.file
        content: dict[str, Any]
        if isinstance(file, SentVector):
            name, data = file.line, file.raw_space_id.encode() + file.numbers
            numbers = struct.unpack(f"<{len(file.numbers) // 4}f", file.numbers)
            content = {"vectors": numbers, "raw_space_id": file.raw_space_id}
        else:
            name = shown(file)
            try:
                data = file.read_bytes()
            except OSError as error:
                return Result(name, None, f"it cannot be read: {error.strerror}", True)
            content = {"images": [data]}
        key = content_key(self.site, sending.fields, data, sending.original)
        try:
            with self.sending.setdefault(key, threading.Lock()):
                answer = self.client.enroll(
                    self.site, **content, records=[sending.fields], idempotency_key=key
                )
        except ResightError as error:
            if error.code == "conflict" and "were erased" in error.detail:
                return Result(name, None, "it was enrolled and erased, and is not brought back", True)
            sentence = sentence_of(error).removeprefix("image 0: ").removeprefix("vector 0 ")
            return Result(name, None, sentence, "index" in error.facts)
        return Result(name, answer.items[0].id, earlier=answer.enrolled_before)


def send_all(sender: Sender, files: Sequence[Sending], at_once: int) -> Generator[Result, None, None]:
    """Results as they come. Closing the iterator sends nothing more, and waits for what is under way."""
    with ThreadPoolExecutor(at_once) as pool:
        waiting: set[Future[Result]] = set()
        for file in files:
            waiting.add(pool.submit(sender, file))
            if len(waiting) >= at_once:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        for future in waiting:
            yield future.result()


def there_already(items: int) -> str:
    """The end of the sentence that counts what was enrolled; empty where everything is new."""
    return f"; {items} of them {'was' if items == 1 else 'were'} there already" if items else ""


def content_key(site: str, fields: dict[str, Any], data: bytes, original: str = "") -> str:
    """The Idempotency-Key of an image with its labels at a site; of an original, where it has one."""
    parts: list[Any] = [site, fields, original] if original else [site, fields]
    labels = json.dumps(parts, sort_keys=True).encode()
    return "content-" + hashlib.sha256(labels + hashlib.sha256(data).digest()).hexdigest()
