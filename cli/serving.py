"""serve, and the keys of a server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from cli.output import fail, table
from reid.engine_names import CHOICES

if TYPE_CHECKING:
    from pydantic import ValidationError

    from server.gallery.store import Store
    from server.settings import Settings

DATA = "where the gallery is kept (RESIGHT_GALLERY; default resight-data)"
STORE = (
    "a database instead of the data folder: sqlite:///PATH or postgresql://USER@HOST/NAME (RESIGHT_STORE; "
    "keep a password there or in ~/.pgpass: every user of the machine can read a command line)"
)


def serve(
    bundle: Annotated[Optional[Path], typer.Option(help="the .resight folder (RESIGHT_BUNDLE)")] = None,
    data: Annotated[Optional[Path], typer.Option(help=DATA)] = None,
    store: Annotated[Optional[str], typer.Option(help=STORE)] = None,
    host: Annotated[
        Optional[str], typer.Option(help="address; anything but loopback needs API keys (default 127.0.0.1)")
    ] = None,
    port: Annotated[Optional[int], typer.Option(help="of HTTP (default 8000)")] = None,
    grpc_port: Annotated[Optional[int], typer.Option(help="of gRPC; 0: none (default 8001)")] = None,
    tls_cert: Annotated[
        Optional[Path], typer.Option(help="certificate chain in PEM, for both ports; goes with --tls-key")
    ] = None,
    tls_key: Annotated[Optional[Path], typer.Option(help="its private key in PEM")] = None,
    root_path: Annotated[
        Optional[str], typer.Option(help="path under which a reverse proxy shows it, like /resight")
    ] = None,
    cors_origins: Annotated[
        Optional[str],
        typer.Option(help="web pages that may call it: origins like https://example.org, with commas, or *"),
    ] = None,
    device: Annotated[
        Optional[str], typer.Option(help="auto, cpu, or cuda: an error where it cannot be used")
    ] = None,
    engine: Annotated[
        Optional[str],
        typer.Option(help=CHOICES),
    ] = None,
    standby: Annotated[
        Optional[bool],
        typer.Option(
            "--standby/--no-standby", help="wait while another server has the gallery, then take over"
        ),
    ] = None,
    reembed: Annotated[
        Optional[bool],
        typer.Option(
            "--reembed/--no-reembed", help="re-embed galleries another model made; ends adaptations"
        ),
    ] = None,
) -> None:
    """Serve a bundle over HTTP and gRPC. Every setting is also an environment variable RESIGHT_<NAME>."""
    import logging

    from pydantic import ValidationError

    from server.errors import StartError
    from server.main import serve as run
    from server.settings import Settings

    logging.basicConfig(format="%(levelname)s %(message)s")
    given: dict[str, Any] = {
        "bundle": bundle,
        "data": data,
        "store": store,
        "host": host,
        "port": port,
        "grpc_port": grpc_port,
    }
    given |= {"tls_cert": tls_cert, "tls_key": tls_key, "root_path": root_path, "cors_origins": cors_origins}
    given |= {"device": device, "engine": engine, "standby": standby, "reembed": reembed}
    given = {name: value for name, value in given.items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        fail(sentence_of(error, given))
    _say_where(settings)
    try:
        run(settings)
    except StartError as error:
        fail(str(error))


def sentence_of(error: ValidationError, given: dict[str, Any]) -> str:
    """The first wrong setting, by the name that its user knows: the option or the variable."""
    first = error.errors()[0]
    why = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:  # of several settings together
        return why
    name = ".".join(map(str, first["loc"]))
    option, variable = f"--{name.replace('_', '-')}", f"RESIGHT_{name.upper()}"
    if first["type"] == "missing":
        return f"setting {name} is missing; give {option}, or the variable {variable}"
    if name in given:
        return f"setting {name}: {option} {first['input']}: {why}"
    return f"setting {name}: {variable}={first['input']}: {why}"


def _say_where(settings: Settings) -> None:
    """RESIGHT_DATA, the root of training datasets, is easily taken for the server's data folder."""
    root = os.environ.get("RESIGHT_DATA")
    if root is not None and settings.store is None and "data" not in settings.model_fields_set:
        typer.echo(
            f"note: RESIGHT_DATA={root} is the root of training datasets; the gallery is in {settings.data} "
            "(choose another with --data or RESIGHT_GALLERY)",
            err=True,
        )


def key_add(
    scope: Annotated[str, typer.Argument(help="read, write or admin")],
    data: Annotated[Optional[Path], typer.Option(help=DATA)] = None,
    store: Annotated[Optional[str], typer.Option(help=STORE)] = None,
) -> None:
    """Make a key and print it, once; its id goes to standard error.

    The gallery exists already: the server's first start makes it."""
    from server.auth import LOCAL, add_key

    with _gallery(data, store) as gallery:
        key = add_key(gallery, scope, LOCAL)
    typer.echo(key.text)
    typer.echo(f"{key.id}; to revoke it: resight key revoke {key.id}", err=True)


def key_list(
    data: Annotated[Optional[Path], typer.Option(help=DATA)] = None,
    store: Annotated[Optional[str], typer.Option(help=STORE)] = None,
) -> None:
    """Ids and scopes of the keys there are; their text is not kept."""
    with _gallery(data, store) as gallery:
        table("keys", ("id", "scope"), [(row["id"], row["scopes"]) for row in gallery.keys.all()])


def key_revoke(
    key: Annotated[str, typer.Argument(help="its id")],
    data: Annotated[Optional[Path], typer.Option(help=DATA)] = None,
    store: Annotated[Optional[str], typer.Option(help=STORE)] = None,
) -> None:
    """Revoke a key; the running server refuses it from then on."""
    from server.auth import LOCAL, revoke_key

    with _gallery(data, store) as gallery:
        if not revoke_key(gallery, key, LOCAL):
            fail(f"there is no key {key}")


@contextmanager
def _gallery(data: Path | None, store: str | None) -> Iterator[Store]:
    """An existing gallery, opened beside its server; problems end the command with their sentence."""
    from server.errors import Problem, StartError
    from server.gallery.store import Store
    from server.settings import GallerySettings

    given: dict[str, Any] = {"data": data, "store": store}
    place = GallerySettings(**{k: v for k, v in given.items() if v is not None}).place
    try:
        opened = Store(place, beside=True)
        try:
            yield opened
        finally:
            opened.close()
    except (Problem, StartError) as error:
        fail(str(error))
