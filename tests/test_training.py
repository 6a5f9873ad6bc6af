"""Recipes, checkpoints, resume."""

import dataclasses
import json
import os
import resource
import shutil
from pathlib import Path

import pytest
import torch

from reid.checkpoint import FILE, CheckpointError, read_embedder
from training.checkpoint import load_checkpoint
from training.data.records import Dataset, join
from training.interrupts import TrainingError
from training.log import Log, Measured
from training.loop import Run
from training.recipe import RECIPES, RecipeError, first_difference, load_recipe
from training.smoke import WORK, smoke
from training.synthetic.drawn import draw_dataset, draw_sites

pytestmark = pytest.mark.usefixtures("thin_networks")
SMALL = [
    "precision=32-true",
    "model.height=96",
    "model.width=32",
    "batch_identities=4",
    "batch_crops=2",
]

COST = Measured(images_per_s=10.0, learning_rate=3.5e-4, data_s=0.25, step_s=0.5, memory_mib=900.2)
TINY = [*SMALL, "model.height=64", "model.width=32", "model.ssl_heads=false"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Eight people at two cameras."""
    return draw_dataset(tmp_path_factory.mktemp("drawn"), identities=8, sites=1, cameras=2, images=2)


@pytest.fixture(scope="module")
def stopped(thin_networks: None, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `bot` that stopped after its first step."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    Run(load_recipe("bot", TINY), dataset, out).fit(max_steps=1)
    return out


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.yaml")))
def test_every_recipe_takes_a_step(name: str, tmp_path: Path) -> None:
    # input and networks are made small, everything else is the recipe's own
    recipe = load_recipe(name, ["model.height=96", "model.width=32"])
    smoke(recipe, tmp_path)
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert len(rows) == 3
    assert read_embedder(tmp_path)[1]["recipe"]["method"] == recipe.method


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("optimiser.epoch=3", "epoch"),
        ("seed=high", "seed"),
        ("model.arch=resnet5000", "resnet5000"),
        ("optimiser.milestones=3", "milestones"),
        ("nonsense", "must look like"),
        ("precision=fp8", "precision.*auto, bf16-mixed, 32-true"),
        ("batch_crops=1", "two identities of two crops"),
        ("shards=0", "shards is 0.*at least 1"),
        ("threads=-1", "threads"),
        ("optimiser.rate=-1", "optimiser: rate is -1"),
        ("optimiser.rate=.nan", "rate is nan"),
        ("optimiser.epochs=0", "epochs is 0"),
        ("optimiser.milestones=[3,1]", "ascending"),
        ("losses.label_smoothing=3", "label_smoothing is 3.*from 0 to 1"),
        ("losses.triplet_form=soft", "hard, weighted"),
        ("augment.pad=-3", "augment: pad"),
        ("augment.erase_area=[0.4,0.02]", "smaller share"),
        ("meta.temperature=0", "temperature"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(setting: str, sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        load_recipe("bot", [setting])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["seed=high"], "--set seed=high: seed: 'high' is not"),
        (["seed=1", "dataset=[a"], r"--set dataset=\[a: \[a is no YAML"),
        (["seed.of=1"], "--set seed.of=1: unknown key 'seed.of', as seed is no section of keys"),
        (["=1"], "--set =1: a setting must look like"),
        (["seed=1" + 400 * "0"], "seed is a number of hundreds of digits"),
        # each is right by itself, and the fault of two is not blamed on the first alone
        (
            ["optimiser.schedule=cosine", "seed=3", "optimiser.epochs=5"],
            "^--set optimiser.schedule=cosine --set seed=3 --set optimiser.epochs=5: optimiser: warmup",
        ),
    ],
)
def test_a_wrong_setting_is_blamed_on_the_setting_and_not_on_the_recipe(
    settings: list[str], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=sentence) as error:
        load_recipe("bot", settings)
    assert ".yaml" not in str(error.value)
    (tmp_path / "mine.yaml").write_text("seed: low\n")
    with pytest.raises(RecipeError, match=r"mine.yaml: seed: 'low' is not"):
        load_recipe(str(tmp_path / "mine.yaml"), ["optimiser.epochs=5"])


@pytest.mark.parametrize("text", ["losses:\n\ttriplet: 1\n", "- seed\n", "1: 2\n", "seed: \xff\n"])
def test_a_recipe_that_is_no_recipe_is_refused_by_its_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(RecipeError, match=r"mine.yaml"):
        load_recipe(str(tmp_path / "mine.yaml"))


def test_recipes_are_compared_key_by_key() -> None:
    recipe = load_recipe("bot")
    changed = recipe.changed("optimiser.rate", 1e-3).changed("threads", 7)
    assert changed.value("optimiser.rate") == 1e-3
    assert recipe.value("optimiser.rate") == 3.5e-4
    assert first_difference(recipe.to_dict(), changed.to_dict()) == "optimiser.rate was 0.00035, is 0.001"
    assert first_difference(recipe.to_dict(), recipe.changed("threads", 7).to_dict()) == ""
    with pytest.raises(RecipeError, match="epoch"):
        recipe.changed("optimiser.epoch", 3)


def test_a_log_keeps_the_rows_before_the_point_of_resumption(tmp_path: Path) -> None:
    with Log(tmp_path, (1, 0)) as log:
        for step in (1, 2, 3):
            log.write(1, step, COST, {"identity": 2.0, "triplet": 0.5})
    with Log(tmp_path, (1, 2)) as log:
        log.write(1, 3, COST, {"identity": 1.0, "triplet": 0.25})
    assert (tmp_path / "log.csv").read_text().splitlines() == [
        "epoch,step,images_per_s,learning_rate,data_s,step_s,memory_mib,loss,identity,triplet",
        "1,1,10.0,0.00035,0.2500,0.5000,900,2.50000,2.00000,0.50000",
        "1,2,10.0,0.00035,0.2500,0.5000,900,2.50000,2.00000,0.50000",
        "1,3,10.0,0.00035,0.2500,0.5000,900,1.25000,1.00000,0.25000",
    ]


@pytest.mark.parametrize("resume", [(1, 2), (2, 0)])
def test_a_log_that_is_opened_and_not_written_keeps_its_rows(tmp_path: Path, resume: tuple[int, int]) -> None:
    """As where a finished run is trained again, or a run that resumes dies before its first step."""
    with Log(tmp_path, (1, 0)) as log:
        for step in (1, 2):
            log.write(1, step, COST, {"identity": 2.0})
    before = (tmp_path / "log.csv").read_bytes()
    for _ in range(2):
        Log(tmp_path, resume).__exit__()
    assert (tmp_path / "log.csv").read_bytes() == before


@pytest.mark.parametrize("torn", ["1,2,10.0,2.0", "1", ""])
def test_a_row_that_was_not_written_to_its_end_is_made_again(tmp_path: Path, torn: str) -> None:
    with Log(tmp_path, (1, 0)) as log:
        log.write(1, 1, COST, {"identity": 2.0})
    before = (tmp_path / "log.csv").read_bytes()
    with (tmp_path / "log.csv").open("a") as file:
        file.write(torn)
    with Log(tmp_path, (1, 2)) as log:
        log.write(1, 2, COST, {"identity": 2.0})
    assert (
        tmp_path / "log.csv"
    ).read_bytes() == before + b"1,2,10.0,0.00035,0.2500,0.5000,900,2.00000,2.00000\r\n"


def test_a_log_without_a_whole_line_begins_again(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("epoch,st")
    with Log(tmp_path, (1, 0)) as log:
        log.write(1, 1, COST, {"identity": 2.0})
    assert (tmp_path / "log.csv").read_text().splitlines() == [
        "epoch,step,images_per_s,learning_rate,data_s,step_s,memory_mib,loss,identity",
        "1,1,10.0,0.00035,0.2500,0.5000,900,2.00000,2.00000",
    ]


def test_tensorboard_shows_each_step_once(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for resume, steps in (((1, 0), (1, 2, 3)), ((1, 2), (3, 4))):
        with Log(tmp_path, resume) as log:
            for step in steps:
                log.write(1, step, COST, {"identity": float(step)})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss/identity")] == [1, 2, 3, 4]


def test_a_network_that_a_method_needs_is_made_first(tmp_path: Path) -> None:
    recipe = load_recipe("heads", SMALL)
    smoke(recipe, tmp_path)
    assert read_embedder(tmp_path)[1]["recipe"]["start"] == str(tmp_path / WORK / "start")
    # of the drawn people and of that network nothing stays
    assert {path.name for path in tmp_path.iterdir()} == {FILE, "recipe.json", "log.csv", "tensorboard"}


def test_an_unknown_method_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="unknown method 'bits'; known: bot"):
        smoke(load_recipe("bot", [*SMALL, "method=bits"]), tmp_path)


@pytest.mark.parametrize("name", ["bot", "m3l"])
def test_a_step_in_half_precision_keeps_weights_in_full(name: str, tmp_path: Path) -> None:
    # a processor without bf16 takes many seconds for m3l's second derivatives, so m3l has the smallest input
    smaller = [*TINY, "dataset=world:site-0+world:site-1"] if name == "m3l" else SMALL
    smoke(load_recipe(name, [*smaller, "precision=bf16-mixed"]), tmp_path)
    # the stored tensors: a network that is read back is a float32 one in any case
    stored = load_checkpoint(tmp_path).tensors
    floating = {tensor.dtype for tensor in stored.values() if tensor.is_floating_point()}
    assert floating == {torch.float32}


def test_a_resumed_run_is_the_run_that_never_stopped(dataset: Dataset, tmp_path: Path) -> None:
    dataset = dataclasses.replace(dataset, train=dataset.train[::2])  # two steps an epoch
    recipe = load_recipe("bot", [*SMALL, "optimiser.epochs=2", "losses.centre=0.01"])
    Run(recipe, dataset, tmp_path / "whole").fit()
    while True:  # one step at a time, a new process' worth of state each
        run = Run(recipe, dataset, tmp_path / "pieces")
        if run.epoch > 2:
            break
        run.fit(max_steps=1)
    whole, pieces = (read_embedder(tmp_path / name)[0].state_dict() for name in ("whole", "pieces"))
    assert all(torch.equal(whole[name], pieces[name]) for name in whole)

    def losses(name: str) -> list[list[str]]:
        rows = [row.split(",") for row in (tmp_path / name / "log.csv").read_text().splitlines()]
        return [row[:2] + row[3:4] + row[7:] for row in rows]  # without times and memory

    assert losses("whole") == losses("pieces")
    assert json.loads((tmp_path / "pieces" / "recipe.json").read_text())["optimiser"]["epochs"] == 2


def test_a_full_disk_leaves_the_checkpoint_before_it(dataset: Dataset, stopped: Path, tmp_path: Path) -> None:
    shutil.copytree(stopped, tmp_path / "run")
    run = Run(load_recipe("bot", TINY), dataset, tmp_path / "run")
    before = (tmp_path / "run" / FILE).read_bytes()
    least, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (1_000_000, most)
    )  # a file of more than a megabyte fails, as on a full disk
    try:
        with pytest.raises(CheckpointError, match=r"cannot write .*; the one before it is untouched"):
            run.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (least, most))
    assert (tmp_path / "run" / FILE).read_bytes() == before
    assert not list((tmp_path / "run").glob("*.partial"))


def test_a_checkpoint_is_written_where_a_folder_cannot_be_opened(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where a folder has no descriptor that could be synced."""
    real = os.open

    def refuses_folders(path: str | Path, *arguments: int) -> int:
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments)

    monkeypatch.setattr(os, "open", refuses_folders)
    load_checkpoint(stopped / FILE).save(tmp_path / FILE)
    assert load_checkpoint(tmp_path / FILE).meta["step"] == 1


