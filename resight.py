"""The command line: one verb per line, each verb imported only when it is called."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, Optional

import typer

if TYPE_CHECKING:
    from resight_client import Client, Job

app = typer.Typer(help="Person re-identification that adapts to its site.", no_args_is_help=True, pretty_exceptions_enable=False)
bundles = typer.Typer(help="Deployable models.", no_args_is_help=True)
keys = typer.Typer(help="API keys of a server's data folder.", no_args_is_help=True)
app.add_typer(bundles, name="bundle")
app.add_typer(keys, name="key")

Site = Annotated[str, typer.Option(help="site: one deployment with its cameras and its gallery")]
Server = Annotated[str, typer.Option(envvar="RESIGHT_URL", help="URL of the server")]
Key = Annotated[Optional[str], typer.Option(envvar="RESIGHT_API_KEY", help="API key, where the server needs one")]
Data = Annotated[Path, typer.Option(envvar="RESIGHT_DATA", help="root folder of the dataset")]
RunFolder = Annotated[Path, typer.Option("--out", help="run folder; training goes on where it stands")]
OptionalData = Annotated[Optional[Path], typer.Option("--data", envvar="RESIGHT_DATA", help="root folder of the dataset")]
Settings = Annotated[Optional[list[str]], typer.Option("--set", help="key=value over the recipe, like optimiser.epochs=60")]
Smoke = Annotated[bool, typer.Option("--smoke", help="two steps on drawn people; needs no data")]
DATASETS = "like market1501, msmt17, cuhk03, viper or folders; docs/datasets.md has them all"
LOCAL = "http://127.0.0.1:8000"


@app.command()
def serve(
    bundle: Annotated[Optional[Path], typer.Option(help="the .resight folder (RESIGHT_BUNDLE)")] = None,
    data: Annotated[Optional[Path], typer.Option(help="where the gallery is kept (RESIGHT_GALLERY; default resight-data)")] = None,
    host: Annotated[Optional[str], typer.Option(help="address; anything but loopback needs API keys (default 127.0.0.1)")] = None,
    port: Annotated[Optional[int], typer.Option(help="of HTTP (default 8000)")] = None,
    grpc_port: Annotated[Optional[int], typer.Option(help="of gRPC; 0: none (default 8001)")] = None,
    device: Annotated[Optional[str], typer.Option(help="auto, cpu, or cuda: an error where it cannot be used")] = None,
    engine: Annotated[Optional[str], typer.Option(help="auto, tensorrt, cuda, openvino, onnxruntime or torch")] = None,
    reembed: Annotated[
        Optional[bool], typer.Option("--reembed/--no-reembed", help="re-embed galleries another model made; ends adaptations")
    ] = None,
) -> None:
    """Serve a bundle over HTTP and gRPC. Every setting is also an environment variable RESIGHT_<NAME>."""
    import logging

    from pydantic import ValidationError

    from server.errors import StartError
    from server.main import serve as run
    from server.settings import Settings

    logging.basicConfig(format="%(levelname)s %(message)s")
    given: dict[str, Any] = {"bundle": bundle, "data": data, "host": host, "port": port, "grpc_port": grpc_port}
    given |= {"device": device, "engine": engine, "reembed": reembed}
    try:
        run(Settings(**{k: v for k, v in given.items() if v is not None}))
    except ValidationError as error:
        first = error.errors()[0]
        _fail(f"setting {'.'.join(map(str, first['loc']))}: {first['msg']} (also the variable RESIGHT_{str(first['loc'][0]).upper()})")
    except StartError as error:
        _fail(str(error))


@app.command()
def enroll(
    paths: Annotated[list[Path], typer.Argument(help="images, or folders of them")],
    site: Site,
    camera: Annotated[Optional[str], typer.Option(help="of all images")] = None,
    identity: Annotated[Optional[str], typer.Option(help="of all images")] = None,
    pattern: Annotated[
        Optional[str], typer.Option(help=r"regex over file names with groups, like '(?P<identity>\d+)_c(?P<camera>\d)'")
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="skip unreadable images instead of stopping")] = False,
    batch: Annotated[int, typer.Option(help="images a request")] = 64,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Enroll crops at a site."""
    from resight_client import ResightError
    from rich.progress import track

    files = _images(paths)
    fields = [_fields(file, pattern, camera, identity) for file in files]
    count = 0
    with _client(server, api_key) as client:
        for start in track(range(0, len(files), batch), "enrolling", disable=not sys.stderr.isatty()):
            some = files[start : start + batch]
            try:
                found = client.enroll(site, some, records=fields[start : start + batch], partial=partial)
            except ResightError as error:
                name = f"{some[error.facts['index']]}: " if "index" in error.facts else ""
                _fail(f"{name}{error} ({count} images were enrolled before)")
            count += len(found.items)
            for bad in found.errors:
                typer.echo(f"skipped {some[bad['index']]}: {bad['detail']}", err=True)
    typer.echo(f"enrolled {count} of {len(files)} images at {site}")


