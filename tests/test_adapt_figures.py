"""The figures of an adaptation's report: places of held-out crops, what layers put out, which of them moved.
Each beside a plain computation of the same; and what is erased leaves them."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reid.adaptation.ladder
from cli.adapt_report import page
from cli.drawings import EDGE, WIDTH
from reid.adaptation.changes import MOST_LAYERS, PARAMETERS, change_rates
from reid.adaptation.gate import Verdict
from reid.adaptation.outputs import MOST_CAMERAS, Outputs
from reid.adaptation.ranks import MOST_QUERIES, Ranking
from reid.adaptation.signals import Pool
from reid.bundle import Bundle
from reid.profile import Profile
from server.gallery.records import NewItem
from server.service import Service
from tests.test_adapt_ladder import adapt, ended, start
from tests.test_adapt_report import JOB, Parsed, x
from tests.tiny import make_tiny_bundle, open_tiny, picture

ACCEPTED = Verdict(True, "labels", 1.0, 0.5, 1.5, "It gains.", {})


def unit(rng: np.random.Generator, count: int, dim: int = 6) -> np.ndarray:
    """Random directions."""
    vectors = rng.normal(size=(count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_places_by_labels_are_those_of_a_sorted_list(rng: np.random.Generator) -> None:
    persons = [str(person) if person else None for person in rng.integers(0, 7, 60)]
    cameras = [str(camera) if camera else None for camera in rng.integers(0, 4, 60)]
    spaces = [Pool(unit(rng, 60), unit(rng, 20), cameras) for _ in range(3)]
    numbers = rng.permutation(200)[:60]
    ranking = Ranking(numbers, 20, persons, cameras, 20)
    ranking.add("0", spaces[0], spaces[1])
    ranking.add("1+0", spaces[0], spaces[2])
    ranks = ranking.result()
    assert ranks is not None
    assert (ranks.by, ranks.among, [tiers for tiers, _ in ranks.after]) == ("labels", 60, ["0", "1+0"])

    def place(row: int, space: Pool) -> int | None:
        others = [other for other in range(60) if cameras[other] != cameras[row]]
        others.sort(key=lambda other: -float(space.vectors[other] @ space.vectors[row]))
        for number, other in enumerate(others, 1):
            if persons[row] and cameras[row] and cameras[other] and persons[other] == persons[row]:
                return number
        return None

    expected = {row: [place(row, space) for space in spaces] for row in range(20)}
    shown = [row for row in range(20) if expected[row][0]][:MOST_QUERIES]
    assert ranks.rows == [int(numbers[row]) for row in shown]
    assert [ranks.before, *(places for _, places in ranks.after)] == [
        [expected[row][number] for row in shown] for number in range(3)
    ]


def test_without_labels_crops_look_for_themselves(rng: np.random.Generator) -> None:
    cameras = ["a", "b"] * 20
    before, after = (Pool(unit(rng, 40), unit(rng, 15), cameras) for _ in range(2))
    ranking = Ranking(np.arange(40), 15, [None] * 40, cameras, 15)
    ranking.add("0", before, after)
    ranks = ranking.result()
    assert ranks is not None
    assert (ranks.by, ranks.rows) == ("views", list(range(MOST_QUERIES)))
    for row, place in zip(ranks.rows, ranks.before, strict=True):
        order = np.argsort(-(before.vectors @ before.views[row])).tolist()
        assert place == 1 + order.index(row)


def test_where_nothing_can_be_ranked_there_are_no_places(rng: np.random.Generator) -> None:
    nothing = Ranking(np.arange(8), 2, [None] * 8, ["a"] * 8, 0)  # neither labels nor views
    space = Pool(unit(rng, 8), unit(rng, 0), ["a"] * 8)
    nothing.add("0", space, space)
    assert nothing.result() is None
    broken = Ranking(np.arange(8), 2, [None] * 8, ["a"] * 8, 2)
    seen = Pool(unit(rng, 8), unit(rng, 2), ["a"] * 8)
    broken.add("1", seen, Pool(np.full((8, 6), np.nan, np.float32), seen.views, seen.cameras))
    assert broken.result() is None


def test_outputs_are_those_of_values_that_a_layer_normalises(rng: np.random.Generator) -> None:
    layers = [f"layer-{number}" for number in range(9)]
    inputs = {name: rng.normal(rng.uniform(-2, 2, 5), rng.uniform(0.5, 3, 5), (400, 5)) for name in layers}

    def table() -> dict[str, np.ndarray]:
        return {name: rng.uniform(0.5, 2, (4, 5)).astype(np.float32) for name in layers}

    source, mixed, fitted = table(), table(), table()
    for name, values in inputs.items():
        fitted[name][2], fitted[name][3] = values.mean(0), values.var(0)
    outputs = Outputs(layers, source, 1e-5)
    outputs.add("door", 30, fitted, mixed)
    told = outputs.by_layer()
    moved = {}
    for name, values in inputs.items():
        sides = []
        for normal in (source, mixed):
            seen = (values - normal[name][2]) / np.sqrt(normal[name][3] + 1e-5)
            sides += [np.sqrt((seen.mean(0) ** 2).mean()), seen.var(0).mean()]
        moved[name] = sides
    most = sorted(moved, key=lambda name: -moved[name][0])[:5]
    assert list(told) == sorted(most)
    for name in told:
        output = told[name]["door"]
        assert dataclasses.astuple(output) == pytest.approx(moved[name], rel=1e-4)
    for number in range(40):
        outputs.add(f"camera {number}", number, fitted, mixed)
    assert {len(of_camera) for of_camera in outputs.by_layer().values()} == {MOST_CAMERAS}
    assert "camera 39" in outputs.by_layer()[most[0]] and "camera 1" not in outputs.by_layer()[most[0]]


def test_change_rates_name_the_layers_that_moved_most(rng: np.random.Generator) -> None:
    site = {f"layer {number}": rng.normal(size=(4, 3)).astype(np.float32) for number in range(14)}
    moved = {name: values.copy() for name, values in site.items()}
    for number, values in enumerate(moved.values()):
        values[2] += 0.01 * number
    moved["layer 3"][0, 1] *= 1.5
    rates = change_rates(Profile("base", site), Profile("base", moved))
    assert tuple(rates) == PARAMETERS
    assert rates["beta"] == rates["variance"] == {}
    values = site["layer 3"][0].astype(np.float64)
    assert rates["gamma"] == {"layer 3": pytest.approx(abs(0.5 * values[1]) / np.abs(values).sum())}
    expected = {name: 0.03 * number / np.abs(site[name][2]).sum() for number, name in enumerate(site)}
    most = sorted(expected, key=lambda name: -expected[name])[:MOST_LAYERS]
    assert list(rates["mean"]) == most
    assert rates["mean"] == pytest.approx({name: expected[name] for name in most}, rel=1e-4)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle that numpy computes."""
    return make_tiny_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def service(bundle: Bundle, tmp_path: Path) -> Iterator[Service]:
    """A service whose site `lobby` holds 20 people at two cameras."""
    opened = open_tiny(bundle, tmp_path / "data")
    records = [NewItem(camera=("door", "hall")[i % 2], identity=f"person-{i // 2 % 20}") for i in range(80)]
    asyncio.run(opened.enrolling.enroll("lobby", [picture(i) for i in range(80)], records))
    yield opened
    opened.close()


