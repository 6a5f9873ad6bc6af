"""How the command line says that words were wrong: in one sentence on standard error, whoever noticed it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from cli.output import printable


class Sentences(TyperGroup):
    """A command line whose errors are single sentences, where typer draws boxes around theirs."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Runs a command, and ends the program where `standalone_mode`."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        try:
            status = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except typer.Abort:
            _end("the question had no answer, so nothing was changed; --yes answers it", 1)
        except typer.TyperException as error:
            _end(_sentence(error), error.exit_code)
        except OSError as error:  # what no command expected: a name that is too long, a disk that is full
            place = "" if error.filename is None else f"{error.filename}: "
            _end(f"{place}{error.strerror or error}", 1)
        sys.exit(status if isinstance(status, int) else 0)


def _sentence(error: typer.TyperException) -> str:
    """What typer says of a wrong word, and where the right ones are; empty where it has printed the help."""
    text = " ".join(error.format_message().split()).removesuffix(".")
    text = text.replace("Value error, ", "").replace("Input should", "it should")
    context = getattr(error, "ctx", None)
    if not text or context is None:
        return text
    return f"{text[0].lower()}{text[1:]}; the right words: {context.command_path} --help"


def _end(sentence: str, status: int) -> NoReturn:
    if sentence:
        typer.echo(f"resight: {printable(sentence)}", err=True)
    sys.exit(status)
