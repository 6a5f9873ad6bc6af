"""Which crops an adaptation looks at, and that a network that went wrong never reaches a site."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from reid.bundle import Bundle, write_bundle
from server.errors import BadRequest
from server.gallery.records import NewItem
from server.job import ENDED, Job
from server.main import open_service
from server.service import Service
from server.settings import FEWEST_SAMPLES, MOST_SAMPLES, Settings
from tests.conftest import draw_jpegs
from tests.tiny import make_tiny_bundle, open_tiny, picture

CROPS = [data for data, _, _ in draw_jpegs(12)]  # 48 crops, no two alike
CAMERAS = ["door"] * 36 + ["hall"] * 8 + [None] * 4


@pytest.fixture
def open_lobby(tmp_path: Path) -> Iterator[Callable[[Bundle], Service]]:
    """Opens a service over a bundle whose site `lobby` holds the crops, most of them of one camera."""
    opened: list[Service] = []

    def open_one(bundle: Bundle) -> Service:
        service = open_service(Settings(bundle=bundle.path, data=tmp_path / "data", device="cpu"))
        opened.append(service)
        records = [NewItem(camera=camera) for camera in CAMERAS]
        asyncio.run(service.enrolling.enroll("lobby", CROPS, records))
        return service

    yield open_one
    for service in opened:
        service.close()


def adapt(service: Service, site: str = "lobby", tier: str = "2", **options: int) -> Job:
    """An adaptation's job when it has ended."""
    job = asyncio.run(service.adapting.adapt(site, tier, gate=False, **options))
    until = time.monotonic() + 120
    while job.state not in ENDED and time.monotonic() < until:
        time.sleep(0.02)
        job = service.jobs.get(job.id)
    return job


def test_the_sample_is_balanced_over_cameras_and_as_large_as_was_asked(
    bundle: Bundle, open_lobby: Callable[[Bundle], Service]
) -> None:
    service = open_lobby(bundle)
    few = adapt(service, max_samples=18)
    assert (few.state, few.report.crops, few.report.pairs) == ("succeeded", 18, 9)
    # Cameras take turns until the smaller ones have no more: 4 crops without a camera, 7 of each other one.
    assert few.report.cameras == {"": 4, "door": 7, "hall": 7}
    assert service.sites.get("lobby").state.version.version == 2
    assert few.report.drift is not None and 0 < few.report.drift < 0.5


def test_near_duplicates_are_left_out_of_the_sample(
    bundle: Bundle, open_lobby: Callable[[Bundle], Service]
) -> None:
    service = open_lobby(bundle)
    asyncio.run(service.enrolling.enroll("lobby", CROPS[:20], [NewItem(camera="door")] * 20))
    job = adapt(service)
    assert (job.state, job.report.crops) == ("succeeded", 48)


def test_a_site_whose_crops_are_all_alike_keeps_its_version(
    bundle: Bundle, open_lobby: Callable[[Bundle], Service]
) -> None:
    service = open_lobby(bundle)
    asyncio.run(service.enrolling.enroll("yard", [CROPS[0]] * 30, [NewItem()] * 30))
    job = adapt(service, "yard")
    assert job.state == "declined"
    assert job.report.reason == "only 1 of 30 crops differ from each other; an adaptation needs 16"


def test_an_engine_that_answers_differently_from_torch_never_serves_a_site(
    bundle: Bundle, open_lobby: Callable[[Bundle], Service], tmp_path: Path
) -> None:
    service = open_lobby(with_another_graph(bundle, tmp_path))
    before = asyncio.run(service.querying.query("lobby", [CROPS[3]], top_k=48))
    job = adapt(service)
    assert job.state == "declined"
    assert "the engine answers differently from torch" in str(job.report.reason)
    assert_untouched(service, before.space_id)
    assert asyncio.run(service.querying.query("lobby", [CROPS[3]], top_k=48)).matches == before.matches


def test_values_that_are_not_finite_never_reach_a_site(
    bundle: Bundle, open_lobby: Callable[[Bundle], Service], tmp_path: Path
) -> None:
    service = open_lobby(with_a_broken_head(bundle, tmp_path))
    space = service.sites.get("lobby").state.version.space_id
    job = adapt(service)
    assert job.state == "declined"
    assert "the adapted values cannot be used" in str(job.report.reason)
    assert "holds values that are not finite" in str(job.report.reason)
    assert_untouched(service, space)


def assert_untouched(service: Service, space: str) -> None:
    """The site is as it was, and nothing of the adaptation is left in the store."""
    live = service.sites.get("lobby").state.version
    assert (live.version, live.space_id) == (1, space)
    assert service.store.versions.live() == [live]
    with service.store.database.read() as db:
        profiles = {row[0] for row in db.exec_driver_sql("SELECT id FROM profiles")}
    assert profiles <= {service.engines.base_id}


def with_another_graph(bundle: Bundle, folder: Path) -> Bundle:
    """A bundle whose graph and weights differ in the first convolution, so that engines and torch do too."""
    graph, name = bundle.onnx_model(), "trunk.conv1.weight"
    (kernel,) = [tensor for tensor in graph.graph.initializer if tensor.name == name]
    kernel.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(kernel), "another.weight"))
    for node in graph.graph.node:
        node.input[:] = ["another.weight" if each == name else each for each in node.input]
    return write_bundle(folder / "graph.resight", bundle.manifest, graph, bundle.weights())


def with_a_broken_head(bundle: Bundle, folder: Path) -> Bundle:
    """A bundle with a value that is no number in a head, which only an adaptation computes with."""
    weights = bundle.weights()
    head = next(name for name in weights if name.startswith("heads.") and name.endswith("running_mean"))
    weights[head] = np.full_like(weights[head], np.nan)
    return write_bundle(folder / "head.resight", bundle.manifest, bundle.onnx_model(), weights)


@pytest.fixture
def tiny_lobby(tmp_path: Path) -> Iterator[Service]:
    """A service whose site `lobby` holds one picture."""
    service = open_tiny(make_tiny_bundle(tmp_path), tmp_path / "data")
    asyncio.run(service.enrolling.enroll("lobby", [picture(0)], [NewItem()]))
    yield service
    service.close()


def test_a_sample_as_small_and_as_large_as_its_bounds_is_accepted(tiny_lobby: Service) -> None:
    for samples in (FEWEST_SAMPLES, MOST_SAMPLES):
        job = adapt(tiny_lobby, tier="none", max_samples=samples)
        assert (job.state, job.request["max_samples"]) == (
            "declined",
            samples,
        )  # it is on the bundle's own values


@pytest.mark.parametrize("samples", [FEWEST_SAMPLES - 1, MOST_SAMPLES + 1])
def test_a_sample_outside_its_bounds_is_refused(tiny_lobby: Service, samples: int) -> None:
    with pytest.raises(BadRequest, match=f"max_samples is {samples}; it must lie between {FEWEST_SAMPLES} "):
        adapt(tiny_lobby, max_samples=samples)
    assert tiny_lobby.sites.get("lobby").state.version.version == 1