def test_another_recipe_does_not_resume(dataset: Dataset, stopped: Path) -> None:
    with pytest.raises(CheckpointError, match=r"seed"):
        Run(load_recipe("bot", [*TINY, "seed=5"]), dataset, stopped)


def test_a_run_of_a_version_without_a_key_goes_on_with_the_key_s_default(
    dataset: Dataset, stopped: Path, tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(stopped / FILE)
    del checkpoint.meta["recipe"]["photometric"], checkpoint.meta["recipe"]["mixstyle"]
    del checkpoint.meta["recipe"]["optimiser"]["schedule"]
    checkpoint.save(tmp_path / FILE)
    at = Run(load_recipe("bot", TINY), dataset, stopped)
    run = Run(load_recipe("bot", TINY), dataset, tmp_path)
    assert (run.epoch, run.step) == (at.epoch, at.step) != (1, 0)
    with pytest.raises(CheckpointError, match=r"photometric.gamma was 0.0, is 0.3"):
        Run(load_recipe("bot", [*TINY, "photometric.gamma=0.3"]), dataset, tmp_path)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two sites of six people."""
    return join(draw_sites(tmp_path_factory.mktemp("sites"), 2, identities=6, cameras=2, images=2))


@pytest.mark.parametrize("name", ["bot", "m3l", "ptl", "dcsd", "std"])
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(
    name: str, sites: Dataset, tmp_path: Path
) -> None:
    settings = TINY if name in ("bot", "m3l", "std") else [*TINY, "model.arch=resnet50-" + name]
    if name == "std":
        smoke(load_recipe("bot-unseen", settings), tmp_path / "teacher")
        settings = [*settings, f"distill.teacher={tmp_path / 'teacher'}"]
    run = Run(load_recipe(name, settings), sites, tmp_path / "run")
    run.fit(max_steps=1)
    good = (tmp_path / "run" / "checkpoint.safetensors").read_bytes()
    run.method.pixels.embedder.trunk.conv1.weight.data.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"not finite at epoch 1, step 2 .*lower optimiser\.rate"):
        run.fit()
    assert (tmp_path / "run" / "checkpoint.safetensors").read_bytes() == good
