"""serve, and the keys of a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from cli.output import fail, table


def serve(
    bundle: Annotated[Optional[Path], typer.Option(help="the .resight folder (RESIGHT_BUNDLE)")] = None,
    data: Annotated[
        Optional[Path], typer.Option(help="where the gallery is kept (RESIGHT_GALLERY; default resight-data)")
    ] = None,
    host: Annotated[
        Optional[str], typer.Option(help="address; anything but loopback needs API keys (default 127.0.0.1)")
    ] = None,
    port: Annotated[Optional[int], typer.Option(help="of HTTP (default 8000)")] = None,
    grpc_port: Annotated[Optional[int], typer.Option(help="of gRPC; 0: none (default 8001)")] = None,
    device: Annotated[
        Optional[str], typer.Option(help="auto, cpu, or cuda: an error where it cannot be used")
    ] = None,
    engine: Annotated[
        Optional[str], typer.Option(help="auto, tensorrt, cuda, openvino, onnxruntime or torch")
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
        "host": host,
        "port": port,
        "grpc_port": grpc_port,
    }
    given |= {"device": device, "engine": engine, "reembed": reembed}
    try:
        run(Settings(**{k: v for k, v in given.items() if v is not None}))
    except ValidationError as error:
        first = error.errors()[0]
        fail(
            f"setting {'.'.join(map(str, first['loc']))}: {first['msg']} (also the variable "
            f"RESIGHT_{str(first['loc'][0]).upper()})"
        )
    except StartError as error:
        fail(str(error))


def key_add(
    scope: Annotated[str, typer.Argument(help="read, write or admin")],
    data: Annotated[Path, typer.Option(help="the server's data folder")],
) -> None:
    """Make a key and print it, once."""
    from server.auth import make_key
    from server.errors import BadRequest
    from server.gallery.store import Store

    try:
        typer.echo(make_key(Store(data), scope))
    except BadRequest as error:
        fail(str(error))


def key_list(data: Annotated[Path, typer.Option(help="the server's data folder")]) -> None:
    """Ids and scopes of the keys there are; their text is not kept."""
    from server.gallery.store import Store

    table("keys", ("id", "scope"), [(row["id"], row["scopes"]) for row in Store(data).keys.all()])


def key_revoke(
    key: Annotated[str, typer.Argument(help="its id")],
    data: Annotated[Path, typer.Option(help="the server's data folder")],
) -> None:
    """Revoke a key; the running server refuses it from then on."""
    from server.gallery.store import Store

    if not Store(data).keys.revoke(key):
        fail(f"there is no key {key}")
