"""The page about an adaptation: its numbers are the job's, nothing of a job is read as HTML, and every end of
a job is told."""

from __future__ import annotations

import dataclasses
import json
import re
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from resight_client import Job
from typer.testing import CliRunner

from cli.adapt_report import page
from cli.drawings import EDGE, WIDTH
from resight import app

REFUSED = {
    "tiers": "0",
    "below": "none",
    "accepted": False,
    "by": "signals",
    "gain": -1.24,
    "low": -2.0,
    "high": 0.5,
    "reason": "Refused: this tier needs +0.1 or more.",
    "signals": {"mixing_before": 0.5, "mixing_after": 0.75, "drift": 0.0312, "margin_of_views_before": None},
    "seconds": 0.512,
}
ACCEPTED = REFUSED | {
    "tiers": "1+0",
    "accepted": True,
    "by": "labels",
    "gain": 3.46,
    "low": 2.0,
    "high": 5.0,
    "reason": "It gains 3.5 mAP.",
    "signals": {},
}
RATES = {
    "judged": 293,
    "accepted": 167,
    "accepted_harmful": 0.0599,
    "accepted_harmful_upper": 0.0996,
    "helpful_kept": 0.7712,
}
ASKED = {"tier": "auto", "max_samples": 4096, "seed": 7, "gate": True}
JOB = Job(
    job="job-1",
    site="lobby",
    kind="adapt",
    state="succeeded",
    progress=1.0,
    stage="done",
    version=5,
    report={
        "tiers": "1+0",
        "rungs": [REFUSED, ACCEPTED],
        "gate_error": {"0": RATES},
        "cameras": {"door": 30, "hall": 10, "": 5},
        "people": {"door": 21, "hall": 1, "": 5},
        "similarity": {
            "cameras": ["door", "hall"],
            "before": [[0.5, 0.25], [0.25, 0.75]],
            "after": [[0.05, -0.01], [-0.01, 0.06]],
        },
        "seconds": {"sample": 1.5, "embed": 3.0, "re-embed": 1.5},
    },
    created_at="2026-05-04T09:30:00Z",
    asked=ASKED,
)


