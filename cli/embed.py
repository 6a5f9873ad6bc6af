"""embed: a folder of crops into a file of vectors, without a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.image_files import image_files
from cli.output import fail, progress, written

if TYPE_CHECKING:
    from reid.images import Crop


def embed(
    paths: Annotated[list[Path], typer.Argument(help="images, or folders of them")],
    out: Annotated[Path, typer.Option(help="NAME.npz: vectors float32 [N,D], paths [N] and raw_space_id")],
    bundle: Annotated[Path, typer.Option(envvar="RESIGHT_BUNDLE", help="the .resight folder")],
    partial: Annotated[
        bool, typer.Option("--partial", help="skip unreadable images instead of stopping")
    ] = False,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="cuda: an error where it cannot be used")
    ] = "auto",
    engine: Annotated[str, typer.Option(help="auto, or one that is installed")] = "auto",
) -> None:
    """Embed crops into a file that numpy.load reads: a unit vector for each, and the paths in their order."""
    import numpy as np

    from reid.bundle import BundleError
    from reid.embedding import load
    from reid.engines import EngineError
    from reid.files import usual_mode

    if out.suffix != ".npz":
        fail(f"--out {out}: the file is called NAME.npz")
    written("--out", out)
    files = image_files(paths)
    embedded: list[Path] = []
    try:
        model = load(bundle, device, engine)
        vectors = model.embed(_crops(files, model.size, partial, embedded))
    except (BundleError, EngineError) as error:
        fail(str(error))
    if not embedded:
        fail(f"none of the {len(files)} images could be read; {out} was not written")
    unfinished = out.with_name(f"{out.name}.new.npz")
    try:
        with usual_mode(unfinished):
            named = np.array([str(path) for path in embedded])
            np.savez(unfinished, vectors=vectors, paths=named, raw_space_id=np.array(model.raw_space_id))
        unfinished.replace(out)
    except OSError as error:
        fail(f"--out {out}: {error.strerror}")
    typer.echo(f"embedded {len(embedded)} of {len(files)} images into {out}: {vectors.shape[1]} values each")


def _crops(files: list[Path], size: tuple[int, int], partial: bool, embedded: list[Path]) -> Iterator[Crop]:
    """The crops of the files that can be read, whose paths are put into `embedded`. Ends the command at one
    that cannot, unless `partial`."""
    from reid.images import ImageError
    from reid.pictures import crop_of

    with progress("embedding") as show:
        for number, file in enumerate(files, 1):
            try:
                crop = crop_of(file, *size)
            except ImageError as error:
                if not partial:
                    fail(f"{file}: {error} (--partial skips unreadable images)")
                typer.echo(f"skipped {file}: {error}", err=True)
            else:
                embedded.append(file)
                yield crop
            show(number, len(files))
