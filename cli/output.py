"""What every verb prints with."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, as the function that moves it."""
    from rich.progress import Progress

    with Progress(disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """A sign of life on a terminal while something takes seconds that cannot be counted."""
    from rich.console import Console

    if not sys.stderr.isatty():
        yield
        return
    with Console(stderr=True).status(what):
        yield


def table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """A titled table on standard output; 120 columns where that is no terminal. One word without rows."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if not rows:
        typer.echo(f"{title}: none")
        return
    drawn = Table(*columns)
    for row in rows:
        drawn.add_row(*map(escape, row))  # a camera may be called [door]
    typer.echo(title)
    Console(width=None if sys.stdout.isatty() else 120).print(drawn)


def shown(path: Path) -> str:
    """A path to print, also one that is not UTF-8."""
    return os.fsencode(path).decode(errors="backslashreplace")


def picture(option: str, path: Path, also: tuple[str, ...] = ()) -> None:
    """Fails where no picture could be written, before any work is done for it; `also` adds suffixes."""
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", *also):
        fail(f"{option} {path}: a picture is called {', '.join(('.png', *also))} or .jpg")
    written(option, path)


def written(option: str, path: Path) -> None:
    """Fails where no file could be written, before any work is done for it."""
    if not path.parent.is_dir():
        fail(f"{option} {path}: there is no folder {path.parent}")
    if path.is_dir():
        fail(f"{option} {path} is a folder; name a file")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        return  # a link must stay, and who reads a pipe would take this for its end
    missing = not path.exists()
    try:
        with path.open("xb" if missing else "ab"):
            pass
        if missing:
            path.unlink()
    except OSError as error:
        fail(f"{option} {path} cannot be written: {error.strerror}")


def text(option: str, value: str) -> str:
    """The value of an option that is kept as text; fails where it is not UTF-8."""
    if printable(value) != value.replace("\n", "\\n"):
        fail(f"{option} {value} is not UTF-8")
    return value


def one_dataset(name: str) -> None:
    """Fails for several datasets, which can be trained on but not evaluated on."""
    from training.data import sources_of
    from training.data.records import DatasetError

    try:
        several = len(sources_of(name)) > 1
    except DatasetError as error:
        fail(str(error))
    if several:
        fail(f"--dataset {name} names several, and evaluation is of one: give each in a command of its own")


def printable(sentence: str) -> str:
    """One line of a sentence that may hold anything: names that are not UTF-8, or line ends in them."""
    return sentence.encode("utf-8", "backslashreplace").decode().replace("\n", "\\n")


def percent(probability: float) -> str:
    """A probability in whole per cent; never as certain as rounding would make it."""
    whole = round(100 * probability)
    if whole >= 100:
        return "over 99 %"
    return f"{whole} %" if whole else "under 1 %"


def say(sentence: str) -> None:
    """Prints a line that may name files, also those whose names are not UTF-8."""
    typer.echo(printable(sentence))


def fail(sentence: str) -> NoReturn:
    """Ends the command with one sentence on standard error and exit status 1."""
    typer.echo(f"resight: {printable(sentence)}", err=True)
    raise typer.Exit(1)
