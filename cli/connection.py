"""What every verb needs that talks to a server: its options, and a client whose errors are sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from cli.output import fail

if TYPE_CHECKING:
    from resight_client import Client, ResightError

Site = Annotated[str, typer.Option(help="site: one deployment with its cameras and its gallery")]
Server = Annotated[str, typer.Option(envvar="RESIGHT_URL", help="URL of the server")]
Key = Annotated[
    Optional[str], typer.Option(envvar="RESIGHT_API_KEY", help="API key, where the server needs one")
]
Filter = Annotated[
    Optional[str],
    typer.Option(help='JSON that items have to meet, like \'{"camera": "door"}\'; see docs/filters.md'),
]
LOCAL = "http://127.0.0.1:8000"


@contextmanager
def connect(server: str, api_key: str | None) -> Iterator[Client]:
    """A client whose errors end the command with their sentence."""
    from resight_client import Client, ResightError

    if not server.startswith(("http://", "https://")):
        fail(f"--server {server} is no URL: put http:// or https:// in front")
    try:
        with Client(server, api_key) as client:
            yield client
    except ResightError as error:
        fail(sentence_of(error))


def sentence_of(error: ResightError) -> str:
    """The error's text in the words of the command line: its options, where the server names fields."""
    if error.status == 401:
        return f"{error.detail}; here: --api-key KEY, or the variable RESIGHT_API_KEY"
    return options_for_fields(str(error)) if error.status == 400 else str(error)


_OPTIONS = {"item_id": "--item", "all=true": "--all"}  # whose names differ
_FIELDS = (
    "query_camera exclude_same_camera captured_after captured_before top_k max_samples item_id all=true "
    "raw_space_id false_alarms_per_1000"
)
# words like any other, but in front
_LEADING = "site identity camera filter threshold limit cursor seed tier items hours"
_QUOTED = r"""'[^']*'|"[^"]*\""""  # what the user wrote stays as it is


def options_for_fields(sentence: str) -> str:
    """A sentence of the server about a field, with the option that its user gave instead."""
    sentence = re.sub(r"^records\[\d+\](\.|: )", "", sentence)
    leading = re.match(rf"({_LEADING.replace(' ', '|')})\b", sentence)
    fields = rf"{_QUOTED}|(?<![\w-])({_FIELDS.replace(' ', '|')})(?!\w)"
    sentence = re.sub(fields, lambda match: _option(match[1]) if match[1] else match[0], sentence)
    return f"--{sentence}" if leading else sentence


def _option(field: str) -> str:
    return _OPTIONS.get(field, f"--{field.replace('_', '-')}")
