"""What the values of a BatchNorm profile mean: the map that a layer computes, tables of cameras, its name."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from reid.batchnorm import profile_from_model, write_into_model
from reid.engines.rows import pack
from reid.profile import Centres, Profile, ProfileError
from server.profile_engine import PackedTables

LAYERS = {"stem": 5, "neck": 3}


def random_table(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Values of two layers, none of them trivial."""
    table = {}
    for name, channels in LAYERS.items():
        gamma, variance = rng.uniform(0.3, 2, channels), rng.uniform(0.1, 4, channels)
        beta, mean = rng.normal(size=channels), rng.normal(size=channels)
        table[name] = np.stack([gamma, beta, mean, variance]).astype(np.float32)
    return table


@pytest.fixture
def profile(rng: np.random.Generator) -> Profile:
    """A profile with a table for one camera."""
    return Profile("base", random_table(rng), {"door": random_table(rng)}, eps=1e-3)


TYPED, COMPOSED = "Tu\u0308r", "T\u00fcr"  # one name: the letter and its dots apart, and as one character


@pytest.mark.parametrize("kept", [[TYPED], [COMPOSED], [TYPED, COMPOSED]])
@pytest.mark.parametrize("camera", [TYPED, COMPOSED])
def test_a_kept_camera_is_the_same_however_its_name_is_composed(
    kept: list[str], camera: str, rng: np.random.Generator
) -> None:
    tables = {name: random_table(rng) for name in kept}
    centres = {name: rng.normal(size=4).astype(np.float32) for name in kept}
    site = Centres(rng.normal(size=4).astype(np.float32), centres)
    profile = Profile.from_bytes(Profile("base", random_table(rng), tables, centres=site).to_bytes())
    counts = kept[-1]
    assert profile.id == Profile("base", profile.site, tables, centres=site).id
    assert all((profile.table(camera)[name] == tables[counts][name]).all() for name in LAYERS)
    assert (site.of(camera) == centres[counts]).all()
    vectors = rng.normal(size=(3, 4)).astype(np.float32)
    plain = Centres(site.site, {"a": centres[counts]})
    compared, expected = (
        site.compare(vectors, [camera, None, "hall"]),
        plain.compare(vectors, ["a", None, "hall"]),
    )
    assert (compared == expected).all()
    packed = PackedTables.of(profile, tuple(LAYERS))
    assert (packed.of_camera(camera) == pack(profile, tuple(LAYERS), counts)).all()
    assert packed.nbytes == 2 * packed.site.nbytes
    assert (len(profile.by_name), len(site.by_name)) == (1, 1)


def batchnorm(values: np.ndarray, eps: float, x: np.ndarray) -> np.ndarray:
    """What torch's layer in eval mode makes of x, float32 [N,C]."""
    gamma, beta, mean, variance = (torch.from_numpy(row.copy()) for row in values)
    return nn.functional.batch_norm(torch.from_numpy(x), mean, variance, gamma, beta, eps=eps).numpy()


@pytest.mark.parametrize("camera", [None, "door", "elsewhere"])
def test_scale_and_shift_are_what_the_layer_computes(
    profile: Profile, rng: np.random.Generator, camera: str | None
) -> None:
    table = profile.cameras["door"] if camera == "door" else profile.site
    folded = profile.affine(camera)
    assert set(folded) == set(LAYERS)
    for name, (scale, shift) in folded.items():
        x = rng.normal(size=(20, LAYERS[name])).astype(np.float32)
        assert x * scale + shift == pytest.approx(batchnorm(table[name], profile.eps, x), abs=1e-5)
        assert (scale.dtype, scale.shape) == (np.float32, (LAYERS[name],))


def test_the_name_changes_with_base_eps_and_every_value(profile: Profile) -> None:
    ids = {
        profile.id,
        dataclasses.replace(profile, base="other").id,
        dataclasses.replace(profile, eps=1e-5).id,
    }
    ids.add(dataclasses.replace(profile, cameras={}).id)
    ids.add(dataclasses.replace(profile, cameras={"hall": profile.cameras["door"]}).id)
    count = 5
    for table, rebuild in (
        (profile.site, lambda t: dataclasses.replace(profile, site=t)),
        (profile.cameras["door"], lambda t: dataclasses.replace(profile, cameras={"door": t})),
    ):
        for name, values in table.items():
            for row, column in np.ndindex(values.shape):
                other = values.copy()
                other[row, column] += 0.25
                ids.add(rebuild({**table, name: other}).id)
                count += 1
    assert len(ids) == count


def test_shrinking_mixes_values_and_adds_the_distance_of_the_means(profile: Profile) -> None:
    """Against samples: the variance of a mixture of two populations."""
    rng = np.random.default_rng(3)
    source = Profile("base", random_table(rng), eps=1e-3)
    mixed = profile.shrink(source, 0.25)
    own, other, new = profile.site["neck"], source.site["neck"], mixed.site["neck"]
    assert new[:3] == pytest.approx(0.25 * own[:3] + 0.75 * other[:3], abs=1e-6)
    samples = np.concatenate(
        [
            rng.normal(own[2], np.sqrt(own[3]), (100_000, 3)),
            rng.normal(other[2], np.sqrt(other[3]), (300_000, 3)),
        ]
    )
    assert new[3] == pytest.approx(samples.var(axis=0), rel=0.02)
    door = profile.cameras["door"]["stem"][0] * 0.25 + source.site["stem"][0] * 0.75
    assert mixed.cameras["door"]["stem"][0] == pytest.approx(door, abs=1e-6)


def test_shrinking_toward_other_layers_is_refused(profile: Profile) -> None:
    with pytest.raises(ProfileError, match="neck"):
        profile.shrink(Profile("base", {"stem": profile.site["stem"]}), 0.5)


def test_a_cameras_table_can_be_written_into_a_model(profile: Profile) -> None:
    model = nn.ModuleDict({name: nn.BatchNorm1d(channels) for name, channels in LAYERS.items()})
    for camera, table in ((None, profile.site), ("door", profile.cameras["door"]), ("new", profile.site)):
        write_into_model(profile, model, camera)
        read = profile_from_model("base", model)
        assert {name: values.tolist() for name, values in read.site.items()} == {
            name: values.tolist() for name, values in table.items()
        }
