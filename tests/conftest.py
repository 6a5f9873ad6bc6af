"""Bundles, crops and real servers for the tests. Everything here is made on the spot; nothing is
downloaded."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from resight_client import Client

from benchmarks.serving import ServerProcess
from export.bundle import export_bundle
from reid.bundle import Bundle
from reid.engines.trial import Trial, trial_of
from reid.models.build import batchnorm_layers, build
from reid.models.spec import ModelSpec
from server import engine_trials
from training.checkpoint import Checkpoint, model_tensors
from training.synthetic import drawn
from training.synthetic.body import SynthError
from training.synthetic.drawn import draw, make_camera, make_identity
from training.synthetic.paint import jpeg

pytest_plugins = [
    "tests.postgres",
    "tests.milvus",
    "tests.left_out",
    "tests.chromium",
    "tests.longest_first",
    "tests.thin",
    "pytester",
]
SMALL = ModelSpec("resnet18", 96, 48)
ELSEWHERE = "/folder/of/the/training/machine"  # where the bundle's recipe had its files
RECIPE = {
    "method": "none",
    "start": f"{ELSEWHERE}/first",
    "distill": {
        "teacher": f"{ELSEWHERE}/first.xml",
        "cache": f"{ELSEWHERE}/first.safetensors",
        "weight": 0.5,
    },
}


@pytest.fixture(scope="session", autouse=True)
def drawn_once() -> Iterator[None]:
    """Draws each picture once: the tests ask for the same people at the same cameras again and again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawn, "draw", functools.lru_cache(1024)(drawn.draw))
        yield


@pytest.fixture(scope="session", autouse=True)
def engines_tried_once() -> Iterator[None]:
    """Tries an engine with a bundle in one process: a test's empty folder keeps no results."""
    tried: dict[tuple[str, str], Trial] = {}

    def trial(bundle: Bundle, name: str) -> Trial:
        key = (str(bundle.manifest.files), name)
        if key not in tried:
            tried[key] = trial_of(bundle, name)
        return tried[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_trials, "trial_of", trial)
        yield


@pytest.fixture(autouse=True)
def seeded() -> None:
    """torch's random numbers are the same in each test, whichever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def egl() -> None:
    """Skips what draws people on machines without EGL, unless RESIGHT_REQUIRE_EGL says that they must not
    lack it."""
    try:
        from training.synthetic.scene import Scene

        Scene(128, 64).close()
    except SynthError as error:
        if os.environ.get("RESIGHT_REQUIRE_EGL"):
            raise
        pytest.skip(str(error))


def make_checkpoint(folder: Path, spec: ModelSpec) -> Path:
    """An untrained network whose BN values are not the trivial ones, as a checkpoint."""
    torch.manual_seed(0)
    embedder = build(spec)
    for layer in batchnorm_layers(embedder).values():
        for tensor, low, high in (
            (layer.weight, 0.8, 1.2),
            (layer.running_mean, -0.1, 0.1),
            (layer.running_var, 0.8, 1.2),
        ):
            torch.nn.init.uniform_(tensor, low, high)
    folder.mkdir(parents=True, exist_ok=True)
    meta = {"model": dataclasses.asdict(spec), "recipe": RECIPE, "dataset": "nothing"}
    Checkpoint(model_tensors(embedder), meta).save(folder / "checkpoint.safetensors")
    return folder


def draw_jpegs(
    identities: int, cameras: int = 2, images: int = 2, site: int = 0
) -> list[tuple[bytes, str, str]]:
    """(JPEG bytes, identity, camera) of drawn people."""
    found = []
    for i in range(identities):
        person = make_identity(i)
        for c in range(cameras):
            view = make_camera(site, c)
            found += [(jpeg(draw(person, view, n)), f"person-{i}", f"cam-{c}") for n in range(images)]
    return found


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small bundle with heads, through the real export and its gate."""
    folder = tmp_path_factory.mktemp("bundle")
    return export_bundle(
        make_checkpoint(folder / "run", SMALL), folder / "small.resight", licence="test", half=True
    )[0]


@pytest.fixture(scope="session")
def people() -> list[tuple[bytes, str, str]]:
    """48 drawn crops of 12 people at two cameras."""
    return draw_jpegs(12)


@pytest.fixture(scope="session")
def server(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One real server for all tests that only talk to it; each uses a site of its own."""
    with ServerProcess(bundle.path, tmp_path_factory.mktemp("gallery") / "data") as running:
        yield running


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    """A client of that server."""
    with Client(server.url) as opened:
        yield opened


@pytest.fixture
def rng() -> np.random.Generator:
    """Seeded random numbers."""
    return np.random.default_rng(0)


def enroll_people(client: Client, site: str, people: list[tuple[bytes, str, str]]) -> list[str]:
    """Enrolls people with identity and camera; returns the ids in their order."""
    records = [{"identity": identity, "camera": camera} for _, identity, camera in people]
    return [item.id for item in client.enroll(site, [data for data, _, _ in people], records=records).items]
