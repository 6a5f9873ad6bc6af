"""evaluate, visualize, export and bundle info: what a run is worth, and what becomes of it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer

from cli.data import Data, IgnoreCameras, Pattern, SkipUnreadable, echo_summary
from cli.output import fail, one_dataset, picture, progress, table, text, written

DATASETS = "like market1501, msmt17, cuhk03, viper or folders; docs/datasets.md has them all"


def evaluate(
    source: Annotated[Path, typer.Argument(help="a run folder, a checkpoint or a .resight bundle")],
    dataset: Annotated[str, typer.Option(help=DATASETS)],
    data: Data,
    split: Annotated[int, typer.Option(min=0, help="where a dataset has several")] = 0,
    splits: Annotated[
        Optional[int], typer.Option(min=2, help="mean and deviation over splits 0 to SPLITS - 1")
    ] = None,
    pattern: Pattern = "",
    ignore_cameras: IgnoreCameras = False,
    skip_unreadable: SkipUnreadable = False,
    ap: Annotated[
        Literal["step", "trapezoid"],
        typer.Option(help="step (today's papers) or trapezoid (Market-1501's own code)"),
    ] = "step",
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option()] = "auto",
    engine: Annotated[str, typer.Option(help="of a bundle; torch computes a run")] = "auto",
    rerank: Annotated[
        bool, typer.Option("--rerank", help="re-rank by k-reciprocal neighbours (k1 20, k2 6, lambda 0.3)")
    ] = False,
    expand: Annotated[
        int, typer.Option(min=0, help="average each query with so many of its matches first")
    ] = 0,
    feature: Annotated[
        Literal["f_i", "f_t"], typer.Option(help="behind the neck, as deployed, or before it (BoT's Table 2)")
    ] = "f_i",
    distance: Annotated[
        Literal["cosine", "euclidean"], typer.Option(help="cosine as deployed, or that of BoT's Table 2")
    ] = "cosine",
    flip: Annotated[
        bool, typer.Option("--flip", help="average with the mirrored crop's feature, as MGN's code does")
    ] = False,
    adapt: Annotated[
        Literal["none", "bnta"],
        typer.Option(help="to each split's gallery crops first, without labels, as BNTA's paper does"),
    ] = "none",
    adapt_set: Annotated[
        Optional[list[str]],
        typer.Option(
            help="KEY=VALUE of --adapt: crops, max_pairs, batch_pairs, rate, momentum, margin, position, "
            "matching, epochs, seed, layers=[bn, conv, in], values=[mean, variance, gamma, beta]"
        ),
    ] = None,
    classifier: Annotated[
        bool,
        typer.Option(
            "--classifier", help="of a run on `classes`: the error of its own classifier, and nothing else"
        ),
    ] = False,
    open_set: Annotated[
        bool,
        typer.Option(
            "--open-set",
            help="also FNIR and threshold at FPIR 1 % and 10 %, and a calibration of scores, half of the "
            "people not enrolled",
        ),
    ] = False,
    json_out: Annotated[Optional[Path], typer.Option("--json", help="also write the numbers here")] = None,
) -> None:
    """Print mAP, CMC and mINP of a model on a dataset's query and gallery."""
    from reid.adaptation.bnta import AdaptationError
    from reid.bundle import BundleError
    from reid.checkpoint import CheckpointError
    from reid.engines import EngineError
    from training import evaluate as evaluation
    from training.adapted import AdaptedNetwork, read_adapting
    from training.classify import error_rate
    from training.compare import mean_and_deviation
    from training.data import read_dataset
    from training.data.records import DatasetError
    from training.data.selection import judged_crops
    from training.features import Features

    if splits and open_set:
        fail("--open-set is of one split: leave --splits out")
    if adapt == "none" and adapt_set:
        fail("--adapt-set is of an adaptation: give --adapt bnta, or leave it out")
    if adapt != "none" and engine not in ("auto", "torch"):
        fail(f"--adapt {adapt} is computed by torch: leave --engine {engine} out")
    if classifier and (
        adapt != "none" or splits or open_set or rerank or expand or flip or distance != "cosine"
    ):
        fail("--classifier ranks nothing: leave --splits and the other choices of a ranking out")
    if open_set and distance != "cosine":
        fail("--open-set is of cosines: leave --distance out")
    if json_out is not None:
        written("--json", json_out)
    one_dataset(dataset)
    try:
        parts, left_out = [], 0
        for number in range(splits) if splits else [split]:
            whole = read_dataset(dataset, data, number, pattern)
            part = judged_crops(whole, ignore_cameras, skip_unreadable)
            left_out = len(whole.query) + len(whole.gallery) - len(part.query) - len(part.gallery)
            parts.append(part)
        echo_summary(parts[0])
        if classifier:
            error, count = error_rate(source, whole, device)
            typer.echo(f"{dataset}: {100 * error:.2f} % of {count} images are classified wrongly")
            if json_out is not None:
                result = {"dataset": dataset, "error": round(100 * error, 2), "images": count}
                json_out.write_text(json.dumps(result, indent=2) + "\n")
            return
        chosen = Features(feature, distance == "cosine", flip)
        if adapt == "none":
            embed, size, what = evaluation.open_embedder(source, device, engine, chosen)
            with progress("embedding") as show:
                embedded = evaluation.embed_splits(embed, parts, size, show)
        else:
            network, what = AdaptedNetwork(source, device, chosen), "torch, adapted by BNTA"
            adapting = read_adapting(adapt_set or [])
            embedded = []
            for number, part in enumerate(parts):
                with progress("embedding") as show:
                    of_split, report = network.embed(part, adapting, show)
                embedded.append(of_split)
                typer.echo(
                    f"{dataset}, split {number if splits else split}: adapted to {report.crops} crops, "
                    f"{report.pairs} pairs, {report.steps} steps"
                )
        each = [evaluation.score(part, ap, rerank, expand, distance) for part in embedded]
        if splits:
            percent = [evaluation.percentages(scores) for scores in each]
            spread = [(name, mean_and_deviation([v[name] for v in percent])) for name in percent[0]]
            counts = [evaluation.query_counts(scores) for scores in each]
            fewest = max(counts, key=lambda c: c["queries without a match"])
            title = f"{dataset} with {what}, {splits} splits, {evaluation.of_queries(fewest)}"
            table(title, ("", "% over splits"), spread)
            values = [{**share, **count} for share, count in zip(percent, counts, strict=True)]
            if json_out is not None:
                json_out.write_text(json.dumps({"dataset": dataset, "splits": values}, indent=2) + "\n")
            return
        scores = each[0]
        unknown = evaluation.open_set(embedded[0]) if open_set else {}
    except (DatasetError, BundleError, CheckpointError, EngineError, AdaptationError, ValueError) as error:
        fail(str(error))
    command = f"resight evaluate {source.name} --dataset {dataset} --data ROOT" + (
        f" --split {split}" if split else ""
    )
    command += (" --ap trapezoid" if ap == "trapezoid" else "") + (" --rerank" if rerank else "")
    command += f" --pattern {shlex.quote(pattern)}" if pattern else ""
    command += " --ignore-cameras" if ignore_cameras else ""
    command += " --skip-unreadable" if skip_unreadable else ""
    command += (f" --feature {feature}" if feature != "f_i" else "") + (" --flip" if flip else "")
    command += f" --adapt {adapt}" if adapt != "none" else ""
    command += "".join(f" --adapt-set {shlex.quote(setting)}" for setting in adapt_set or [])
    command += f" --distance {distance}" if distance != "cosine" else ""
    command += (f" --expand {expand}" if expand else "") + (" --open-set" if open_set else "")
    metrics = evaluation.as_metrics(scores, dataset, command)
    metrics |= {"images left out": left_out} if left_out else {}
    metrics |= unknown
    between = {
        name: "{:.2f} to {:.2f}".format(*(100 * end for end in scores.interval(name)))
        for name in ("mAP", "rank-1", "mINP")
    }
    rows = [
        (name, f"{metrics[name]:.2f}", between.get(name, ""))
        for name in ("mAP", "rank-1", "rank-5", "rank-10", "mINP")
    ]
    table(f"{dataset} with {what}, {evaluation.of_queries(metrics)}", ("", "%", "95 % over queries"), rows)
    if unknown:
        shares = ("FNIR", "calibration error")
        held = [
            (name, f"{value:.2f} %" if name.startswith(shares) else f"{value:.3f}")
            for name, value in unknown.items()
        ]
        table("half of the people not enrolled", ("", ""), held)
    if json_out is not None:
        json_out.write_text(json.dumps(metrics, indent=2) + "\n")