@app.command()
def query(
    images: Annotated[list[Path], typer.Argument(help="one crop, or the crops of one tracklet")],
    site: Site,
    top_k: Annotated[int, typer.Option(help="matches to return")] = 10,
    camera: Annotated[Optional[str], typer.Option(help="the query's camera")] = None,
    exclude_same_camera: Annotated[bool, typer.Option("--exclude-same-camera")] = False,
    filter: Annotated[Optional[str], typer.Option(help='JSON, like \'{"camera": "door"}\'')] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Rank a site's gallery for a crop."""
    import dataclasses

    for path in images:
        if not path.is_file():
            _fail(f"{path} does not exist")
    try:
        where = json.loads(filter) if filter else None
    except ValueError as error:
        _fail(f"--filter is not valid JSON: {error}")
    with _client(server, api_key) as client:
        found = client.query(site, images, top_k=top_k, camera=camera, exclude_same_camera=exclude_same_camera, filter=where)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(found), indent=2))
        return
    _table(
        f"{site}, version {found.version}",
        ("rank", "score", "identity", "camera", "captured at", "id"),
        [(str(m.rank), f"{m.score:.4f}", m.identity or "", m.camera or "", m.captured_at or "", m.id) for m in found.matches],
    )


@app.command()
def adapt(
    site: Site,
    tier: Annotated[str, typer.Option(help="auto, none (back to the bundle's own values) or 2 (BNTA)")] = "auto",
    max_samples: Annotated[Optional[int], typer.Option(help="most crops to look at")] = None,
    seed: Annotated[int, typer.Option(help="of the choice of crops and the order of pairs")] = 0,
    wait: Annotated[bool, typer.Option("--wait", help="show progress until it has ended")] = False,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Adapt a site's BatchNorm layers to its own crops."""
    with _client(server, api_key) as client:
        _follow(client, client.adapt(site, tier, max_samples=max_samples, seed=seed), wait)


@app.command()
def rollback(
    site: Site,
    wait: Annotated[bool, typer.Option("--wait", help="show progress until it has ended")] = False,
    server: Server = LOCAL,
    api_key: Key = None,
) -> None:
    """Undo a site's last adaptation."""
    with _client(server, api_key) as client:
        _follow(client, client.roll_back(site), wait)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="a recipe's name, or the path of a .yaml file")],
    out: RunFolder,
    data: OptionalData = None,
    settings: Settings = None,
    smoke: Smoke = False,
) -> None:
    """Train a recipe on a dataset."""
    _train(recipe, out, data, settings or [], smoke)


@app.command()
def distill(
    teacher: Annotated[str, typer.Argument(help="a run, a checkpoint, a bundle, or an OpenVINO network's .xml")],
    out: RunFolder,
    data: OptionalData = None,
    settings: Settings = None,
    recipe: Annotated[str, typer.Option(help="the student's")] = "std",
) -> None:
    """Train a plain student on a dataset and on what a trained network says of it (STD)."""
    _train(recipe, out, data, [*(settings or []), f"distill.teacher={teacher}"], False)


@app.command("leave-one-out")
def leave_one_out(
    recipes: Annotated[list[str], typer.Argument(help="recipes to compare")],
    datasets: Annotated[str, typer.Option(help="joined by +, like folders:site-0+folders:site-1+market1501:FOLDER")],
    data: Data,
    out: Annotated[Path, typer.Option(help="folder of the runs and of results.json; what is there is not done again")],
    seeds: Annotated[int, typer.Option(min=1, help="so many seeds, from 0")] = 1,
    target: Annotated[Optional[list[str]], typer.Option(help="only these of the datasets as targets")] = None,
    settings: Settings = None,
) -> None:
    """Train each recipe on all datasets but one and evaluate it there, for every dataset: one table."""
    from reid.checkpoint import CheckpointError
    from training import compare as comparing
    from training.data.records import DatasetError
    from training.loop import TrainingError
    from training.recipe import RecipeError

    names = datasets.split("+")
    unknown = set(target or []) - set(names)
    if unknown:
        _fail(f"--target {sorted(unknown)[0]} is none of --datasets {datasets}")
    try:
        plan = [(sources, left) for sources, left in comparing.leave_one_out(names) if not target or left in target]
        entries = [comparing.Entry(name, name) for name in recipes]
        asked = comparing.Comparison(entries, plan, range(seeds), tuple(settings or []))
        results = comparing.compare(asked, data, out, lambda r: typer.echo(f"{r['name']}, {r['target']}, seed {r['seed']}: {r['metrics']}"))
    except (RecipeError, DatasetError, CheckpointError, TrainingError) as error:
        _fail(str(error))
    _table("left out", ("target", "recipe", "seeds", *comparing.METRICS), comparing.table(results, comparing.METRICS))


