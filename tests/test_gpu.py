"""On a machine with an NVIDIA GPU only: `pytest -m gpu`. Every other run says that it left these out."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from benchmarks.crops import drawn_jpegs
from benchmarks.gpu import device
from benchmarks.gpu.adaptation import adapt_in_worker, apart, returned
from benchmarks.gpu.plan import BATCHES
from benchmarks.serving import DEMO
from reid.batches import in_batches
from reid.bundle import Bundle, cosine
from reid.engines import Engine, choose_engine
from reid.engines.agreement import FLOORS, SHARE_OF_DRIFT
from reid.engines.pytorch import TorchEngine
from reid.images import decode_crop
from reid.profile import Profile
from server.work import WorkAnswer

pytestmark = pytest.mark.gpu
ENGINES = ["torch", "cuda", *(["tensorrt"] if find_spec("tensorrt") else [])]
# of the adaptation's own change: how far the profiles of a GPU and of a CPU may lie apart
PROFILES_APART = 0.25


@pytest.fixture(scope="module")
def gpu() -> None:
    """Whoever asks for these tests has a GPU."""
    assert device.found(), "there is no GPU here, or its driver does not answer"


@pytest.fixture(scope="module")
def demo(gpu: None) -> Bundle:
    """The bundle that is shipped."""
    return Bundle.load(DEMO)


@pytest.fixture(scope="module")
def crops(demo: Bundle) -> np.ndarray:
    """uint8 [128,H,W,3]."""
    manifest = demo.manifest
    return np.stack([decode_crop(data, manifest.height, manifest.width) for data in drawn_jpegs(128)])


@pytest.fixture(scope="module")
def expected(demo: Bundle, crops: np.ndarray) -> np.ndarray:
    """float32 [128,D]: what torch says on the CPU."""
    return TorchEngine(demo).embed(crops)


@pytest.fixture(scope="module")
def adapted(demo: Bundle, crops: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> WorkAnswer:
    """What the worker makes of the crops on the GPU."""
    return adapt_in_worker(demo.path, crops, "cuda", tmp_path_factory.mktemp("adapted") / "work")


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, demo: Bundle) -> Engine:
    """Each engine that there is for a GPU."""
    return choose_engine(demo, "cuda", request.param)


def test_an_engine_for_the_gpu_runs_there(engine: Engine) -> None:
    assert engine.describe().device == "cuda:0"


@pytest.mark.parametrize("batch", BATCHES)
def test_the_gpu_answers_as_torch_does_on_the_cpu(
    engine: Engine, crops: np.ndarray, expected: np.ndarray, batch: int
) -> None:
    embeddings = in_batches(len(crops), lambda rows: engine.embed(crops[rows]), batch)
    assert cosine(embeddings, expected).min() >= FLOORS[engine.describe().precision]


def test_two_profiles_on_one_gpu_keep_their_own_values(
    engine: Engine, demo: Bundle, crops: np.ndarray, expected: np.ndarray, adapted: WorkAnswer
) -> None:
    profile = Profile.from_bytes(adapted.profile)
    wanted = TorchEngine(demo, profile).embed(crops)
    own = engine.embed(crops)
    off = 1 - cosine(engine.with_profile(profile).embed(crops), wanted)
    assert (off <= SHARE_OF_DRIFT * (1 - cosine(wanted, expected))).all()
    assert cosine(engine.embed(crops), own).min() > 0.999999


def test_an_adaptation_on_the_gpu_is_that_of_the_cpu(
    demo: Bundle, crops: np.ndarray, adapted: WorkAnswer, tmp_path: Path
) -> None:
    on_cpu = adapt_in_worker(demo.path, crops, "cpu", tmp_path / "work")
    assert (adapted.report["device"], on_cpu.report["device"]) == ("cuda", "cpu")
    assert adapted.report["pairs"] == on_cpu.report["pairs"]
    assert apart(demo.path, adapted, on_cpu, crops) <= PROFILES_APART


def test_the_gpus_memory_is_back_after_an_adaptation(demo: Bundle, crops: np.ndarray, tmp_path: Path) -> None:
    before = device.used_mib()
    adapt_in_worker(demo.path, crops, "cuda", tmp_path / "work")
    assert returned(before, device.used_mib())
