"""bundle quantize: lets a CPU compute a bundle in eight-bit integers, where the ranking stays."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from cli.data import Data, IgnoreCameras, Pattern
from cli.output import fail, one_dataset, progress


def bundle_quantize(
    path: Annotated[Path, typer.Argument(help="the .resight folder, which gets one more file")],
    dataset: Annotated[str, typer.Option(help="whose queries and gallery say whether the ranking stays")],
    data: Data,
    crops_of: Annotated[
        Optional[str],
        typer.Option(help="whose training crops give the ranges, joined by +; --dataset's where left out"),
    ] = None,
    crops: Annotated[int, typer.Option(min=16, max=10_000, help="so many of them, drawn by the seed")] = 512,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = 0,
    pattern: Pattern = "",
    ignore_cameras: IgnoreCameras = False,
) -> None:
    """Measure between which values a bundle's activations lie, so that CPUs may compute its convolutions in
    eight-bit integers. Nothing is written where mAP falls by more than 0.3.

    A server then takes int8 on a CPU where it measures that it is faster, for galleries that begin or are
    embedded again (--reembed)."""
    import numpy as np

    from export.parity import ParityError
    from export.quantize import quantize_bundle
    from reid.bundle import Bundle, BundleError
    from reid.engines import EngineError
    from training.data import read_dataset, read_training
    from training.data.loader import load_crops
    from training.data.records import DatasetError
    from training.data.selection import judged_crops
    from training.evaluate import Embed, embed_dataset, score

    one_dataset(dataset)
    try:
        bundle = Bundle.load(path)
        judged = judged_crops(read_dataset(dataset, data, 0, pattern), ignore_cameras)
        records = read_training(crops_of or dataset, data, 0, pattern).train
        if len(records) < crops:
            raise DatasetError(
                f"{crops_of or dataset} has {len(records)} training crops, and --crops is {crops}: take fewer"
            )
        drawn = np.random.default_rng(seed).choice(len(records), crops, replace=False)
        calibrating = load_crops([records[place] for place in drawn], *bundle.size)

        def rank(embed: Embed) -> float:
            with progress("ranking") as show:
                return 100 * score(embed_dataset(embed, judged, bundle.size, show)).mean_ap

        with progress("calibrating") as show:
            bundle = quantize_bundle(
                bundle, calibrating, rank, crops_of or dataset, dataset, len(judged.query), show
            )
    except (BundleError, ParityError, DatasetError, EngineError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror or error}; it stays as it is")
    measured = bundle.manifest.int8
    assert measured is not None
    typer.echo(
        f"{path} may be computed in int8: on {dataset} it ranks with {measured.map_int8:.2f} % mAP, and with "
        f"{measured.map_fp32:.2f} % in float32; next: resight serve --bundle {path} (with --reembed for a "
        "gallery that was embedded in int8 by other ranges)"
    )
