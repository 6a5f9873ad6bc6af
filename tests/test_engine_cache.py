"""Engines of adapted sites: few are kept, none is lost."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from reid.batchnorm import BatchNormProfile
from reid.bundle import Bundle
from server.engines import Engines
from server.errors import Conflict
from server.gallery.store import Store
from server.settings import Settings


@pytest.fixture
def engines(bundle: Bundle, tmp_path: Path) -> Iterator[Engines]:
    """Room for two adapted engines."""
    store = Store(tmp_path / "data")
    made = Engines(
        bundle, Settings(bundle=bundle.path, data=tmp_path / "data", device="cpu", max_engines=2), store
    )
    yield made
    made.close()
    store.close()


def adapted(engines: Engines, shift: float) -> BatchNormProfile:
    """A kept profile whose means are moved."""
    move = np.array([0, 0, shift, 0], np.float32)[:, None]  # rows: gamma, beta, mean, variance
    site = {name: table + move for name, table in engines.base_profile.site.items()}
    profile = dataclasses.replace(engines.base_profile, site=site)
    engines.store.versions.save_profile(profile)
    return profile


def test_the_engine_not_used_for_longest_goes_and_comes_back_the_same(
    engines: Engines, rng: np.random.Generator
) -> None:
    crops = rng.integers(0, 255, (3, 96, 48, 3), np.uint8)
    first, second, third = (adapted(engines, shift) for shift in (0.01, 0.02, 0.03))
    before = engines.get(first.id).submit(crops).result(30)
    engines.get(second.id)
    engines.get(first.id)  # so the second is the older one
    engines.get(third.id)
    assert set(engines.adapted) == {first.id, third.id}
    assert engines.ready(second.id) is None
    engines.get(second.id)
    assert set(engines.adapted) == {third.id, second.id}
    assert np.array_equal(engines.get(first.id).submit(crops).result(30), before)
    assert engines.ready(engines.base_id) is engines.base


def test_an_evicted_engine_answers_what_it_has_taken(engines: Engines, rng: np.random.Generator) -> None:
    crops = rng.integers(0, 255, (200, 96, 48, 3), np.uint8)
    waiting = engines.get(adapted(engines, 0.01).id).submit(crops, "bulk")
    for shift in (0.02, 0.03):
        engines.get(adapted(engines, shift).id)
    assert waiting.result(60).shape == (200, engines.bundle.manifest.dim)


def test_a_profile_nobody_kept_is_an_error(engines: Engines) -> None:
    with pytest.raises(Conflict, match="not in the store"):
        engines.get("bn-nowhere")
