"""Every engine says what is wrong with crops that are none, instead of computing with them."""

import numpy as np
import pytest

from reid.bundle import Bundle
from reid.crops import CropsError
from reid.engines import Engine, choose_engine
from reid.engines.agreement import probe_crops
from reid.engines.chooser import installed_engines
from reid.engines.rows import pack

SIZE = (96, 48)


@pytest.fixture(scope="module", params=installed_engines("cpu"))
def engine(request: pytest.FixtureRequest, bundle: Bundle) -> Engine:
    """Each engine over the small bundle of 96x48."""
    return choose_engine(bundle, "cpu", request.param)


def wrong_crops() -> dict[str, tuple[object, str]]:
    """Each kind of batch that is none, and what is said of it."""
    crops = probe_crops(*SIZE, 3)
    return {
        "shares of one": (crops / np.float32(255), "float32: values of 0..1 have to be multiplied by 255"),
        "floats of 0..255": (crops.astype(np.float32), "not float32: give the pixels as decoded, 0..255"),
        "normalised": ((crops / 255.0 - 0.45) / 0.22, "not float64: give the pixels .* without mean"),
        "integers": (crops.astype(np.int64), "not int64"),
        "booleans": (crops > 127, "not bool"),
        "objects": (crops.astype(object), "not object"),
        "half the width": (crops[:, :, ::2], r"uint8 \[N,96,48,3\], RGB, not \[3,96,24,3\]"),
        "turned": (crops.transpose(0, 2, 1, 3), r"not \[3,48,96,3\]"),
        "channels first": (crops.transpose(0, 3, 1, 2), r"not \[3,3,96,48\]"),
        "grey": (crops[..., :1], r"not \[3,96,48,1\]"),
        "one crop": (crops[0], r"not \[96,48,3\]"),
        "a list": (list(crops), "not list"),
    }


@pytest.mark.parametrize("kind", wrong_crops())
def test_what_is_no_batch_of_crops_is_refused_by_every_engine(engine: Engine, kind: str) -> None:
    crops, sentence = wrong_crops()[kind]
    with pytest.raises(CropsError, match=sentence):
        engine.embed(crops)


@pytest.mark.parametrize("kind", wrong_crops())
def test_and_by_engines_of_many_tables(rows_engine: tuple, kind: str) -> None:
    crops, sentence = wrong_crops()[kind]
    many, tables = rows_engine
    with pytest.raises(CropsError, match=sentence):
        many.embed(crops, np.zeros(3, np.int32), tables)


@pytest.fixture(scope="module")
def rows_engine(engine: Engine, bundle: Bundle) -> tuple:
    """An engine of many tables, and one packed table, float32 [1,2,C]."""
    many = engine.with_rows()
    return many, pack(bundle.profile(), many.layers)[None]


def test_rows_that_name_no_table_are_refused(rows_engine: tuple) -> None:
    many, tables = rows_engine
    crops = probe_crops(*SIZE, 2)
    for rows, packed, sentence in (
        (np.array([0, 1], np.int32), tables, r"rows lie in 0\.\.0, not in 0\.\.1"),
        (np.array([0, -1], np.int32), tables, "not in -1"),
        (np.array([0], np.int32), tables, r"one a crop, not int32 \[1\]"),
        (np.array([0, 0]), tables, "not int64"),
        (np.array([0, 0], np.int32), tables.astype(np.float64), "tables are float32"),
        (np.array([0, 0], np.int32), tables[..., :-1], "tables are float32"),
    ):
        with pytest.raises(CropsError, match=sentence):
            many.embed(crops, rows, packed)


def test_the_order_of_the_memory_changes_nothing(engine: Engine) -> None:
    crops = probe_crops(*SIZE, 3)
    expected = engine.embed(crops)
    for same in (
        np.ascontiguousarray(crops[..., ::-1])[..., ::-1],
        np.asfortranarray(crops),
        crops.repeat(2, 0)[::2],
    ):
        assert np.allclose(engine.embed(same), expected, atol=1e-6)