def judged(service: Service, tier: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The report of an adaptation of which the gate takes everything, as JSON."""
    monkeypatch.setattr(reid.adaptation.ladder, "judge", lambda *arguments: ACCEPTED)
    job = adapt(service, tier)
    assert job.state == "succeeded", job.report.error
    return json.loads(job.report.model_dump_json())


def test_a_job_tells_places_outputs_and_change_rates(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = judged(service, "auto", monkeypatch)
    ranks = report["ranks"]
    assert (ranks["by"], ranks["tiers"], ranks["among"]) == ("labels", ["0", "1+0"], 80)
    assert len(ranks["queries"]) == MOST_QUERIES
    for query in ranks["queries"]:
        item = service.store.items.get(query["item"])
        assert item is not None and item.camera == query["camera"]
        assert len(query["after"]) == 2 and 1 <= query["before"] <= 40
    (of_camera,) = report["outputs"].values()  # of the only layer
    assert set(of_camera) == {"door", "hall"}
    assert all(0 <= output["mean_after"] < output["mean_before"] for output in of_camera.values())
    assert set(report["change_rates"]["mean"]) == {"neck"} and report["change_rates"]["gamma"] == {}
    assert len(json.dumps(report)) < 20_000


def test_an_adaptation_that_nothing_judged_has_no_places(service: Service) -> None:
    report = adapt(service, "1+0", gate=False).report
    assert report.ranks is None and report.outputs is not None and report.change_rates is not None
    assert adapt(service, "0", gate=False).report.change_rates is None  # its tables are the model's own


def test_an_erased_item_leaves_the_places_of_every_job(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = start(service, "0")
    queries = ended(service, job).report.ranks
    assert queries is not None
    gone, *kept = [query.item for query in queries.queries]
    asyncio.run(service.items.erase_item(gone, "test"))
    left = service.jobs.get(job.id).report.ranks
    assert left is not None
    assert [query.item for query in left.queries] == kept
    with service.store.database.read() as db:
        assert gone not in str(db.exec_driver_sql("SELECT report FROM jobs").all())
    # one that is erased while a job runs, whose report in memory still names it
    row = service.store.jobs.get(job.id)
    assert row is not None
    asyncio.run(service.items.erase_item(kept[0], "test"))
    service.store.jobs.save(row)
    service.store.jobs.interrupt(row | {"state": "interrupted"})
    with service.store.database.read() as db:
        assert kept[0] not in str(db.exec_driver_sql("SELECT report FROM jobs").all())


FIGURES = {
    "ranks": {
        "by": "labels",
        "among": 100,
        "tiers": ["0", "1+0"],
        "queries": [
            {"item": "item-1", "camera": "door", "before": 10, "after": [100, 1]},
            {"item": "item-2", "camera": None, "before": 1, "after": [1, 1]},
        ],
    },
    "outputs": {
        "stem.bn": {
            "door": {
                "mean_before": 0.4,
                "variance_before": 2.0,
                "mean_after": 0.1,
                "variance_after": 1.25,
            },
            "": {"mean_before": 0.0, "variance_before": 1.0, "mean_after": 0.0, "variance_after": 1.0},
        }
    },
    "change_rates": {"gamma": {}, "beta": {"neck": 10.53, "stem.bn": 0.0123}},
}


def test_the_page_shows_the_figures_where_the_numbers_lie() -> None:
    parsed = Parsed(page(dataclasses.replace(JOB, report=FIGURES)))
    for told in (
        "item camera places before 0 1+0 item-1 door 10 100 1 item-2 none named 1 1 1",
        "by the labels that the site has. 1 is the first place; 100 crops were ranked",
        "stem.bn camera means before, after variances before, after door 0.40, 0.10 2.00, 1.25 whole site",
        "beta neck 1053 % stem.bn 1.23 %",
    ):
        assert told in parsed.text
    assert "gamma" not in parsed.text
    rings = [ring["cx"] for ring in parsed.marks("ring")]
    assert rings[:2] == [x(1, 0, 2), f"{EDGE:.2f}"]  # of logarithms
    assert rings[2:4] == [x(0.4, 0, 0.4), x(2.0, 0, 2.0)]
    dots = [dot["cx"] for dot in parsed.marks("dot after")]
    assert dots[:2] == [x(2, 0, 2), x(0, 0, 2)]
    assert x(1.0, 0, 2.0) in [line["x1"] for line in parsed.marks("zero")]  # the variance of the model
    assert [float(bar["width"]) for bar in parsed.marks("bar")] == [WIDTH, pytest.approx(0.35, abs=0.01)]


def test_nothing_of_the_figures_is_read_as_html() -> None:
    evil = "<script>alert(1)</script>\"'&amp;"
    query = {"item": evil, "camera": evil, "before": 1, "after": [1]}
    output = FIGURES["outputs"]["stem.bn"]["door"]
    report = {
        "ranks": {"by": evil, "among": 3, "tiers": [evil], "queries": [query]},
        "outputs": {evil: {evil: output}},
        "change_rates": {evil: {evil: 1.0}},
    }
    parsed = Parsed(page(dataclasses.replace(JOB, report=report)))
    assert "script" not in {tag for tag, _ in parsed.elements}
    assert parsed.text.count(evil) == 8
