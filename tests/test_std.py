"""STD: oracle 17 of methods A.10, teachers of every kind."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from reid.bundle import Bundle
from reid.models.build import build
from reid.models.spec import ARCHITECTURES, ModelSpec
from resight import app
from tests.conftest import make_checkpoint
from training.data.loader import Batch
from training.data.records import Record
from training.methods.std import Distillation
from training.recipe import RecipeError, load_recipe
from training.teachers import TorchTeacher, open_teacher

SPEC = ModelSpec("resnet18", 96, 48)


def student(teacher: Path, *settings: str) -> Distillation:
    """An untrained student of four identities."""
    recipe = load_recipe(
        "std",
        [f"distill.teacher={teacher}", "model.arch=resnet18", "model.height=96", "model.width=48", *settings],
    )
    torch.manual_seed(1)
    return Distillation(recipe, build(recipe.model), [4], 1).train()


@pytest.fixture
def batch() -> Batch:
    """Eight crops."""
    crops = np.random.default_rng(0).integers(0, 255, (8, 96, 48, 3), np.uint8)
    zeros = torch.zeros(8, dtype=torch.long)
    return Batch(torch.from_numpy(crops), torch.arange(8) % 4, zeros, zeros, torch.arange(8))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher's run folder, which no test writes to."""
    return make_checkpoint(tmp_path_factory.mktemp("std") / "teacher", SPEC)


def test_lambda_shares_between_labels_and_teacher(run: Path, batch: Batch) -> None:
    found = {weight: student(run, f"distill.weight={weight}")(batch) for weight in (0.0, 0.8, 1.0)}
    for name in ("identity", "teacher"):
        whole = found[0.0][name] if name == "identity" else found[1.0][name]
        share = 0.2 if name == "identity" else 0.8
        assert found[0.8][name].item() == pytest.approx(share * whole.item(), rel=1e-5)
    assert found[1.0]["identity"] == 0 and "teacher" not in found[0.0]
    assert (
        found[0.0]["position"] == found[1.0]["position"] > 0
    )  # BNTA's heads do not compete with the teacher


def test_a_student_that_is_its_teacher_has_nothing_to_learn(run: Path, batch: Batch) -> None:
    made = student(run)
    assert isinstance(made.teacher, TorchTeacher)
    made.pixels.embedder.load_state_dict(made.teacher.pixels.embedder.state_dict())
    assert made.eval()(batch)["teacher"].item() == pytest.approx(0.0, abs=1e-6)


def test_the_teacher_is_untouched(run: Path, batch: Batch) -> None:
    made = student(run)
    assert isinstance(made.teacher, TorchTeacher)
    network = made.teacher.pixels.embedder
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimiser = made.optimisers()["network"]
    for _ in range(2):
        optimiser.zero_grad()
        torch.stack(list(made(batch).values())).sum().backward()
        optimiser.step()
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())
    assert not network.training
    assert not any("teacher" in name for name in made.state_dict())


