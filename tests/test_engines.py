"""Every installed engine answers as torch does, with its own values and with a site's."""

import numpy as np
import pytest

from reid.bundle import Bundle, cosine
from reid.engines import Engine, EngineError, choose_engine
from reid.engines.agreement import FLOORS, probe_crops
from reid.engines.chooser import installed_engines
from tests.test_batchnorm import changed

ENGINES = installed_engines("cpu")


def test_the_three_engines_are_installed() -> None:
    assert ENGINES == ["openvino", "onnxruntime", "torch"]


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("batch", [1, 2, 7, 32])
def test_engines_agree_with_torch_at_every_batch(bundle: Bundle, name: str, batch: int) -> None:
    crops = probe_crops(bundle.manifest.height, bundle.manifest.width, batch)
    engine = choose_engine(bundle, "cpu", name)
    profile = changed(bundle.profile())
    for one, other in (
        (engine, choose_engine(bundle, "cpu", "torch")),
        (engine.with_profile(profile), choose_engine(bundle, "cpu", "torch", profile)),
    ):
        found = one.embed(crops)
        assert found.shape == (batch, bundle.manifest.dim)
        assert found.dtype == np.float32
        assert cosine(found, other.embed(crops)).min() >= FLOORS[one.describe().precision]
    assert isinstance(engine, Engine)


@pytest.mark.parametrize("name", ENGINES)
def test_a_second_profile_leaves_the_first_engine_alone(bundle: Bundle, name: str) -> None:
    crops = probe_crops(bundle.manifest.height, bundle.manifest.width, 3)
    engine = choose_engine(bundle, "cpu", name)
    before = engine.embed(crops)
    other = engine.with_profile(changed(bundle.profile())).embed(crops)
    assert np.array_equal(engine.embed(crops), before)
    assert np.abs(other - before).max() > 1e-3


def test_a_wanted_gpu_that_is_not_there_is_an_error(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="cuda"):
        choose_engine(bundle, "cuda")
    with pytest.raises(EngineError, match="unknown engine"):
        choose_engine(bundle, "cpu", "abacus")


def test_tensorrt_says_what_to_install(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match=r"\[gpu,tensorrt\]"):
        choose_engine(bundle, "cuda", "tensorrt")