@app.command()
def evaluate(
    source: Annotated[Path, typer.Argument(help="a run folder, a checkpoint or a .resight bundle")],
    dataset: Annotated[str, typer.Option(help=DATASETS)],
    data: Data,
    split: Annotated[int, typer.Option(help="where a dataset has several")] = 0,
    splits: Annotated[Optional[int], typer.Option(min=2, help="mean and deviation over splits 0 to SPLITS - 1")] = None,
    ap: Annotated[Literal["step", "trapezoid"], typer.Option(help="step (today's papers) or trapezoid (Market-1501's own code)")] = "step",
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option()] = "auto",
    engine: Annotated[str, typer.Option(help="of a bundle")] = "auto",
    rerank: Annotated[bool, typer.Option("--rerank", help="re-rank by k-reciprocal neighbours (k1 20, k2 6, lambda 0.3)")] = False,
    expand: Annotated[int, typer.Option(help="average each query with so many of its matches first")] = 0,
    open_set: Annotated[bool, typer.Option("--open-set", help="also FNIR at FPIR 1 % and 10 %, half of the people not enrolled")] = False,
    json_out: Annotated[Optional[Path], typer.Option("--json", help="also write the numbers here")] = None,
) -> None:
    """Print mAP, CMC and mINP of a model on a dataset's query and gallery."""
    from reid.bundle import BundleError
    from reid.checkpoint import CheckpointError
    from reid.engines import EngineError
    from reid.open_set import open_set as rates
    from training import evaluate as evaluation
    from training.data import read_dataset
    from training.data.records import DatasetError

    try:
        parts = [read_dataset(dataset, data, number) for number in (range(splits) if splits else [split])]
        embed, size, what = evaluation.open_embedder(source, device, engine)
        each = []
        for part in parts:
            with _embedding() as show:
                embedded = evaluation.embed_dataset(embed, part, size, show)
            each.append(evaluation.score(embedded, ap, rerank, expand))
        if splits:
            spread = evaluation.over_splits(each)
            rows = [(name, f"{mean:.2f}", f"± {deviation:.2f}") for name, (mean, deviation) in spread.items()]
            _table(f"{dataset} with {what}, {splits} splits", ("", "%", "over splits"), rows)
            if json_out is not None:
                json_out.write_text(json.dumps({"dataset": dataset, "splits": splits, **spread}, indent=2) + "\n")
            return
        scores = each[0]
        missed = rates(embedded.query, embedded.gallery, *embedded.labels, embedded.ignore_camera) if open_set else {}
    except (DatasetError, BundleError, CheckpointError, EngineError, ValueError) as error:
        _fail(str(error))
    command = f"resight evaluate {source.name} --dataset {dataset}" + (" --ap trapezoid" if ap == "trapezoid" else "")
    command += (" --rerank" if rerank else "") + (f" --expand {expand}" if expand else "") + (" --open-set" if open_set else "")
    metrics = evaluation.as_metrics(scores, dataset, command)
    metrics |= {f"FNIR at FPIR {rate:.0%}": round(100 * value, 2) for rate, value in missed.items()}
    between = {name: "{:.2f} to {:.2f}".format(*(100 * end for end in scores.interval(name))) for name in ("mAP", "rank-1", "mINP")}
    rows = [(name, f"{metrics[name]:.2f}", between.get(name, "")) for name in ("mAP", "rank-1", "rank-5", "rank-10", "mINP")]
    rows += [(name, f"{value:.2f}", "") for name, value in metrics.items() if name.startswith("FNIR")]
    _table(f"{dataset} with {what}, {scores.queries} queries", ("", "%", "95 % over queries"), rows)
    if json_out is not None:
        json_out.write_text(json.dumps(metrics, indent=2) + "\n")