def visualize(
    sources: Annotated[
        list[Path],
        typer.Argument(help="run folders, checkpoints or .resight bundles; cmc and surface take several"),
    ],
    dataset: Annotated[
        str,
        typer.Option(
            help=DATASETS
            + "; embeddings and filters: several joined by +; batchnorm: SOURCE+TARGET or TARGET"
        ),
    ],
    data: Data,
    out: Annotated[
        Path,
        typer.Option(help="the picture, .png, .jpg, .pdf or .svg; ranks shows the people of the dataset"),
    ],
    what: Annotated[
        Literal["ranks", "cmc", "embeddings", "people", "filters", "batchnorm", "surface"],
        typer.Option(
            help="queries with their matches, CMC curves, t-SNE by domain or by person, t-SNE of DCSD's "
            "filters, what adaptation does to BatchNorm, or the loss of a run's classifier around its weights"
        ),
    ] = "ranks",
    queries: Annotated[int, typer.Option(min=1, max=200, help="rows of ranks")] = 10,
    matches: Annotated[int, typer.Option(min=1, max=100, help="columns of ranks")] = 10,
    people: Annotated[int, typer.Option(min=2, max=100, help="of --what people, drawn by the seed")] = 7,
    crops: Annotated[
        int,
        typer.Option(min=5, max=100_000, help="crops of each dataset, for embeddings, batchnorm and surface"),
    ] = 300,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="of every choice")] = 0,
    points: Annotated[
        int, typer.Option(min=3, max=201, help="losses along a side of surface, an odd number")
    ] = 21,
    split: Annotated[int, typer.Option(min=0, help="where a dataset has several")] = 0,
    pattern: Pattern = "",
    ignore_cameras: IgnoreCameras = False,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option()] = "auto",
) -> None:
    """Draw what a model ranks, how well, how its embeddings lie, or what adaptation changes."""
    from reid.adaptation.bnta import AdaptationError
    from reid.bundle import BundleError
    from reid.checkpoint import CheckpointError
    from reid.engines import EngineError
    from training.data.records import DatasetError
    from training.visualize import Picture, draw

    picture("--out", out, (".pdf", ".svg"))
    if what in ("ranks", "cmc", "people", "surface"):
        one_dataset(dataset)
    if what in ("batchnorm", "filters") and device == "cuda":
        fail(f"--what {what} is computed on the CPU: leave --device out")
    if len(sources) > 1 and what not in ("cmc", "surface"):
        fail(f"--what {what} draws one model, not {len(sources)}")
    asked = Picture(
        what,
        sources,
        dataset,
        data,
        split,
        queries,
        matches,
        crops,
        seed,
        device,
        pattern,
        ignore_cameras,
        people,
        points,
    )
    try:
        with progress("embedding") as show:
            draw(asked, out, show)
    except (
        DatasetError,
        BundleError,
        CheckpointError,
        EngineError,
        AdaptationError,
        ValueError,
        OSError,
    ) as error:
        fail(str(error))
    typer.echo(f"wrote {out}")


