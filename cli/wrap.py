"""bundle wrap: a foreign network as a bundle."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from cli.output import fail, table, text

if TYPE_CHECKING:
    from export.preprocessing import Choice, Probes

_PROBES = Path(__file__).parent.parent / "deploy/demo/crops"  # rendered people
_NAMES = re.compile(r"(?P<identity>\d+)_c(?P<camera>\d+)")
_SURE = 0.95  # less is no decision


def bundle_wrap(
    file: Annotated[Path, typer.Argument(help="an .onnx file, or an OpenVINO .xml with its .bin beside it")],
    name: Annotated[
        Optional[str], typer.Option(help="of the bundle; that of --out or of FILE where left out")
    ] = None,
    out: Annotated[Optional[Path], typer.Option(help="NAME.resight where left out")] = None,
    order: Annotated[
        Optional[Literal["rgb", "bgr"]], typer.Option("--input", help="order of the channels that it expects")
    ] = None,
    mean: Annotated[
        Optional[str],
        typer.Option(help="subtracted of red, green and blue of 0..255, like 123.7,116.3,103.5; or 0"),
    ] = None,
    std: Annotated[
        Optional[str],
        typer.Option(help="divided by, likewise, like 58.4,57.1,57.4; or 255 for values of 0..1"),
    ] = None,
    size: Annotated[
        Optional[str], typer.Option(help="HEIGHTxWIDTH of a crop, where the network leaves it open")
    ] = None,
    licence: Annotated[str, typer.Option(help="terms of the weights")] = "unknown: ask whoever trained it",
    force: Annotated[
        bool, typer.Option("--force", help="replace a bundle although its folder holds other files too")
    ] = False,
) -> None:
    """Make a bundle of a foreign network that embeds crops. Every installed engine must answer as it does.

    What --input, --mean and --std leave open is decided on crops of rendered people: the way that ranks them
    best is taken, and how sure that is, is said."""
    from export.parity import ParityError
    from export.preprocessing import Preprocessing, candidates, choose
    from export.wrap import Foreign, wrap_network
    from reid.bundle import BundleError
    from reid.engines import EngineError

    name = name or (file.stem if out is None else out.name.removesuffix(".resight"))
    out = out or Path(f"{name}.resight")
    text("--licence", licence)
    text("--name", name)
    given = _numbers("--mean", mean), _numbers("--std", std)
    if given[1] is not None and 0 in given[1]:
        fail(f"--std {std}: nothing can be divided by 0")
    try:
        foreign = Foreign(file, _size(size))
        if order and given[0] and given[1]:
            how = Preprocessing(order, given[0], given[1])
        else:
            choice = choose(foreign.embed, _probes(*foreign.size), candidates(order, *given))
            _say(choice)
            how = choice.how
        _, results = wrap_network(foreign, how, out, name, licence, force)
    except (BundleError, ParityError, EngineError, OSError) as error:
        fail(str(error))
    rows = [(p.engine, p.precision, f"{p.min_cosine:.6f}") for p in results]
    table(str(out), ("engine", "precision", "lowest cosine to the network itself"), rows)
    typer.echo(f"next: resight serve --bundle {out}")


def _numbers(option: str, text: str | None) -> tuple[float, float, float] | None:
    """Three numbers, or one for all three channels."""
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) == 1:
        values *= 3
    if len(values) != 3 or not all(map(math.isfinite, values)):
        fail(f"{option} {text}: three numbers joined by commas, or one, on the scale of 0..255")
    return values[0], values[1], values[2]


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", text)
    if match is None:
        fail(f"--size {text}: HEIGHTxWIDTH, like 256x128")
    return int(match[1]), int(match[2])


def _probes(height: int, width: int) -> Probes:
    """Rendered people at four cameras, whose names say who and where."""
    import numpy as np

    from export.preprocessing import Probes
    from reid.pictures import crop_of

    files = sorted(path for folder in ("gallery", "query") for path in (_PROBES / folder).glob("*.jpg"))[::2]
    if not files:
        fail("the probe crops are only in a source checkout (deploy/demo): give --input, --mean and --std")
    labels = [_NAMES.match(file.name) for file in files]
    identities, cameras = ([int(m[group]) for m in labels if m] for group in ("identity", "camera"))
    crops = np.stack([crop_of(file, height, width) for file in files])
    return Probes(crops, np.array(identities), np.array(cameras))


def _say(choice: Choice) -> None:
    """What was tried, what was taken and how sure that is."""
    rows = [(str(each.how), str(each.alike), f"{each.mean_ap:.1f}") for each in choice.judged]
    columns = ("preprocessing", "others that are the same to it", "mAP")
    table("what the network expects, by how well it ranks rendered people", columns, rows)
    typer.echo(f"taken: {choice.how}; it ranks best in {choice.sure:.0%} of resampled crops")
    if choice.sure < _SURE:
        typer.echo("that is not sure: give --input, --mean and --std if you know them", err=True)
