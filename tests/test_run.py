"""A training run from outside: stopping it, going on, what it says, freezing, evaluating while it trains."""

from __future__ import annotations

import csv
import dataclasses
import re
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from cli.app import app
from reid.checkpoint import FILE, CheckpointError, read_embedder
from reid.engines import EngineError
from reid.models.build import build
from reid.models.spec import ModelSpec
from training.data.loader import Batch
from training.data.records import Dataset, Record
from training.data.validation import cut_validation
from training.freeze import Frozen
from training.interrupts import StopSignals, TrainingError
from training.log import Log
from training.processes import processes
from training.progress import EVERY_S, Report
from training.recipe import RecipeError, load_recipe
from training.resume import require_same_recipe
from training.schedule import misfits
from training.step import Stepper
from training.synthetic.drawn import draw_dataset
from training.validation import BEST

TINY = ["precision=32-true", "threads=1", "model.arch=resnet18", "model.height=64", "model.width=32"]
TINY += ["model.ssl_heads=false", "batch_identities=2", "batch_crops=2"]
SETTINGS = [*TINY, "dataset=folders", "optimiser.epochs=2", "validation.every=1", "validation.share=0.25"]
SETTINGS += ["freeze=[trunk.layer1]"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of five people at two cameras."""
    root = tmp_path_factory.mktemp("drawn")
    draw_dataset(root, identities=5, sites=1, cameras=2, images=2)
    return root


def train(data: Path, out: Path, *options: str, settings: list[str] = SETTINGS) -> tuple[int, str]:
    """Exit status and what `resight train bot` printed on standard error."""
    words = ["train", "bot", "--data", str(data), "--out", str(out), "--device", "cpu", *options]
    result = CliRunner().invoke(app, [*words, *(word for s in settings for word in ("--set", s))])
    return result.exit_code, result.stderr


@dataclasses.dataclass
class Told:
    """A run that was stopped, finished and continued, and what it said each time."""

    out: Path
    stopped: tuple[int, str]
    checkpoint: bytes
    resumed: tuple[int, str]
    longer: tuple[int, str]


def deliver(number: signal.Signals) -> None:
    """What the system would call for a signal; sent for real, it would end the tests if nobody handled it."""
    handler = signal.getsignal(number)
    assert handler is not signal.SIG_DFL
    if callable(handler):
        handler(number, None)


@pytest.fixture(scope="module")
def told(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """SIGTERM in its second step; then the same command, and then one with more epochs."""
    out, steps = tmp_path_factory.mktemp("run") / "run", 0
    real = Stepper.__call__

    def interrupted(self: Stepper, batches: Sequence[Batch], seed: tuple[int, ...]) -> dict[str, float]:
        nonlocal steps
        steps += 1
        if steps == 2:
            deliver(signal.SIGTERM)
        return real(self, batches, seed)

    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stepper, "__call__", interrupted)
        stopped = train(data, out)
        checkpoint = (out / FILE).read_bytes()
        resumed = train(data, out)
        yield Told(out, stopped, checkpoint, resumed, train(data, out, "--epochs", "3"))
    torch.set_num_threads(threads)


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_stopped_run_is_saved_and_says_how_to_go_on(told: Told) -> None:
    status, printed = told.stopped
    assert status == 130
    assert "stopped at epoch 1 of 2, step 2 of 3" in printed
    assert "is saved, and the same command goes on from there" in printed
    assert told.checkpoint
    assert told.resumed[0] == 0
    places = [(row["epoch"], row["step"]) for row in rows_of(told.out / "log.csv")]
    assert len(set(places)) == len(places)  # no step was made twice


def test_the_log_says_what_each_step_cost(told: Told) -> None:
    for row in rows_of(told.out / "log.csv"):
        assert float(row["learning_rate"]) > 0 and float(row["step_s"]) > 0 and float(row["data_s"]) >= 0
        assert float(row["memory_mib"]) > 50


def test_more_epochs_go_on_from_a_finished_run(told: Told) -> None:
    status, printed = told.longer
    assert status == 0
    assert "goes on from 2 to 3 epochs: the rate of epoch 2 is" in printed
    assert {row["epoch"] for row in rows_of(told.out / "log.csv")} == {"1", "2", "3"}


def test_the_best_epoch_is_kept_beside_the_last(told: Told) -> None:
    rows = rows_of(told.out / "evaluations.csv")
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    meta = read_embedder(told.out / BEST)[1]
    best = max(rows, key=lambda row: float(row["mAP"]))
    assert (meta["validation"]["epoch"], meta["validation"]["mAP"]) == (
        int(best["epoch"]),
        float(best["mAP"]),
    )


def test_frozen_layers_keep_weights_and_statistics(told: Told, data: Path) -> None:
    torch.manual_seed(0)
    fresh = build(load_recipe("bot", SETTINGS).model).state_dict()
    trained = read_embedder(told.out)[0].state_dict()
    layer = [name for name in fresh if name.startswith("trunk.layer1.")]
    assert any("running_mean" in name for name in layer)
    assert all(torch.equal(fresh[name], trained[name]) for name in layer)
    assert not torch.equal(fresh["trunk.bn1.running_mean"], trained["trunk.bn1.running_mean"])


def test_a_log_that_was_edited_is_named_with_its_line(told: Told, data: Path, tmp_path: Path) -> None:
    shutil.copytree(told.out, tmp_path / "run")
    with (tmp_path / "run" / "log.csv").open("a") as file:
        file.write("three,1,2\n")
    status, printed = train(data, tmp_path / "run", "--epochs", "3")
    assert status == 1
    assert "does not begin with epoch and step as whole numbers; mend it, or move the file away" in printed
    assert "Traceback" not in printed


def test_a_header_that_was_edited_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("step;epoch\n")
    with pytest.raises(TrainingError, match="the first line must begin with epoch,step"):
        Log.check(tmp_path)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C as in a terminal: a shell has the tests ignore it where they run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_signal_ends_at_once(interruptible: None) -> None:
    with StopSignals() as signals:
        deliver(signal.SIGINT)
        assert signals.stopped
        with pytest.raises(KeyboardInterrupt):
            deliver(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_that_is_ignored_stays_so(interruptible: None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with StopSignals() as signals:
        deliver(signal.SIGINT)
    assert not signals.stopped


def test_lines_come_at_a_steady_pace_with_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    with Report(clock=lambda: now).stepping(0, 100, 2) as steps:
        for step in range(1, 101):
            now += 10.0
            steps.advance(1, f"{step}/100", 120.0, {"identity": 2.0})
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "epoch 1/2 step 1/100: loss 2.000, 120 images/s, 0:16:30 left"
    assert len(lines) == 1 + 99 // (EVERY_S / 10)
    assert lines[-1].endswith("0:00:00 left")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["optimiser.epochs=10"], "epochs is 10 and the warm-up lasts 10"),
        (["optimiser.epochs=30"], r"milestones has \[40, 70\], so the rate never falls"),
        (["optimiser.epochs=50"], r"milestones has \[70\], so the rate falls less often"),
        (["optimiser.milestones=[5, 70]"], r"milestones has \[5\] inside the warm-up of 10"),
        ([], "^$"),
    ],
)
def test_a_schedule_that_does_not_fit_is_warned_of(settings: list[str], sentence: str) -> None:
    assert re.search(sentence, "; ".join(misfits(load_recipe("bot", settings).optimiser)))


def test_a_pattern_that_matches_nothing_names_what_is_near() -> None:
    network = build(ModelSpec("resnet18", 64, 32, ssl_heads=False))
    with pytest.raises(RecipeError, match=r"'trunk.layr1.\*' matches no layer .*near it: trunk.layer1"):
        Frozen(network, ["trunk.layr1.*"])
    frozen = Frozen(network, ["trunk.layer?.*.bn1"])
    assert len(frozen.norms) == 8
    network.train()
    frozen.keep_still()
    assert not frozen.norms[0].training and network.trunk.training


def longer(before: list[str], now: list[str], begun: int) -> str:
    """What is said of a run that goes on with other settings."""
    return require_same_recipe(load_recipe("bot", before), load_recipe("bot", now), begun, Path("run"))


def test_a_run_may_last_longer_and_nothing_else() -> None:
    ten, twenty = ["optimiser.epochs=10"], ["optimiser.epochs=20"]
    assert longer(ten, [*ten, "validation.every=2"], 10) == ""
    assert "from 10 to 20 epochs" in longer(ten, twenty, 10)
    cosine = ["optimiser.schedule=cosine", "optimiser.warmup_epochs=1"]
    assert "the cosine now ends at epoch 20" in longer([*ten, *cosine], [*twenty, *cosine], 10)
    assert "from 10 to 20" in longer(ten, [*twenty, "optimiser.milestones=[15]"], 10)
    for now in (["optimiser.epochs=5"], [*twenty, "optimiser.milestones=[8]"], [*twenty, "seed=3"]):
        with pytest.raises(CheckpointError, match="trained with another recipe"):
            longer(ten, now, 10)


def people(count: int, cameras: int, images: int, domain: int = 0) -> list[Record]:
    """Records of some people at each camera."""
    return [
        Record(Path(f"{domain}-{pid}-{camera}-{n}.jpg"), pid, camera, domain)
        for pid in range(1, count + 1)
        for camera in range(cameras)
        for n in range(images)
    ]


@pytest.mark.parametrize(("cameras", "images"), [(2, 2), (2, 1), (1, 3)])
def test_people_of_the_validation_part_are_not_trained_on(cameras: int, images: int) -> None:
    records = [*people(10, cameras, images), *people(10, cameras, images, domain=1)]
    test_part = people(3, cameras, images, domain=7)
    dataset = Dataset("both", records, test_part, test_part)
    kept, part = cut_validation(dataset, 0.2, seed=3)
    judged = {r.path for r in (*part.query, *part.gallery)}
    assert {r.path for r in kept.train} | judged == {r.path for r in records}
    assert not judged & {r.path for r in kept.train}
    assert not judged & {r.path for r in test_part}
    assert not {r.path for r in part.query} & {r.path for r in part.gallery}
    assert kept.identities() == [8, 8] and len({r.pid for r in part.gallery}) == 4
    assert part.ignore_camera == (cameras == 1)
    assert cut_validation(dataset, 0.2, seed=3)[1] == part != cut_validation(dataset, 0.2, seed=4)[1]


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError, match="torch finds no CUDA device"):
        processes("auto", "cuda")
    assert processes("auto", "cpu").device.type == "cpu"