def export(
    run: Annotated[Path, typer.Argument(help="a run folder or a checkpoint")],
    out: Annotated[Path, typer.Option(help="NAME.resight")],
    licence: Annotated[str, typer.Option(help="terms of the weights")] = "unknown: ask whoever trained it",
    half: Annotated[
        bool, typer.Option("--half", help="store convolutions in half precision: half the size")
    ] = False,
    tensorrt: Annotated[
        bool, typer.Option("--tensorrt", help="also build and compare a TensorRT engine")
    ] = False,
    metrics: Annotated[
        Optional[list[Path]],
        typer.Option(help="JSON of resight evaluate --json, for the manifest; once for each dataset"),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="replace a bundle although its folder holds other files too")
    ] = False,
) -> None:
    """Make a bundle of a run. Every installed engine must answer as torch does, or nothing is written.

    A bundle at OUT is replaced; anything else there is never touched."""
    from export.bundle import export_bundle
    from export.parity import ParityError
    from reid.bundle import BundleError
    from reid.checkpoint import CheckpointError
    from reid.engines import EngineError

    text("--licence", licence)
    try:
        measured = [_measured(path) for path in metrics or []]
        _, results = export_bundle(run, out, licence, half, tensorrt, measured, force)
    except (CheckpointError, BundleError, EngineError, ParityError, OSError) as error:
        fail(str(error))
    rows = [(p.engine, p.precision, f"{p.min_cosine:.6f}") for p in results]
    table(str(out), ("engine", "precision", "lowest cosine to torch"), rows)


def _measured(path: Path) -> dict[str, Any]:
    """What `resight evaluate --json` has written; ends the command where a file holds something else."""
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        fail(f"--metrics {path}: {error}")
    for name in ("dataset", "command", "mAP"):
        if not isinstance(values, dict) or name not in values:
            fail(f"--metrics {path} is no JSON of resight evaluate --json of one split: it has no {name}")
    score = values["mAP"]
    if isinstance(score, bool) or not isinstance(score, (int, float)) or not 0 <= score <= 100:
        fail(f"--metrics {path}: mAP is a percentage from 0 to 100, not {score!r}")
    for name in ("dataset", "command"):
        if not isinstance(values[name], str):
            fail(f"--metrics {path}: {name} is a text, not {values[name]!r}")
    return values


def bundle_info(path: Annotated[Path, typer.Argument(help="the .resight folder")]) -> None:
    """Verify a bundle and print its manifest."""
    from reid.bundle import Bundle, BundleError

    try:
        typer.echo(Bundle.load(path).manifest.model_dump_json(indent=2))
    except BundleError as error:
        fail(str(error))


def bundle_card(path: Annotated[Path, typer.Argument(help="the .resight folder")]) -> None:
    """Print a bundle's model card as Markdown: what it learned from, how, and its measured scores."""
    from export.card import card
    from reid.bundle import Bundle, BundleError

    try:
        typer.echo(card(Bundle.load(path).manifest), nl=False)
    except BundleError as error:
        fail(str(error))