class Parsed(HTMLParser):
    """Every element with its attributes, and the text with one space between its parts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def marks(self, kind: str) -> list[dict[str, str]]:
        """Attributes of the elements of this class."""
        return [attributes for _, attributes in self.elements if attributes.get("class") == kind]


def ended(state: str, **report: Any) -> Job:
    """A job that ended without a version."""
    return dataclasses.replace(JOB, state=state, version=None, report=report)


def x(value: float, low: float, high: float) -> str:
    """Where a value lies on a scale."""
    return f"{EDGE + (value - low) / (high - low) * (WIDTH - 2 * EDGE):.2f}"


def test_the_numbers_on_the_page_are_those_of_the_job() -> None:
    text = Parsed(page(JOB)).text
    for told in (
        "Adaptation of lobby",
        "tier 1+0 (statistics over centring) went live and makes up the site since version 5",
        "asked for at 2026-05-04T09:30:00Z",
        "the tiers that help (auto), judged by the gate, max. samples 4096, seed 7",
        "1. tier 0 (centring), over the bundle's own values: refused",
        "decided by signals without labels; 0.512 s",
        "change of mAP, predicted -1.24 (-2.00 to +0.50)",
        "Refused: this tier needs +0.1 or more.",
        "2. tier 1+0 (statistics over centring), over the bundle's own values: taken decided by labels",
        "change of mAP, measured +3.46 (+2.00 to +5.00)",
        "mixing 0.5 0.75",
        "drift 0.0312",
        "margin_of_views_before unknown",
        "of tier 0 it accepted 167 of 293 trials, 6.0 % of which did harm (with 95 % confidence at most "
        "10.0 %), and it accepted 77.1 % of those that helped",
        "45 crops by camera door 30 about 21 people hall 10 about 1 person no camera named 5 about 5 people",
        "before door hall door 0.50 0.25 hall 0.25 0.75 after door hall door 0.05 -0.01 hall -0.01 0.06",
        "6.0 seconds by stage sample 1.500 s embed 3.000 s re-embed 1.500 s",
        "resight rollback --site lobby --wait",
    ):
        assert told in text


def test_marks_lie_where_the_numbers_say() -> None:
    parsed = Parsed(page(JOB))
    shown = (-2.0, 5.0)  # of both rungs
    (refused,), (taken,) = parsed.marks("interval refused"), parsed.marks("interval taken")
    assert (refused["x"], taken["x"]) == (x(-2.0, *shown), x(2.0, *shown))
    assert float(taken["width"]) == pytest.approx(3 / 7 * (WIDTH - 2 * EDGE), abs=0.01)
    assert [dot["cx"] for dot in parsed.marks("dot taken")] == [x(3.46, *shown)]
    assert parsed.marks("zero")[0]["x1"] == x(0.0, *shown)
    assert parsed.marks("ring")[0]["cx"] == x(0.5, 0.0, 0.75)
    assert parsed.marks("dot after")[0]["cx"] == x(0.75, 0.0, 0.75)
    assert [float(bar["width"]) for bar in parsed.marks("bar")] == [WIDTH, WIDTH / 3, WIDTH / 6]
    parts = [parsed.marks(f"part hue-{hue}")[0] for hue in range(3)]
    assert [(float(part["x"]), float(part["width"])) for part in parts] == [(0, 75), (75, 150), (225, 75)]


def test_similarities_before_and_after_share_one_scale_of_colour() -> None:
    shares = [cell["style"] for _, cell in Parsed(page(JOB)).elements if "style" in cell]
    assert [share.removeprefix("--share: ") for share in shares] == [
        *("67%", "34%", "34%", "100%"),
        *("8%", "0%", "0%", "9%"),
    ]


def test_nothing_of_a_job_is_read_as_html() -> None:
    evil = "<script>alert(1)</script>\"'&amp;"
    rung = REFUSED | {"tiers": evil, "below": evil, "by": evil, "reason": evil, "signals": {evil: 1.0}}
    pair = {f"{evil}_before": 1.0, f"{evil}_after": 2.0}
    report = {
        "tiers": evil,
        "rungs": [rung, rung | {"signals": pair}],
        "gate_error": {evil: RATES},
        "notes": [evil],
        "cameras": {evil: 3},
        "seconds": {evil: 1.0},
        "device": evil,
        "profile": evil,
    }
    asked = ASKED | {"tier": evil}
    job = dataclasses.replace(JOB, job=evil, site=evil, report=report, created_at=evil, asked=asked)
    for one in (job, dataclasses.replace(job, state="failed", report={"error": evil})):
        parsed, plain = Parsed(page(one)), Parsed(page(JOB))
        assert {tag for tag, _ in parsed.elements} <= {tag for tag, _ in plain.elements} | {"script"} - {
            "script"
        }
        assert evil in parsed.text
        assert all(not name.startswith("on") for _, attributes in parsed.elements for name in attributes)


def test_the_page_needs_nothing_else() -> None:
    html = page(JOB)
    assert not re.search(r"https?:|url\(|@import|<script|<link|<img|src=|href=", html)
    assert "default-src 'none'" in html.replace("&#x27;", "'")


@pytest.mark.parametrize(
    ("state", "report", "told"),
    [
        ("declined", {"reason": "nothing helps", "rungs": [REFUSED]}, "It declined, and the site stayed"),
        (
            "failed",
            {"error": "the disk is full"},
            "It failed, and the site stayed as it was: the disk is full",
        ),
        ("cancelled", {}, "It was cancelled, and the site stayed as it was."),
    ],
)
def test_a_job_that_changed_nothing_says_so_and_offers_no_rollback(
    state: str, report: dict[str, Any], told: str
) -> None:
    text = Parsed(page(ended(state, **report))).text
    assert told in text
    assert "Nothing went live, so there is nothing to roll back." in text
    assert "resight rollback" not in text
    assert ("this tier needs +0.1 or more" in text) is (state == "declined")


def test_a_job_without_rungs_or_of_an_older_server_has_a_page() -> None:
    old = dataclasses.replace(JOB, report={"tiers": "none"}, created_at=None, asked=None)
    text = Parsed(page(old)).text
    assert "the bundle's own values went live" in text
    assert "No tier was tried." in text
    assert text.count("this server does not say") == 2
    assert "by camera" not in text and "by stage" not in text
    off = REFUSED | {"by": "off", "gain": None, "low": None, "high": None, "signals": {}}
    parsed = Parsed(page(dataclasses.replace(JOB, report={"rungs": [off]})))
    assert "the gate was off" in parsed.text and "change of mAP" not in parsed.text


def test_many_cameras_are_summed_up() -> None:
    cameras = {f"camera-{n}": 100 - n for n in range(43)}
    parsed = Parsed(page(dataclasses.replace(JOB, report={"cameras": cameras})))
    assert len(parsed.marks("bar")) == 40
    assert f"3 more cameras have {60 + 59 + 58} crops together." in parsed.text


class Answering(BaseHTTPRequestHandler):
    """Answers GET /adapt/ID with a job in that state, and everything else with 404."""

    def do_GET(self) -> None:
        name = self.path.removeprefix("/adapt/")
        job = dataclasses.asdict(JOB) | {"job": name, "state": name}
        job["kind"] = "rollback" if name == "undone" else "adapt"
        known = name in ("succeeded", "running", "undone")
        problem = {"status": 404, "code": "not-found", "detail": f"there is no job {name!r}"}
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "application/json" if known else "application/problem+json")
        self.end_headers()
        self.wfile.write(json.dumps(job if known else problem).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Keeps quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    """A server of jobs."""
    server = HTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_verb_writes_the_page_of_the_job_it_asked_for(url: str, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    result = CliRunner().invoke(app, ["adapt-report", "succeeded", "--out", str(out), "--server", url])
    assert (result.exit_code, result.output) == (0, f"wrote {out}: adapt of lobby, succeeded\n")
    assert out.read_text(encoding="utf-8") == page(dataclasses.replace(JOB, job="succeeded"))


@pytest.mark.parametrize(
    ("job", "out", "sentence"),
    [
        ("nothing", "report.html", "there is no job 'nothing'"),
        ("running", "report.html", "job running has not ended (running: done, 100%)"),
        ("undone", "report.html", "job undone is a rollback; a report is written of adaptations"),
        ("succeeded", "missing/report.html", "there is no folder"),
        ("succeeded", ".", "is a folder; name a file"),
    ],
)
def test_what_has_no_report_is_said_in_a_sentence(
    url: str, tmp_path: Path, job: str, out: str, sentence: str
) -> None:
    result = CliRunner().invoke(app, ["adapt-report", job, "--out", str(tmp_path / out), "--server", url])
    assert result.exit_code == 1
    assert sentence in result.output
    assert not list(tmp_path.iterdir())
