"""train, distill, leave-one-out and synth: from datasets to runs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn, Optional

import typer

from cli.data import Data, IgnoreCameras, LeaveOutSingles, Pattern, SkipUnreadable, echo_summary
from cli.output import fail, picture, progress, table, waiting

if TYPE_CHECKING:
    from training.recipe import Recipe

RunFolder = Annotated[Path, typer.Option("--out", help="run folder; training goes on where it stands")]
OptionalData = Annotated[
    Optional[Path], typer.Option("--data", envvar="RESIGHT_DATA", help="root folder of the dataset")
]
Settings = Annotated[
    Optional[list[str]], typer.Option("--set", help="key=value over the recipe, like optimiser.epochs=60")
]
Smoke = Annotated[bool, typer.Option("--smoke", help="two steps on drawn people; needs no data")]
Epochs = Annotated[
    Optional[int],
    typer.Option(min=1, help="instead of the recipe's; more than a run in --out has make it go on"),
]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option("--device", help="auto takes a GPU where there is one")
]
FromScratch = Annotated[
    bool,
    typer.Option("--from-scratch", help="start from nothing: of a paper's recipe, no reproduction"),
]
_STOPPED = 130  # exit status of a program that Ctrl-C ended

# leaves out what labels would teach; a batch is 64 crops of the one identity that all of them have
UNLABELED = (
    "dataset=unlabeled",
    "batch_identities=1",
    "batch_crops=64",
    "losses.triplet=0.0",
    "losses.centre=0.0",
    "losses.part_identity=0.0",
    "distill.weight=1.0",
)


def train(
    recipe: Annotated[str, typer.Argument(help="a recipe's name, or the path of a .yaml file")],
    out: RunFolder,
    data: OptionalData = None,
    settings: Settings = None,
    pattern: Pattern = "",
    leave_out_singles: LeaveOutSingles = False,
    skip_unreadable: SkipUnreadable = False,
    smoke: Smoke = False,
    epochs: Epochs = None,
    from_scratch: FromScratch = False,
    device: DeviceOption = "auto",
) -> None:
    """Train a recipe on a dataset. Ctrl-C saves; the same command goes on from there."""
    reading = _reading(pattern, leave_out_singles, skip_unreadable)
    changes = [*(settings or []), *reading, *_lasting(epochs)]
    _train(recipe, out, data, changes, smoke, device, from_scratch)


def distill(
    teacher: Annotated[
        str, typer.Argument(help="a run, a checkpoint, a bundle, or an OpenVINO network's .xml")
    ],
    out: RunFolder,
    data: OptionalData = None,
    settings: Settings = None,
    recipe: Annotated[str, typer.Option(help="the student's")] = "std",
    unlabeled: Annotated[
        Optional[Path],
        typer.Option(help="a folder of crops without labels, instead of --data: the teacher alone teaches"),
    ] = None,
    pattern: Pattern = "",
    leave_out_singles: LeaveOutSingles = False,
    skip_unreadable: SkipUnreadable = False,
    epochs: Epochs = None,
    device: DeviceOption = "auto",
) -> None:
    """Train a plain student on a dataset and on what a trained network says of it (STD)."""
    given = [f"distill.teacher={teacher}"]
    if unlabeled is not None:
        if data is not None:
            fail("--unlabeled FOLDER takes the place of --data (and of RESIGHT_DATA): leave one of them out")
        data, given = unlabeled, [*UNLABELED, *given]
    reading = _reading(pattern, leave_out_singles, skip_unreadable)
    _train(recipe, out, data, [*given, *(settings or []), *reading, *_lasting(epochs)], False, device)


def leave_one_out(
    recipes: Annotated[list[str], typer.Argument(help="recipes to compare")],
    datasets: Annotated[
        str, typer.Option(help="joined by +, like folders:site-0+folders:site-1+market1501:FOLDER")
    ],
    data: Data,
    out: Annotated[
        Path, typer.Option(help="folder of the runs and of results.json; what is there is not done again")
    ],
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="so many seeds, from 0")] = 1,
    target: Annotated[Optional[list[str]], typer.Option(help="only these of the datasets as targets")] = None,
    settings: Settings = None,
    pattern: Pattern = "",
    leave_out_singles: LeaveOutSingles = False,
    skip_unreadable: SkipUnreadable = False,
    ignore_cameras: IgnoreCameras = False,
    device: DeviceOption = "auto",
) -> None:
    """Train each recipe on all datasets but one and evaluate it there, for every dataset: one table."""
    from reid.checkpoint import CheckpointError
    from reid.engines import EngineError
    from training import compare as comparing
    from training.data import sources_of
    from training.data.records import DatasetError
    from training.evaluate import of_queries
    from training.interrupts import Interrupted, TrainingError
    from training.recipe import RecipeError

    try:
        names = sources_of(datasets)
        unknown = set(target or []) - set(names)
        if unknown:
            fail(f"--target {sorted(unknown)[0]} is none of --datasets {datasets}")
        plan = [
            (sources, left)
            for sources, left in comparing.leave_one_out(names)
            if not target or left in target
        ]
        entries = [comparing.Entry(name, name) for name in recipes]
        changes = (*(settings or []), *_reading(pattern, leave_out_singles, skip_unreadable))
        asked = comparing.Comparison(entries, plan, range(seeds), changes, None, ignore_cameras, device)
        results = comparing.compare(
            asked,
            data,
            out,
            lambda r: typer.echo(
                f"{r['name']}, {r['target']}, seed {r['seed']}: {r['metrics']}, {of_queries(r)}"
            ),
        )
    except Interrupted as stop:
        _stopped(str(stop))
    except (RecipeError, DatasetError, CheckpointError, EngineError, TrainingError, OSError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        _stopped_at_once(out)
    table(
        "left out",
        ("target", "recipe", "seeds", *comparing.METRICS, "queries"),
        [
            (*row, count)
            for row, count in zip(
                comparing.table(results, comparing.METRICS), comparing.queries(results), strict=True
            )
        ],
    )


def synth(
    out: Annotated[
        Optional[Path], typer.Option(help="folder of the world; what is there already is not rendered again")
    ] = None,
    identities: Annotated[
        int, typer.Option(help="people of each site; six tenths to learn from, the others to evaluate on")
    ] = 500,
    sites: Annotated[
        int, typer.Option(help="places, each with its own people, light, sensors and detector")
    ] = 4,
    cameras: Annotated[int, typer.Option(help="of each site")] = 5,
    images: Annotated[int, typer.Option(help="crops a camera and person")] = 4,
    seed: Annotated[int, typer.Option()] = 0,
    severity: Annotated[
        float, typer.Option(help="0 to 5: how far sites are from neutral light and sensors")
    ] = 3.0,
    kinds: Annotated[
        str,
        typer.Option(
            help="of the sites, joined by commas: plain, null, between, cast, monochrome, uniform, feet, "
            "coats, hard"
        ),
    ] = "plain",
    size: Annotated[str, typer.Option(help="of a crop, HEIGHTxWIDTH")] = "128x64",
    workers: Annotated[int, typer.Option(min=0, max=1024, help="processes; 0 for one a core, at most")] = 0,
    sheet: Annotated[
        Optional[Path],
        typer.Option(help="a picture of twelve people of each site: people in rows, cameras in columns"),
    ] = None,
) -> None:
    """Render a world of people who do not exist, with every factor known: nobody's picture, no licence."""
    from training.synthetic.body import SynthError
    from training.synthetic.world import World, render

    if out is None and sheet is None:
        fail("--out FOLDER is missing (or --sheet FILE.png for a look at the world)")
    try:
        height, width = (int(part) for part in size.split("x"))
    except ValueError:
        fail(f"--size {size}: HEIGHTxWIDTH, like 128x64")
    if sheet:
        picture("--sheet", sheet)
    world = World(identities, sites, cameras, images, seed, severity, tuple(kinds.split(",")), height, width)
    try:
        if sheet:
            from training.synthetic.sheet import draw_sheet

            draw_sheet(world).save(sheet)
            typer.echo(f"wrote {sheet}")
        if out:
            with progress("crops") as report:
                rendered = render(world, out, workers, report)
            typer.echo(
                f"rendered {rendered} crops under {out}; next: resight train bot --data {out} --set "
                f"dataset=world:site-0 --out RUN"
            )
    except (SynthError, OSError) as error:
        fail(str(error))