@app.command()
def visualize(
    sources: Annotated[list[Path], typer.Argument(help="run folders, checkpoints or .resight bundles; cmc takes several")],
    dataset: Annotated[str, typer.Option(help=DATASETS + "; embeddings: several joined by +; batchnorm: SOURCE+TARGET or TARGET")],
    data: Data,
    out: Annotated[Path, typer.Option(help="the picture, .png or .jpg; ranks shows the people of the dataset")],
    what: Annotated[
        Literal["ranks", "cmc", "embeddings", "batchnorm"],
        typer.Option(help="queries with their matches, CMC curves, t-SNE by domain, or what adaptation does to BatchNorm"),
    ] = "ranks",
    queries: Annotated[int, typer.Option(min=1, help="rows of ranks")] = 10,
    matches: Annotated[int, typer.Option(min=1, help="columns of ranks")] = 10,
    crops: Annotated[int, typer.Option(min=5, help="crops of each dataset, for embeddings and batchnorm")] = 300,
    seed: Annotated[int, typer.Option(help="of every choice")] = 0,
    split: Annotated[int, typer.Option(help="where a dataset has several")] = 0,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option()] = "auto",
) -> None:
    """Draw what a model ranks, how well, how its embeddings lie, or what adaptation changes."""
    from reid.adaptation.bnta import AdaptationError
    from reid.bundle import BundleError
    from reid.checkpoint import CheckpointError
    from reid.engines import EngineError
    from training.data.records import DatasetError
    from training.visualize import Picture, draw

    if out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        _fail(f"--out {out}: a picture is called .png or .jpg")
    if len(sources) > 1 and what != "cmc":
        _fail(f"--what {what} draws one model, not {len(sources)}")
    asked = Picture(what, sources, dataset, data, split, queries, matches, crops, seed, device)
    try:
        with _embedding() as show:
            draw(asked, out, show)
    except (DatasetError, BundleError, CheckpointError, EngineError, AdaptationError, ValueError, OSError) as error:
        _fail(str(error))
    typer.echo(f"wrote {out}")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="a run folder or a checkpoint")],
    out: Annotated[Path, typer.Option(help="NAME.resight")],
    licence: Annotated[str, typer.Option(help="terms of the weights")] = "unknown: ask whoever trained it",
    half: Annotated[bool, typer.Option("--half", help="store convolutions in half precision: half the size")] = False,
    tensorrt: Annotated[bool, typer.Option("--tensorrt", help="also build and compare a TensorRT engine")] = False,
    metrics: Annotated[Optional[Path], typer.Option(help="JSON of resight evaluate --json, for the manifest")] = None,
) -> None:
    """Make a bundle of a run. Every installed engine must answer as torch does, or nothing is written."""
    from export.bundle import export_bundle
    from export.parity import ParityError
    from reid.bundle import BundleError
    from reid.checkpoint import CheckpointError
    from reid.engines import EngineError

    try:
        measured = [json.loads(metrics.read_text())] if metrics else None
        _, results = export_bundle(run, out, licence, half, tensorrt, measured)
    except (CheckpointError, BundleError, EngineError, ParityError) as error:
        _fail(str(error))
    rows = [(p.engine, p.precision, f"{p.min_cosine:.6f}") for p in results]
    _table(str(out), ("engine", "precision", "lowest cosine to torch"), rows)


