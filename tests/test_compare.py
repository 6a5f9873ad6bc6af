"""Recipes beside each other: what is trained on what, what is done once only, what the table and the page
say."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.results import DOCS, merge, page
from reid.engines import EngineError
from training.compare import Comparison, Entry, compare, leave_one_out, mean_and_deviation, table
from training.data.records import DatasetError
from training.recipe import RecipeError
from training.synthetic.drawn import draw_sites

SMALL = (
    "batch_identities=2",
    "batch_crops=2",
    "optimiser.epochs=1",
    "model.height=64",
    "model.width=32",
    "precision=32-true",
)
PLAIN = (*SMALL, "model.arch=resnet18", "model.ssl_heads=false")
PLAN = [("folders:site-0+folders:site-1", "folders:site-2")]


def test_every_dataset_is_left_out_once() -> None:
    assert leave_one_out(["a", "b", "c"]) == [("b+c", "a"), ("a+c", "b"), ("a+b", "c")]
    with pytest.raises(DatasetError, match="two"):
        leave_one_out(["a"])


def test_runs_are_done_once_and_their_students_find_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_sites(tmp_path, 3, identities=4, cameras=2, images=2)
    rows = [
        Entry("base line", "m3l-baseline"),
        Entry("student", "std", ("distill.teacher={runs}/base-line-{target}-{seed}",)),
    ]
    told: list[dict] = []
    asked = Comparison(rows, PLAN, (0, 1), PLAIN, identities=3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    results = compare(asked, tmp_path, tmp_path / "runs", told.append)
    assert torch.get_num_threads() == 1
    torch.set_num_threads(threads)
    assert told == results == json.loads((tmp_path / "runs" / "results.json").read_text())
    assert [(r["name"], r["seed"], r["target"]) for r in results] == [
        (name, seed, "folders:site-2") for name in ("base line", "student") for seed in (0, 1)
    ]
    assert results[0]["crops"] == 2 * 3 * 2 * 2  # sites, identities, cameras, images
    assert results[2]["recipe"]["distill"]["teacher"] == str(tmp_path / "runs" / "base-line-folders-site-2-0")
    assert results[0]["metrics"] != results[1]["metrics"]
    checkpoints = sorted((tmp_path / "runs").glob("*/checkpoint.safetensors"))
    stamps = [path.stat().st_mtime_ns for path in checkpoints]
    assert compare(asked, tmp_path, tmp_path / "runs") == results
    assert [path.stat().st_mtime_ns for path in checkpoints] == stamps
    twice = asked._replace(plan=[(PLAN[0][0], "folders:site-2,folders:site-0")], seeds=(0,))
    judged = compare(twice, tmp_path, tmp_path / "runs")
    assert [(r["name"], r["target"]) for r in judged] == [
        (name, f"folders:site-{site}") for name in ("base line", "student") for site in (2, 0)
    ]
    assert judged[0] == results[0] and judged[1]["metrics"] != judged[0]["metrics"]
    assert [path.stat().st_mtime_ns for path in checkpoints] == stamps  # the second judge needs no training
    with pytest.raises(RecipeError, match="another recipe"):
        compare(asked._replace(settings=(*PLAIN, "losses.margin=0.5")), tmp_path, tmp_path / "runs")
    [base, student] = table(results)
    assert base[:3] == ("folders:site-2", "base line", "2") and "±" in base[3] and student[1] == "student"
    (tmp_path / "docs").mkdir()
    merge("sites", "Two sites and a third.", results, tmp_path / "docs")
    written = (tmp_path / "docs" / "results.md").read_text()
    assert written == page(tmp_path / "docs")
    assert "Two sites and a third." in written and results[0]["command"] in written and base[3] in written
    assert str(tmp_path) not in written
    known = tmp_path / "docs" / "results" / "sites.json"
    known.write_text(json.dumps(json.loads(known.read_text()) | {"remark": "One seed says little."}))
    monkeypatch.setattr(
        "sys.argv",
        ["benchmarks/real.py", "ladder", "--data", "/a/b", "--start", "/c/d", "--out", "/e", "--record"],
    )
    merge("sites", "Two sites and a third.", results, tmp_path / "docs")
    written = (tmp_path / "docs" / "results.md").read_text()
    assert (
        "One seed says little." in written
        and "    python -m benchmarks.real ladder --data ROOT --start d --out RUNS\n" in written
    )


def test_mean_and_deviation_by_hand() -> None:
    assert mean_and_deviation([1.0, 2.0, 3.0]) == "2.0 ± 1.0"
    assert mean_and_deviation([1.25]) == "1.2"


def test_the_results_page_is_up_to_date() -> None:
    assert (DOCS / "results.md").read_text() == page()


def test_what_would_stop_a_comparison_is_said_before_its_first_run(tmp_path: Path) -> None:
    draw_sites(tmp_path, 3, identities=4, cameras=2, images=2)
    plan, out = Comparison([Entry("bot", "bot-small"), Entry("other", "none")], PLAN), tmp_path / "runs"
    with pytest.raises(RecipeError, match="no recipe 'none'"):
        compare(plan, tmp_path, out)
    known = plan._replace(entries=plan.entries[:1])
    with pytest.raises(DatasetError, match="nowhere"):
        compare(known._replace(plan=[*PLAN, (PLAN[0][0], "folders:nowhere")]), tmp_path, out)
    if not torch.cuda.is_available():
        with pytest.raises(EngineError, match="no CUDA device"):
            compare(known._replace(device="cuda"), tmp_path, out)
    assert not out.exists()
    result = out / "bot-folders-site-2-0/result.json"
    result.parent.mkdir(parents=True)
    for text in ("{", "[]", '{"metrics": {}}'):
        result.write_text(text)
        with pytest.raises(RecipeError, match=r"result\.json is no result of a comparison; delete it"):
            compare(known, tmp_path, out)
    result.unlink()
    result.parent.rmdir()
    out.rmdir()
    out.touch()
    with pytest.raises(RecipeError, match="is a file, and the runs need a folder"):
        compare(known, tmp_path, out)
