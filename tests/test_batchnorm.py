"""BatchNorm profiles: what they hold, where they can be written, and the trap beside them."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from reid.batchnorm import batchnorm_layers_of, write_into_model, write_into_onnx
from reid.bundle import Bundle
from reid.engines.pytorch import load_embedder
from reid.profile import Profile, ProfileError, space_id


def changed(profile: Profile, by: float = 0.1) -> Profile:
    """The same layers with other values."""
    return dataclasses.replace(
        profile, site={name: values + np.float32(by) for name, values in profile.site.items()}
    )


def test_a_profile_survives_its_file_bit_for_bit(bundle: Bundle) -> None:
    profile = bundle.profile()
    own = {"door/1 \u00fc": {name: values * 2 for name, values in profile.site.items()}}
    profile = dataclasses.replace(profile, cameras=own)
    again = Profile.from_bytes(profile.to_bytes())
    assert again.id == profile.id
    assert all(np.array_equal(again.site[n], v) for n, v in profile.site.items())
    assert all(np.array_equal(again.table("door/1 \u00fc")[n], v) for n, v in own["door/1 \u00fc"].items())
    assert again.table("elsewhere") is again.site


def test_a_profile_is_named_by_its_values(bundle: Bundle) -> None:
    profile = bundle.profile()
    assert changed(profile).id != profile.id
    assert changed(profile, 0.0).id == profile.id


@pytest.mark.parametrize("place", [-1, 5000])
def test_a_damaged_profile_is_refused(bundle: Bundle, place: int) -> None:
    data = bytearray(bundle.profile().to_bytes())
    data[place] ^= 1
    with pytest.raises(ProfileError, match=r"damaged|not a BatchNorm profile"):
        Profile.from_bytes(bytes(data))


def test_a_profile_of_other_layers_is_refused(bundle: Bundle) -> None:
    site = dict(bundle.profile().site)
    site.pop("neck")
    with pytest.raises(ProfileError, match="neck"):
        write_into_model(Profile("x", site), load_embedder(bundle))


def test_shrinking_runs_from_source_to_profile(bundle: Bundle) -> None:
    source = bundle.profile()
    target = changed(source, 0.2)
    assert np.allclose(target.shrink(source, 0.0).site["neck"], source.site["neck"])
    assert np.allclose(target.shrink(source, 1.0).site["neck"], target.site["neck"])
    half = target.shrink(source, 0.5).site["neck"]
    assert np.allclose(
        half[3], (source.site["neck"][3] + target.site["neck"][3]) / 2 + 0.25 * 0.2**2, atol=1e-6
    )


def test_every_batchnorm_of_the_graph_is_visible_and_named_as_in_torch(bundle: Bundle) -> None:
    layers = batchnorm_layers_of(bundle.onnx_model())
    deployed = {name for name in bundle.profile().site if not name.startswith("heads.")}
    assert set(layers) == deployed
    assert "trunk.layer1.0.bn1" in layers


def test_add_initializer_is_a_trap(bundle: Bundle) -> None:
    """It takes the new values, says nothing, and computes every folded layer with the old ones: so profiles
    are written into the graph."""
    crops = np.random.default_rng(0).integers(
        0, 255, (2, bundle.manifest.height, bundle.manifest.width, 3), np.uint8
    )
    profile = changed(bundle.profile())
    model = bundle.onnx_model()
    before = ort.InferenceSession(model.SerializeToString()).run(None, {"crops": crops})[0]

    options, kept = ort.SessionOptions(), []
    for layer, names in batchnorm_layers_of(model).items():
        for name, row in zip(names, profile.site[layer], strict=True):
            kept.append(ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(row)))
            options.add_initializer(name, kept[-1])
    trapped = ort.InferenceSession(model.SerializeToString(), options).run(None, {"crops": crops})[0]

    write_into_onnx(profile, model)
    right = ort.InferenceSession(model.SerializeToString()).run(None, {"crops": crops})[0]
    assert np.abs(right - before).max() > 1e-3
    assert np.abs(trapped - right).max() > 1e-3


def test_onnxruntime_folds_every_batchnorm_behind_a_convolution(bundle: Bundle, tmp_path: Path) -> None:
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "folded.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(bundle.onnx_model().SerializeToString(), options)
    left = [
        node
        for node in onnx.load(tmp_path / "folded.onnx").graph.node
        if node.op_type == "BatchNormalization"
    ]
    assert len(left) <= 1  # the neck stands behind the pooling


def test_a_space_depends_on_everything_that_changes_vectors() -> None:
    spaces = {
        space_id(*facts)
        for facts in [
            ("b", "p", "r", "fp32"),
            ("c", "p", "r", "fp32"),
            ("b", "q", "r", "fp32"),
            ("b", "p", "r", "bf16"),
        ]
    }
    assert len(spaces) == 4
