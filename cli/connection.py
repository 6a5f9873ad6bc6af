"""What every verb needs that talks to a server: its options, and a client whose errors are sentences."""

from __future__ import annotations

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
    """The error's text, with the option to use where it names a header of HTTP."""
    if error.status == 401:
        return f"{error.detail}; here: --api-key KEY, or the variable RESIGHT_API_KEY"
    return str(error)