@app.command()
def synth(
    out: Annotated[Path, typer.Option(help="root folder of the dataset")],
    identities: Annotated[int, typer.Option(help="people to learn from; a fifth as many more to evaluate on")] = 600,
    sites: Annotated[int, typer.Option(help="places, each with four cameras and its own look")] = 4,
    apart: Annotated[bool, typer.Option("--apart", help="a dataset OUT/site-N for each site, with its own people")] = False,
    images: Annotated[int, typer.Option(help="crops a camera and person")] = 3,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Draw a dataset of simple pedestrians: nobody's picture, no licence."""
    from training.synthetic.drawn import draw_dataset, draw_sites

    if apart:
        drawn = draw_sites(out, sites, identities, seed, images=images)
    else:
        drawn = [draw_dataset(out, identities, seed, sites, images=images)]
    train, query, gallery = (sum(len(getattr(d, part)) for d in drawn) for part in ("train", "query", "gallery"))
    typer.echo(f"drew {train} training, {query} query and {gallery} gallery crops under {out}")


@bundles.command("info")
def bundle_info(path: Annotated[Path, typer.Argument(help="the .resight folder")]) -> None:
    """Verify a bundle and print its manifest."""
    from reid.bundle import Bundle, BundleError

    try:
        typer.echo(Bundle.load(path).manifest.model_dump_json(indent=2))
    except BundleError as error:
        _fail(str(error))


@keys.command("add")
def key_add(
    scope: Annotated[str, typer.Argument(help="read, write or admin")], data: Annotated[Path, typer.Option(help="the server's data folder")]
) -> None:
    """Make a key and print it, once."""
    from server.auth import make_key
    from server.errors import BadRequest
    from server.gallery.store import Store

    try:
        typer.echo(make_key(Store(data), scope))
    except BadRequest as error:
        _fail(str(error))


@keys.command("list")
def key_list(data: Annotated[Path, typer.Option(help="the server's data folder")]) -> None:
    """Ids and scopes of the keys there are; their text is not kept."""
    from server.gallery.store import Store

    _table("keys", ("id", "scope"), [(row["id"], row["scopes"]) for row in Store(data).api_keys()])


@keys.command("revoke")
def key_revoke(
    key: Annotated[str, typer.Argument(help="its id")], data: Annotated[Path, typer.Option(help="the server's data folder")]
) -> None:
    """Revoke a key; the running server refuses it from then on."""
    from server.gallery.store import Store

    if not Store(data).revoke_key(key):
        _fail(f"there is no key {key}")


def _train(recipe: str, out: Path, data: Path | None, settings: list[str], smoke: bool) -> None:
    from reid.checkpoint import CheckpointError
    from training.data.records import DatasetError
    from training.loop import TrainingError
    from training.loop import smoke as smoke_run
    from training.recipe import RecipeError, load_recipe
    from training.transfer import train_in_order

    try:
        chosen = load_recipe(recipe, settings)
        if smoke:
            smoke_run(chosen, out)
        elif data is None:
            _fail("--data ROOT (or RESIGHT_DATA) is missing; to see a recipe run without data: resight train RECIPE --smoke")
        else:
            train_in_order(chosen, data, out)
    except (RecipeError, DatasetError, CheckpointError, TrainingError) as error:
        _fail(str(error))
    typer.echo(f"trained; next: resight evaluate {out} --dataset NAME --data ROOT, or resight export {out} --out NAME.resight")


def _images(paths: list[Path]) -> list[Path]:
    suffixes = {".jpg", ".jpeg", ".png", ".webp"}
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            _fail(f"{path} does not exist")
        files += sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes) if path.is_dir() else [path]
    if not files:
        _fail(f"no .jpg, .png or .webp files under {', '.join(map(str, paths))}")
    return files


def _fields(file: Path, pattern: str | None, camera: str | None, identity: str | None) -> dict[str, Any]:
    import re

    found: dict[str, Any] = {"camera": camera, "identity": identity}
    if pattern is not None:
        try:
            match = re.search(pattern, file.name)
        except re.error as error:
            _fail(f"--pattern is not a regular expression: {error}")
        if match is None:
            _fail(f"--pattern does not fit the file name {file.name}")
        found |= {k: v for k, v in match.groupdict().items() if k in ("camera", "identity", "captured_at")}
    return {k: v for k, v in found.items() if v is not None}


@contextmanager
def _client(server: str, api_key: str | None) -> Iterator[Client]:
    """A client whose errors end the command with their sentence."""
    from resight_client import Client, ResightError

    with Client(server, api_key) as client:
        try:
            yield client
        except ResightError as error:
            _fail(str(error))


@contextmanager
def _embedding() -> Iterator[Callable[[int, int], None]]:
    """A progress bar, as the function that moves it."""
    from rich.progress import Progress

    with Progress(disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("embedding")
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _follow(client: Client, job: Job, wait: bool) -> None:
    if not wait:
        typer.echo(f"job {job.job} {job.state}; watch it with: curl -N {client.url}/adapt/{job.job}/events")
        return
    from rich.progress import Progress

    with Progress(disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(job.stage, total=1.0)
        for seen in client.watch(job.job):
            job = seen
            bar.update(task, completed=job.progress, description=job.stage)
    typer.echo(json.dumps(job.report, indent=2))
    if job.state != "succeeded":
        _fail(f"{job.kind} {job.state}: {job.report.get('reason') or job.report.get('error') or job.state}")
    typer.echo(f"{job.site} is on version {job.version}")


def _table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns)
    for row in rows:
        table.add_row(*row)
    typer.echo(title)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"resight: {sentence}", err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
