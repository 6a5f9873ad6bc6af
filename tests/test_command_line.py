"""The command line, as a user types it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import typer
from PIL import Image
from resight_client import Client, Job, ResightError
from typer.testing import CliRunner

from benchmarks.serving import ROOT, ServerProcess
from cli import gallery
from cli.connection import sentence_of
from resight import app
from server.gallery.store import Store
from training.synthetic.drawn import draw_dataset, draw_sites

People = list[tuple[bytes, str, str]]


def resight(
    *words: object, server: ServerProcess | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a command."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("RESIGHT_")} | environment
    if server is not None:
        clean["RESIGHT_URL"] = server.url
    return subprocess.run(
        [sys.executable, "-m", "resight", *map(str, words)],
        capture_output=True,
        text=True,
        env=clean,
        cwd=ROOT,
        check=False,
    )


def here(*words: object) -> subprocess.CompletedProcess[str]:
    """Runs a command in this process, which has torch loaded already; a start of Python costs five
    seconds."""
    result = CliRunner().invoke(app, [*map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return subprocess.CompletedProcess(words, result.exit_code, result.stdout, result.stderr)


def succeeded(run: subprocess.CompletedProcess[str]) -> str:
    """What it printed."""
    assert run.returncode == 0, run.stderr
    return run.stdout


def failed(run: subprocess.CompletedProcess[str]) -> str:
    """The one sentence it failed with."""
    assert run.returncode == 1, run.stdout
    assert "Traceback" not in run.stderr
    return run.stderr


@pytest.fixture
def files(people: People, tmp_path: Path) -> Path:
    """A folder of crops named person-i_cam-c_n.jpg."""
    folder = tmp_path / "crops"
    folder.mkdir()
    for n, (data, identity, camera) in enumerate(people):
        (folder / f"{identity}_{camera}_{n:02d}.jpg").write_bytes(data)
    return folder


def test_enroll_query_adapt_rollback(server: ServerProcess, files: Path) -> None:
    pattern = r"(?P<identity>person-\d+)_(?P<camera>cam-\d)"
    assert "enrolled 48 of 48" in succeeded(
        resight("enroll", files, "--site", "cli", "--pattern", pattern, "--batch", 20, server=server)
    )
    crop = files / "person-3_cam-1_15.jpg"
    table = succeeded(resight("query", crop, "--site", "cli", "--top-k", 3, server=server))
    assert "person-3" in table
    found = json.loads(
        succeeded(
            resight(
                "query", crop, "--site", "cli", "--json", "--filter", '{"camera": "cam-0"}', server=server
            )
        )
    )
    assert {m["camera"] for m in found["matches"]} == {"cam-0"}
    assert "cli is on version 2" in succeeded(
        resight("adapt", "--site", "cli", "--tier", "2", "--no-gate", "--wait", server=server)
    )
    assert "cli is on version 3" in succeeded(resight("rollback", "--site", "cli", "--wait", server=server))


def test_waiting_for_an_adaptation_prints_every_rung_once(capsys: pytest.CaptureFixture[str]) -> None:
    judged = {"gain": 3.46, "low": 2.0, "high": 5.04, "by": "labels", "reason": "It gains 3.5 mAP."}
    off = {"gain": None, "low": None, "high": None, "by": "off", "reason": "Nothing judged it."}
    rungs = [
        {"tiers": "0", "below": "none", "accepted": True} | judged,
        {"tiers": "1+0", "below": "0", "accepted": False} | judged | {"gain": -1.0, "reason": "It loses."},
        {"tiers": "2", "below": "none", "accepted": True} | off,
    ]
    states = ["running", "running", "running", "running", "succeeded"]
    jobs = [
        Job("j", "hall", "adapt", state, 0.5, "judging", 2, {"rungs": rungs[:count]} if count else {})
        for state, count in zip(states, (0, 1, 1, 3, 3), strict=True)
    ]
    client = SimpleNamespace(watch=lambda job: iter(jobs))
    gallery._follow(cast(Client, client), jobs[0], wait=True)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("tier ")]
    assert lines == [
        "tier 0 over none: +3.46 mAP (+2.00 to +5.04): It gains 3.5 mAP.",
        "tier 1+0 over 0: -1.00 mAP (+2.00 to +5.04): It loses.",
        "tier 2 over none: Nothing judged it.",
    ]


@pytest.mark.parametrize("state", ["succeeded", "declined"])
def test_waiting_for_an_adaptation_names_the_job_and_the_command_for_its_page(
    state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [Job("j7", "hall", "adapt", word, 0.0, word, 2, {}) for word in ("queued", state)]
    client = cast(Client, SimpleNamespace(watch=lambda job: iter(jobs)))
    if state == "succeeded":
        gallery._follow(client, jobs[0], wait=True)
    else:
        with pytest.raises(typer.Exit) as ended:
            gallery._follow(client, jobs[0], wait=True)
        assert ended.value.exit_code == 1  # as the client's `wait` raises: no new version went live
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "job j7 queued"
    assert "as a page: resight adapt-report j7 --out report.html" in lines


def test_the_report_of_an_adaptation_is_printed_alone_as_json_and_its_notes_otherwise(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = {"tiers": "0", "notes": ["Images were not kept."], "crops": 40}
    jobs = [Job("j", "hall", "adapt", "succeeded", 1.0, "done", 2, report)]
    client = cast(Client, SimpleNamespace(watch=lambda job: iter(jobs)))
    gallery._follow(client, jobs[0], wait=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "note: Images were not kept."
    assert lines[-1] == "hall is on version 2: tiers 0"
    gallery._follow(client, jobs[0], wait=True, as_json=True)
    assert json.loads(capsys.readouterr().out) == report


def test_list_and_erase_take_the_same_conditions(server: ServerProcess, files: Path) -> None:
    pattern = r"(?P<identity>person-\d+)_(?P<camera>cam-\d)"
    site = ["--site", "cli-erase", "--server", server.url]
    succeeded(here("enroll", files, *site, "--pattern", pattern))

    def listed(*words: object) -> list[dict[str, object]]:
        items: list[dict[str, object]] = json.loads(succeeded(here("list", *site, "--json", *words)))["items"]
        return items

    conditions = ["--identity", "person-3", "--filter", '{"camera": ["cam-1", null]}']
    doomed = listed(*conditions)
    assert [(item["identity"], item["camera"]) for item in doomed] == [("person-3", "cam-1")] * 2
    shown = here("list", *site, "--limit", 3)
    assert "person-0" in shown.stdout and "there are more: --cursor" in shown.stderr

    asked = CliRunner().invoke(app, ["erase", *site, *conditions], input="n\n")
    assert (asked.exit_code, "Erase 2 item(s)" in asked.output) == (1, True)
    assert CliRunner().invoke(app, ["erase", *site, *conditions], input="").exit_code == 1  # nobody answers
    for words, sentence in (
        ([], "nothing says what to erase"),
        (["--filter", "{}"], "nothing says what to erase"),
        (["--filter", ""], "filter is empty"),
        (["--filter", "{"], "filter is not valid JSON"),
        (["--filter", '{"camera": "a", "camera": "cam-0"}'], "stands twice"),
        (["--identity", ""], "identity is empty"),
        (["--all", "--identity", "person-3"], "contradicts"),
        ([doomed[0]["id"], "--identity", "person-3"], "contradict"),
    ):
        assert sentence in failed(here("erase", *site, "--yes", *words))
    assert len(listed()) == 48

    assert "erased 2 item(s)" in succeeded(here("erase", *site, "--yes", *conditions))
    assert listed(*conditions) == []
    one = str(listed()[0]["id"])
    assert "no item" in failed(here("erase", "--site", "cli", "--server", server.url, "--yes", one))
    assert "erased 1 item(s)" in succeeded(here("erase", *site, "--yes", one))
    agreed = CliRunner().invoke(app, ["erase", *site, "--all"], input="y\n")
    assert "Erase 45 item(s)" in agreed.output and "erased 45 item(s)" in agreed.output
    assert listed() == []


def test_the_query_camera_and_the_filter_are_two_things(server: ServerProcess, files: Path) -> None:
    pattern = r"(?P<identity>person-\d+)_(?P<camera>cam-\d)"
    site = ["--site", "cli-camera", "--server", server.url]
    succeeded(here("enroll", files, *site, "--pattern", pattern))
    crop = files / "person-3_cam-1_15.jpg"

    def cameras(*words: object) -> set[str]:
        answer = json.loads(succeeded(here("query", crop, *site, "--json", "--top-k", 100, *words)))
        return {match["camera"] for match in answer["matches"]}

    assert cameras("--query-camera", "cam-1", "--exclude-same-camera") == {"cam-0"}
    assert cameras("--camera", "cam-1", "--exclude-same-camera") == {"cam-0"}
    assert cameras("--query-camera", "cam-1") == {"cam-0", "cam-1"}
    assert cameras("--filter", '{"camera": {"not": "cam-0"}}') == {"cam-1"}
    words = ["--query-camera", "cam-1", "--camera", "cam-0"]
    assert "contradict" in failed(here("query", crop, *site, *words))
    assert "filter is empty" in failed(here("query", crop, *site, "--filter", ""))


def test_a_query_takes_an_enrolled_item_and_a_threshold(server: ServerProcess, files: Path) -> None:
    pattern = r"(?P<identity>person-\d+)_(?P<camera>cam-\d)"
    site = ["--site", "cli-item", "--server", server.url]
    succeeded(here("enroll", files, *site, "--pattern", pattern))
    crop = files / "person-3_cam-1_15.jpg"

    def matches(*words: object) -> list[dict[str, Any]]:
        answer = json.loads(succeeded(here("query", *words, *site, "--json", "--top-k", 100)))
        ranked: list[dict[str, Any]] = answer["matches"]
        return ranked

    ranked = matches(crop)
    item = ranked[0]["id"]
    assert [match["id"] for match in matches("--item", item)] == [match["id"] for match in ranked[1:]]
    assert {match["camera"] for match in matches("--item", item, "--exclude-same-camera")} == {"cam-0"}
    middle = ranked[20]["score"]
    assert matches(crop, "--threshold", middle) == [m for m in ranked if m["score"] >= middle]
    assert matches(crop, "--threshold", -1) == ranked
    for words, sentence in (
        ([], "nothing says what to look for"),
        (["--item", ""], "nothing says what to look for"),
        ([crop, "--item", item], "images, --item and --vector contradict"),
        ([crop, "--item", ""], "images, --item and --vector contradict"),
        (["--item", "nothing"], "no item 'nothing'"),
        ([crop, "--threshold", 1.5], "threshold is 1.5; a cosine lies between -1 and 1"),
        ([crop, "--threshold", "nan"], "threshold is nan; a cosine lies between -1 and 1"),
        (["--item", item, "--query-camera", "cam-0"], "--query-camera 'cam-0' contradicts --item"),
    ):
        assert sentence in failed(here("query", *words, *site))


def test_a_bad_file_is_named(server: ServerProcess, files: Path) -> None:
    (files / "person-5_cam-0_99.jpg").write_bytes(b"no image")
    assert "person-5_cam-0_99.jpg: " in failed(resight("enroll", files, "--site", "cli-bad", server=server))
    run = resight("enroll", files, "--site", "cli-bad", "--partial", server=server)
    assert "enrolled 48 of 49" in succeeded(run)
    assert "person-5_cam-0_99.jpg" in run.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["query", "x.jpg", "--site", "s", "--server", "http://127.0.0.1:9"], "x.jpg does not exist"),
        (["query", "/dev/null", "--site", "s", "--server", "http://127.0.0.1:9"], "no file"),
        (["query", "README.md", "--site", "s", "--server", "http://127.0.0.1:9"], "no answer from"),
        (["enroll", "nothing", "--site", "s"], "nothing does not exist"),
        (["adapt", "--site", "s", "--server", "http://127.0.0.1:9"], "no answer from"),
        (["serve", "--bundle", "nothing.resight"], "no bundle at nothing.resight"),
        (["serve"], "setting bundle"),
        (["serve", "--bundle", "x", "--device", "tpu"], "setting device"),
        (["train", "bot", "--out", "run"], "--data ROOT"),
        (["train", "both", "--out", "run"], "no recipe 'both'"),
        (["evaluate", "nothing", "--dataset", "market1501", "--data", "nowhere"], "nowhere"),
        (
            ["evaluate", "x", "--dataset", "folders", "--data", ".", "--json", "nowhere/x.json"],
            "there is no folder nowhere",
        ),
        (["evaluate", "x", "--dataset", "folders", "--data", ".", "--json", "docs"], "docs is a folder"),
        (["export", "nothing", "--out", "x.resight"], "no checkpoint at nothing"),
        (["bundle", "info", "nothing"], "no bundle at nothing"),
        (["synth", "--sheet", "people.gif"], "a picture is called .png or .jpg"),
        (["synth", "--sheet", "nowhere/people.png"], "there is no folder nowhere"),
    ],
)
def test_mistakes_end_in_one_sentence(
    words: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    for name in [name for name in os.environ if name.startswith("RESIGHT_")]:
        monkeypatch.delenv(name)
    result = CliRunner().invoke(
        app, words
    )  # in this process: a dozen starts of Python would cost half a minute
    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    assert sentence in result.stderr


def test_from_drawn_people_to_a_bundle_that_is_evaluated(thin_networks: None, tmp_path: Path) -> None:
    """train, export, bundle info, evaluate: the whole way of a model."""
    data, run, out = tmp_path / "drawn", tmp_path / "run", tmp_path / "tiny.resight"
    draw_dataset(data, identities=8, images=2)
    small = [
        "dataset=folders",
        "all_images=false",
        "batch_identities=4",
        "optimiser.epochs=1",
        "model.height=64",
        "model.width=32",
        "model.ssl_heads=false",
    ]
    printed = succeeded(
        here(
            "train",
            "bot-small",
            "--data",
            data,
            "--out",
            run,
            *(word for s in small for word in ("--set", s)),
        )
    )
    assert printed.startswith("folders: train: 64 images of 8 people (8 to 8 each) by 16 cameras")
    numbers = tmp_path / "numbers.json"
    succeeded(here("evaluate", run, "--dataset", "folders", "--data", data, "--json", numbers))
    succeeded(here("export", run, "--out", out, "--half", "--licence", "Apache-2.0", "--metrics", numbers))
    manifest = json.loads(succeeded(here("bundle", "info", out)))
    assert manifest["metrics"] == [json.loads(numbers.read_text())]
    again = tmp_path / "again.json"
    succeeded(
        here(
            "evaluate",
            out,
            "--dataset",
            "folders",
            "--data",
            data,
            "--engine",
            "onnxruntime",
            "--json",
            again,
        )
    )
    assert (
        abs(json.loads(again.read_text())["mAP"] - manifest["metrics"][0]["mAP"]) < 0.5
    )  # half-precision weights
    succeeded(
        here(
            "evaluate",
            out,
            "--dataset",
            "folders",
            "--data",
            data,
            "--rerank",
            "--expand",
            2,
            "--open-set",
            "--json",
            again,
        )
    )
    assert json.loads(again.read_text())["command"].endswith(
        "--dataset folders --data ROOT --rerank --expand 2 --open-set"
    )
    assert 0 <= json.loads(again.read_text())["FNIR at FPIR 10%"] <= 100
    sheet = tmp_path / "sheet.png"
    succeeded(
        here(
            "visualize",
            out,
            "--dataset",
            "folders",
            "--data",
            data,
            "--out",
            sheet,
            "--queries",
            3,
            "--matches",
            4,
        )
    )
    with Image.open(sheet) as picture:
        assert picture.width > 300 and picture.height > 300
    assert "is called .png" in failed(
        here("visualize", out, "--dataset", "folders", "--data", data, "--out", tmp_path / "sheet.txt")
    )


def test_one_site_left_out_and_a_student_of_the_rest(thin_networks: None, tmp_path: Path) -> None:
    draw_sites(tmp_path / "world", 3, identities=4, cameras=2, images=2)
    sites = "+".join(f"folders:site-{i}" for i in range(3))
    small = ["batch_identities=2", "batch_crops=2", "optimiser.epochs=1", "model.height=64", "model.width=32"]
    small += ["model.ssl_heads=false", "precision=32-true"]
    words = ["--data", tmp_path / "world", *(word for s in small for word in ("--set", s))]
    out = tmp_path / "runs"
    said = succeeded(
        here(
            "leave-one-out",
            "m3l-baseline",
            "--datasets",
            sites,
            "--target",
            "folders:site-1",
            "--out",
            out,
            *words,
        )
    )
    assert "m3l-baseline" in said and "rank-1" in said
    teacher, student, curves = (
        out / "m3l-baseline-folders-site-1-0",
        tmp_path / "student",
        tmp_path / "curves.png",
    )
    succeeded(here("distill", teacher, "--set", "dataset=folders:site-0", "--out", student, *words))
    picture = ["--dataset", "folders:site-1", "--data", tmp_path / "world", "--out", curves]
    succeeded(here("visualize", teacher, student, "--what", "cmc", *picture))
    assert curves.stat().st_size > 5000
    assert "draws one model" in failed(here("visualize", teacher, student, *picture))


def test_a_world_is_rendered_looked_at_and_learned_from(
    thin_networks: None, tmp_path: Path, egl: None
) -> None:
    data, sheet = tmp_path / "world", tmp_path / "sheet.png"
    small = ["--identities", 6, "--sites", 3, "--cameras", 2, "--images", 2, "--size", "96x48"]
    assert "rendered" in succeeded(here("synth", "--out", data, "--sheet", sheet, *small))
    with Image.open(sheet) as picture:
        assert picture.size == (3 * 4 * 48, 28 + 6 * 96)
    assert "rendered 0 crops" in succeeded(here("synth", "--out", data, *small))
    assert "holds another world (images=2, asked 3)" in failed(
        here("synth", "--out", data, *small[:-3], 3, *small[-2:])
    )
    shrunk = [
        "model.height=64",
        "model.width=32",
        "model.ssl_heads=false",
        "batch_identities=2",
        "optimiser.epochs=1",
        "precision=32-true",
    ]
    succeeded(
        here(
            "train",
            "m3l",
            "--data",
            data,
            "--out",
            tmp_path / "run",
            *(word for s in shrunk for word in ("--set", s)),
        )
    )


def test_tensorrt_is_asked_for_in_one_sentence(tmp_path: Path) -> None:
    from tests.conftest import SMALL, make_checkpoint

    make_checkpoint(tmp_path / "run", SMALL)
    assert "[gpu,tensorrt]" in failed(
        here("export", tmp_path / "run", "--out", tmp_path / "x.resight", "--tensorrt")
    )
    assert not (tmp_path / "x.resight").exists()


def test_keys(tmp_path: Path) -> None:
    assert "there is no gallery" in failed(here("key", "list", "--data", tmp_path))
    Store(tmp_path).close()
    assert "keys: none" in succeeded(here("key", "list", "--data", tmp_path))
    added = resight("key", "add", "read", "--data", tmp_path)
    key = succeeded(added).strip()
    assert key.startswith("rs_") and " " not in key
    listed = succeeded(here("key", "list", "--data", tmp_path))
    name = next(word for word in listed.split() if word.startswith("key-"))
    assert key not in listed
    assert added.stderr.endswith(f"resight key revoke {name}\n")
    succeeded(here("key", "revoke", name, "--data", tmp_path))
    assert "there is no key" in failed(here("key", "revoke", name, "--data", tmp_path))
    assert "scope 'root'" in failed(here("key", "add", "root", "--data", tmp_path))
    store = Store(tmp_path)
    lines = [(line["actor"], line["action"], line["detail"]) for line in store.audit.lines()]
    store.close()
    assert lines == [
        ("local", "add-key", {"key": name, "scope": "read"}),
        ("local", "revoke-key", {"key": name}),
    ]


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        (
            r"(?P<person>\d+)_(?P<camera>\d)",
            "--pattern has a group 'person'; groups are named identity",
        ),
        (r"(\d+)_c(\d)", "--pattern has no named group"),
        ("(", "--pattern is not a regular expression"),
        (r"(?P<identity>nobody)", "--pattern does not fit the file name person-0_cam-0_00.jpg"),
    ],
)
def test_a_pattern_that_would_leave_labels_out_is_refused(files: Path, pattern: str, sentence: str) -> None:
    result = CliRunner().invoke(app, ["enroll", str(files), "--site", "s", "--pattern", pattern])
    assert result.exit_code == 1
    assert sentence in result.output


def test_a_batch_of_no_images_and_a_folder_as_a_query_are_refused(files: Path) -> None:
    result = CliRunner().invoke(app, ["enroll", str(files), "--site", "s", "--batch", "0"])
    assert result.exit_code == 2
    result = CliRunner().invoke(app, ["query", str(files), "--site", "s"])
    assert result.exit_code == 1
    assert "is a folder; a query takes one crop" in result.output


def test_a_server_without_a_scheme_and_a_missing_key_are_told_with_the_options_to_use() -> None:
    result = CliRunner().invoke(app, ["list", "--site", "s", "--server", "127.0.0.1:8000"])
    assert result.exit_code == 1
    assert "put http:// or https:// in front" in result.output
    refused = ResightError(401, "unauthorized", "send an API key")
    assert sentence_of(refused) == "send an API key; here: --api-key KEY, or the variable RESIGHT_API_KEY"
    assert sentence_of(ResightError(404, "not-found", "there is no site 's'")) == "there is no site 's'"
