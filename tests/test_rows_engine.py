"""The shared engine: a batch of many tables is embedded as each table's own engine does."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest

from reid.bundle import Bundle, cosine
from reid.engines import Engine, RowsEngine, choose_engine
from reid.engines.agreement import FLOORS, probe_crops
from reid.engines.chooser import installed_engines
from reid.engines.rows import pack, rows_graph, rows_layers
from reid.profile import Profile, ProfileError
from tests.tiny import make_tiny_bundle

DEMO = Path(__file__).parent.parent / "deploy/demo/demo.resight"
ROWS = np.array([3, 0, 1, 1, 2, 0, 3], np.int32)


def varied(profile: Profile, seed: int) -> Profile:
    """Other values in every layer, the heads among them."""
    rng = np.random.default_rng(seed)
    site = {
        name: (values * rng.uniform(0.9, 1.1, values.shape)).astype(np.float32)
        for name, values in profile.site.items()
    }
    return dataclasses.replace(profile, site=site)


def in_one_batch(engine: RowsEngine, profiles: list[Profile], crops: np.ndarray) -> np.ndarray:
    """float32 [B,D] of crops whose tables are `ROWS`."""
    tables = np.stack([pack(profile, engine.layers) for profile in profiles])
    return engine.embed(crops, ROWS, tables)


@pytest.fixture(params=["small", "tiny", "demo"])
def any_bundle(request: pytest.FixtureRequest, bundle: Bundle, tmp_path: Path) -> Bundle:
    """A ResNet, the one that is computed by hand, and the one that is shipped."""
    if request.param == "demo":
        return Bundle.load(DEMO)
    return bundle if request.param == "small" else make_tiny_bundle(tmp_path)


@pytest.mark.parametrize("name", installed_engines("cpu"))
def test_a_batch_of_four_tables_equals_their_four_engines(any_bundle: Bundle, name: str) -> None:
    if name == "torch" and not any_bundle.manifest.model:
        name = "onnxruntime"  # a network that torch cannot build
    base = any_bundle.profile()
    profiles = [base, *(varied(base, seed) for seed in (1, 2, 3))]
    crops = probe_crops(any_bundle.manifest.height, any_bundle.manifest.width, len(ROWS))
    engine: Engine = choose_engine(any_bundle, "cpu", name)
    shared = engine.with_rows()
    found = in_one_batch(shared, profiles, crops)
    assert isinstance(shared, RowsEngine)
    assert not isinstance(engine, RowsEngine)
    assert shared.describe() == engine.describe()
    own = [engine.with_profile(profile).embed(crops) for profile in profiles]
    expected = np.stack([own[row][i] for i, row in enumerate(ROWS)])
    assert found.dtype == np.float32
    if shared.describe().precision == "fp32":
        assert np.abs(found - expected).max() <= 1e-5
    else:  # both sides round, each within the floor of its precision
        assert cosine(found, expected).min() >= 1 - 3 * (1 - FLOORS[shared.describe().precision])
    assert np.abs(own[1] - own[0]).max() > 1e-3  # the tables do differ
    assert np.array_equal(in_one_batch(shared, profiles, crops), found)


def test_a_camera_is_packed_with_its_own_table_and_an_unknown_one_with_the_sites(bundle: Bundle) -> None:
    layers = rows_layers(bundle.onnx_model())
    site, door = bundle.profile(), varied(bundle.profile(), 1)
    profile = dataclasses.replace(site, cameras={"door": door.site})
    assert np.array_equal(pack(profile, layers, "door"), pack(door, layers))
    assert np.array_equal(pack(profile, layers, "hall"), pack(site, layers))
    scale, shift = profile.affine("door")[layers[1]]
    first = len(profile.site[layers[0]][0])
    assert np.array_equal(pack(profile, layers, "door")[0, first : first + len(scale)], scale)
    assert np.array_equal(pack(profile, layers, "door")[1, first : first + len(shift)], shift)


def test_the_order_of_a_profiles_layers_does_not_matter(bundle: Bundle) -> None:
    layers = rows_layers(bundle.onnx_model())
    profile = bundle.profile()
    backwards = dataclasses.replace(profile, site=dict(reversed(profile.site.items())))
    assert np.array_equal(pack(backwards, layers), pack(profile, layers))


def test_a_profile_of_another_model_cannot_be_packed(bundle: Bundle) -> None:
    site = dict(bundle.profile().site)
    site.pop("neck")
    with pytest.raises(ProfileError, match="neck"):
        pack(Profile("x", site), rows_layers(bundle.onnx_model()))


def test_the_graph_is_valid_and_the_bundles_own_stays_as_it_was(bundle: Bundle) -> None:
    model = bundle.onnx_model()
    before = model.SerializeToString()
    shared = rows_graph(model)
    onnx.checker.check_model(shared)
    assert model.SerializeToString() == before
    assert "BatchNormalization" not in {node.op_type for node in shared.graph.node}
    with pytest.raises(ProfileError, match="no BatchNorm left"):
        rows_graph(shared)