def test_every_kind_of_teacher(run: Path, bundle: Bundle, batch: Batch, tmp_path: Path) -> None:
    for source in (run, run / "checkpoint.safetensors", bundle.path):
        assert open_teacher(str(source))(batch.crops).shape == (8, 512)

    class Means(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean(dim=(2, 3))

    path = tmp_path / "foreign.xml"
    openvino.save_model(
        openvino.convert_model(Means(), example_input=torch.zeros(1, 3, 96, 48), input=[1, 3, 96, 48]), path
    )
    foreign = open_teacher(str(path))
    expected = batch.crops.float().mean(dim=(1, 2)).flip(1)  # blue first
    assert foreign.dim == 3 and torch.allclose(foreign(batch.crops), expected, rtol=1e-2)
    made = student(path)
    assert made.project(torch.zeros(1, ARCHITECTURES["resnet18"].channels)).shape == (1, 3)
    torch.stack(list(made(batch).values())).sum().backward()


def test_a_teacher_of_another_input_size_sees_the_crop_resized(batch: Batch, tmp_path: Path) -> None:
    larger = make_checkpoint(tmp_path / "larger", ModelSpec("resnet18", 128, 64))
    assert open_teacher(str(larger))(batch.crops).shape == (8, 512)


@pytest.mark.parametrize("kind", ["nothing", "damaged", "no network"])
def test_a_bad_teacher_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    path = tmp_path / ("bad.xml" if kind == "no network" else "bad.safetensors")
    if kind != "nothing":
        path.write_bytes(b"nothing that anybody could read")
    with pytest.raises(RecipeError, match=r"bad\."):
        open_teacher(str(path))


def test_a_share_is_a_share() -> None:
    with pytest.raises(RecipeError, match="weight"):
        load_recipe("std", ["distill.weight=1.5"])


def test_a_cache_holds_what_the_teacher_said_of_the_whole_crops(
    run: Path, bundle: Bundle, batch: Batch, tmp_path: Path
) -> None:
    records = []
    for place, crop in enumerate(batch.crops.numpy()):
        Image.fromarray(crop).save(tmp_path / f"{place}.png")
        records.append(Record(tmp_path / f"{place}.png", place % 4, 0, 0))
    cache = tmp_path / "kept" / "features.safetensors"
    made = student(run, f"distill.cache={cache}")
    made.prepare(records)
    order = torch.tensor([3, 1, 0, 2, 7, 6, 5, 4])
    mixed = Batch(*(column[order] for column in batch))
    assert made(mixed)["teacher"].item() == pytest.approx(student(run)(mixed)["teacher"].item(), rel=1e-4)
    written = cache.stat().st_mtime_ns
    again = student(run, f"distill.cache={cache}")
    again.prepare(records)
    assert again.cached is not None and made.cached is not None and torch.equal(again.cached, made.cached)
    assert cache.stat().st_mtime_ns == written
    with pytest.raises(RecipeError, match="of another teacher or other crops"):
        student(run, f"distill.cache={cache}").prepare(records[1:])
    student(bundle.path, f"distill.cache={tmp_path / 'bundle'}").prepare(records)
    changed = Path(shutil.copytree(bundle.path, tmp_path / "changed.resight"))
    with (changed / "manifest.json").open("a") as manifest:
        manifest.write("\n")
    with pytest.raises(RecipeError, match="of another teacher"):
        student(changed, f"distill.cache={tmp_path / 'bundle'}").prepare(records)
    cache.write_bytes(b"half")
    with pytest.raises(RecipeError, match="cannot be read"):
        student(run, f"distill.cache={cache}").prepare(records)


def test_the_features_of_several_teachers_are_concatenated(run: Path, batch: Batch, tmp_path: Path) -> None:
    other = make_checkpoint(tmp_path / "other+one", SPEC)  # a path may have a plus in its name
    assert open_teacher(str(other)).dim == SPEC.dim
    other.rename(tmp_path / "renamed")
    pair = open_teacher(f"{run}+{tmp_path / 'renamed'}")
    first, second = open_teacher(str(run)), open_teacher(str(tmp_path / "renamed"))
    assert pair.dim == first.dim + second.dim
    together = torch.cat([first(batch.crops), second(batch.crops)], 1)
    assert torch.equal(pair(batch.crops), together)
    with pytest.raises(RecipeError, match=r"'.*missing' does not exist"):
        open_teacher(f"{run}+{tmp_path / 'missing'}")


def test_a_student_learns_from_crops_without_labels(run: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for number in range(70):
        path = tmp_path / "crops" / f"day-{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (96, 48, 3), np.uint8)).save(path)
    small = ["model.arch=resnet18", "model.height=96", "model.width=48", "optimiser.epochs=3"]
    options = [f"--set={setting}" for setting in (*small, "optimiser.warmup_epochs=0", "precision=32-true")]
    command = [
        "distill",
        str(run),
        "--unlabeled",
        str(tmp_path / "crops"),
        "--out",
        str(tmp_path / "student"),
    ]
    result = CliRunner().invoke(app, [*command, *options])
    assert result.exit_code == 0, result.output
    lines = (tmp_path / "student" / "log.csv").read_text().splitlines()
    rows = [line.split(",") for line in lines]
    assert rows[0][8:] == ["identity", "position", "part identity", "teacher"]
    assert len(rows) == 4  # a batch of 64 in each of three epochs
    assert {float(row[8]) for row in rows[1:]} == {0.0}  # nothing is learned from labels
    assert float(rows[-1][11]) < float(rows[1][11])
    refused = CliRunner().invoke(app, [*command, "--data", str(tmp_path)])
    assert refused.exit_code == 1
    assert "takes the place of --data" in refused.output
    (tmp_path / "empty").mkdir()
    command[3] = str(tmp_path / "empty")
    assert "hold no images" in CliRunner().invoke(app, command).output