def _reading(pattern: str, leave_out_singles: bool, skip_unreadable: bool) -> list[str]:
    """The options on how data is read, as settings of a recipe; one that is not given changes nothing."""
    settings = (
        [f"pattern={json.dumps(pattern)}"] if pattern else []
    )  # YAML reads JSON, and what a regex may hold
    settings += ["leave_out_singles=true"] if leave_out_singles else []
    return settings + (["skip_unreadable=true"] if skip_unreadable else [])


def _lasting(epochs: int | None) -> list[str]:
    """The option --epochs as a setting."""
    return [] if epochs is None else [f"optimiser.epochs={epochs}"]


def _stopped(sentence: str) -> NoReturn:
    """Ends the command as one that Ctrl-C or SIGTERM ended."""
    typer.echo(f"resight: {sentence}", err=True)
    raise typer.Exit(_STOPPED)


def _stopped_at_once(out: Path) -> NoReturn:
    """Ends a command that Ctrl-C reached where there was nothing to save, or a second time."""
    _stopped(f"stopped; what {out} held before stays, and the same command goes on from there")


def _from_scratch(recipe: Recipe) -> Recipe:
    """The recipe without the weights that it starts from, and without the name of a table."""
    if recipe.paper:
        typer.echo(f"from scratch: no reproduction of {recipe.paper}")
    return dataclasses.replace(recipe, start="", paper="")


def _train(
    recipe: str,
    out: Path,
    data: Path | None,
    settings: list[str],
    smoke: bool,
    device: Literal["auto", "cpu", "cuda"],
    from_scratch: bool = False,
) -> None:
    try:
        with waiting("loading torch"):
            from reid.checkpoint import CheckpointError
            from reid.engines import EngineError
            from training.data.records import DatasetError
            from training.interrupts import Interrupted, TrainingError
            from training.recipe import RecipeError, load_recipe
            from training.smoke import smoke as smoke_run
            from training.transfer import train_in_order
    except KeyboardInterrupt:
        _stopped_at_once(out)
    try:
        chosen = load_recipe(recipe, settings)
        if from_scratch:
            chosen = _from_scratch(chosen)
        if smoke:
            smoke_run(chosen, out, device)
            typer.echo(f"the recipe runs; {out} holds two steps on drawn people, of no other use")
            return
        if data is None:
            fail(
                "--data ROOT (or RESIGHT_DATA) is missing; to see a recipe run without data: resight train "
                "RECIPE --smoke"
            )
        train_in_order(chosen, data, out, echo_summary, device)
    except Interrupted as stop:
        _stopped(str(stop))
    except (RecipeError, DatasetError, CheckpointError, EngineError, TrainingError, OSError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        _stopped_at_once(out)
    typer.echo(
        f"trained; next: resight evaluate {out} --dataset NAME --data ROOT, or resight export {out} --out "
        f"NAME.resight"
    )
