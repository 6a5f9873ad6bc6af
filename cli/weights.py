"""weights: what trainings start from, and published files of it made readable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from cli.output import fail, table, written

if TYPE_CHECKING:
    from reid.models.published import Match


def weights_list(context: typer.Context) -> None:
    """Weights that trainings start from: alone, what each recipe's paper starts from."""
    if context.invoked_subcommand is not None:
        return
    from training.published_starts import FILES, starts

    table("what each recipe starts from", ("recipe", "network", "start"), starts())
    table("files", ("name", "published", "how to get a file for start="), [tuple(file) for file in FILES])


def weights_convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="a .pth, .pth.tar or .safetensors of torchvision, IBN-Net, fast-reid, torchreid, "
            "reid-strong-baseline or TransReID, or efficientnet-lite0, -lite1, -lite2: out of a package",
        ),
    ],
    out: Annotated[Path, typer.Option(help="NAME.safetensors, which `start` takes")],
    prefix: Annotated[
        Optional[str], typer.Option(help="what the names begin with, where a file holds several networks")
    ] = None,
) -> None:
    """Write published weights as a file that a training run starts from; say what was taken of them.

    A pickle is read by a child process without network, which builds tensors and runs nothing."""
    from training.weights import WeightsError, convert_weights

    if out.suffix != ".safetensors":
        fail(f"--out {out}: the file is called NAME.safetensors")
    written("--out", out)
    try:
        converted = convert_weights(source, out, prefix)
    except WeightsError as error:
        fail(str(error))
    found = converted.match
    table(f"{converted.source} as the trunk of {found.arch}", ("", "tensors", "of"), _rows(found))
    if not found.whole:
        fail(f"{_why(found)}; {out} was not written")
    if converted.licence:
        typer.echo(f"licence: {converted.licence}")
    typer.echo(f"wrote {out}; next: resight train RECIPE --set start={out} --set model.arch={found.arch}")


def _rows(found: Match) -> list[tuple[str, str, str]]:
    """What was taken, left and missing, each by the beginnings of its names."""
    from reid.models.published import groups

    rows = []
    for what, names in (("taken", found.taken), ("left", found.left), ("missing", found.missing)):
        depth = _depth(names)
        for start, count in groups(names, depth).items():
            rows.append((what, str(count), start))
        if not names:
            rows.append((what, "0", ""))
    return rows


def _depth(names: tuple[str, ...]) -> int:
    """So many parts of the names that they fall into several groups, at most five parts."""
    from reid.models.published import groups

    return next((depth for depth in range(1, 5) if len(groups(names, depth)) > 1), 5)


def _why(found: Match) -> str:
    """Why a trunk is not whole."""
    if found.larger:
        return (
            f"the file is of another network than {found.arch}: {len(found.larger)} of its tensors have no "
            f"place there, like {found.larger[0]}"
        )
    return (
        f"the trunk of {found.arch} is not whole: {len(found.missing)} of its tensors are not in the file, "
        f"or not in this shape, like {found.missing[0]}"
    )
