"""Filters let through exactly what they say: the store beside a model that is too simple to be wrong."""

from __future__ import annotations

import datetime
import itertools
import json
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.errors import BadRequest
from server.fields import filter_of
from server.gallery.filters import ItemFilter
from server.gallery.records import NewItem
from server.gallery.store import Store
from tests.stores import BACKENDS, add_site, open_store

SITES = itertools.count()
LABELS = ["door", "Door", "0", "None", "null", "é", 'say "x"', "a%b", "a_b", "\\", "z\n", "😀", "ﬀ"]
KEYS = ["k", "K", "a.b", 'q"', "b\\", "n\nl", "é", "", "$", "$.k", "k%", "k_", "[0]", "😀"]
NUMBERS = [
    0,
    1,
    -1,
    12,
    12.0,
    0.5,
    0.1,
    0.30000000000000004,
    2**53,
    2**53 + 1,
    float(2**53),
    2**63 - 1,
    -(2**63),
]
NUMBERS += [1e15, 10**15, 10**16, 1e16, 1e300, 5e-324, -0.0, 120, 1.25]
TEXTS = ["0", "1", "12", "12.0", "true", "false", "None", "null", "", "door", *LABELS]
TIMES = [0, 1, 1.5, 1777000000, 1777000000.000001, 1777000000.25, 4102444800]

numbers = (
    st.sampled_from(NUMBERS)
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
texts = st.sampled_from(TEXTS) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5
)
plain = st.one_of(st.none(), st.booleans(), numbers, texts)
labels = st.sampled_from(LABELS)
times = st.sampled_from(TIMES)
keys = st.sampled_from(KEYS)
items = st.builds(
    NewItem,
    st.none() | labels,
    st.none() | labels,
    st.none() | times.map(float),
    st.dictionaries(keys, plain, max_size=4),
)


@st.composite
def times_as_sent(draw: st.DrawFn) -> Any:
    """A time in one of the notations."""
    seconds = draw(times)
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    shifted = moment + datetime.timedelta(hours=2) if seconds else moment
    east = f"{shifted.isoformat()}+02:00" if seconds else f"{moment.isoformat()}Z"
    return draw(
        st.sampled_from([seconds, str(float(seconds)), moment.isoformat(), f"{moment.isoformat()}Z", east])
    )


def conditions(values: st.SearchStrategy[Any], limits: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A condition as JSON: a value, null, a list, bounds, not."""
    simple = values | st.none() | st.lists(values | st.none(), min_size=1, max_size=4)
    bounds = st.builds(
        lambda low, high: low | high,
        st.just({})
        | st.dictionaries(st.sampled_from(["gt"]), limits)
        | st.dictionaries(st.just("gte"), limits),
        st.just({})
        | st.dictionaries(st.sampled_from(["lt"]), limits)
        | st.dictionaries(st.just("lte"), limits),
    ).filter(bool)
    positive = simple | bounds
    return (
        positive
        | positive.map(lambda inner: {"not": inner})
        | st.builds(lambda bound, inner: bound | {"not": inner}, bounds, simple)
    )


filters = st.fixed_dictionaries(
    {},
    optional={
        "camera": conditions(labels, labels),
        "identity": conditions(labels, labels),
        "captured_at": conditions(times_as_sent(), times_as_sent()),
        "metadata": st.dictionaries(keys, conditions(plain, numbers | texts), max_size=2),
        "lacks_metadata": st.lists(keys, min_size=1, max_size=2),
    },
)


def comparable(value: Any, is_time: bool) -> tuple[str, Any]:
    """A value as something whose equality is exact and whose kinds never meet."""
    if value is None:
        return ("none", None)
    if is_time:
        if isinstance(value, str) and "-" in value:
            moment = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
            moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)
            value = moment.timestamp()
        return ("number", Fraction(float(value)))
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, (int, float)):
        return ("number", Fraction(value))
    return ("text", [ord(letter) for letter in value])


def meets(value: Any, condition: Any, is_time: bool = False) -> bool:
    """The model: what docs/filters.md says, word by word."""
    if isinstance(condition, list):
        return any(meets(value, one, is_time) for one in condition)
    if not isinstance(condition, dict):
        return comparable(value, is_time) == comparable(condition, is_time)
    for name, limit in condition.items():
        if name == "not":
            if meets(value, limit, is_time):
                return False
            continue
        kind, mine = comparable(value, is_time)
        other, bound = comparable(limit, is_time)
        if kind != other or kind == "none":
            return False
        if not {"gt": mine > bound, "gte": mine >= bound, "lt": mine < bound, "lte": mine <= bound}[name]:
            return False
    return True


def lets_through(item: NewItem, where: dict[str, Any]) -> bool:
    """The model of a whole filter."""
    return (
        all(meets(getattr(item, name), where[name]) for name in ("camera", "identity") if name in where)
        and ("captured_at" not in where or meets(item.captured_at, where["captured_at"], is_time=True))
        and all(meets(item.metadata.get(key), inner) for key, inner in where.get("metadata", {}).items())
        and not any(key in item.metadata for key in where.get("lacks_metadata", []))
    )


@pytest.fixture(scope="module", params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store; each test uses sites of its own."""
    opened = open_store(request.param, tmp_path_factory.mktemp("store"), request)
    yield opened
    opened.close()


def enrolled(store: Store, new: list[NewItem]) -> tuple[str, list[int]]:
    """A site with these items, and their seqs."""
    site = f"site-{next(SITES)}"
    add_site(store, site)
    if not new:
        return site, []
    return site, [item.seq for item in store.items.enroll(site, "space", new, None, np.ones((len(new), 4)))]


def through(store: Store, site: str, where: ItemFilter) -> list[int]:
    """Seqs that pass, which a listing must agree with."""
    seqs = [int(seq) for seq in store.items.seqs(site, where)]
    listed: list[int] = []
    while page := store.items.page(site, where, listed[-1] if listed else 0, 2):
        listed += [item.seq for item in page]
    assert listed == seqs
    return seqs


def parsed_or_none(where: dict[str, Any]) -> ItemFilter | None:
    """The filter; None where it is refused because it contradicts itself."""
    try:
        return filter_of(json.dumps(where))
    except BadRequest as error:
        if "contradicts itself" not in error.detail:
            raise
        return None


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(items, max_size=8), filters)
def test_a_filter_lets_through_what_the_model_does(
    store: Store, new: list[NewItem], where: dict[str, Any]
) -> None:
    parsed = parsed_or_none(where)
    if parsed is None:  # refused, which is right where nothing can meet it
        assert not any(lets_through(item, where) for item in new)
        return
    site, seqs = enrolled(store, new)
    assert through(store, site, parsed) == [
        seq for seq, item in zip(seqs, new, strict=True) if lets_through(item, where)
    ]


def alike() -> list[Any]:
    """Every value of the pools once, those that Python calls equal included."""
    values: dict[str, Any] = {}
    for value in [None, True, False, *NUMBERS, 0.0, 1.0, -1.0, 1e14, 10**14, 2.0**63, *TEXTS]:
        values[f"{type(value).__name__} {value!r}"] = value
    return list(values.values())


def test_values_that_look_alike_are_told_apart(store: Store) -> None:
    """Each value of metadata beside each other one, in every kind of condition."""
    values = alike()
    new = [NewItem(metadata={"k": value}) for value in values] + [NewItem(), NewItem(metadata={"K": 1})]
    site, seqs = enrolled(store, new)
    for value in values:
        conditions: list[Any] = [value, [value, "nothing"], {"not": value}, {"not": [value, None]}]
        if comparable(value, is_time=False)[0] in ("number", "text"):
            conditions += [{name: value} for name in ("gt", "gte", "lt", "lte")]
        for condition in conditions:
            where = {"metadata": {"k": condition}}
            assert store.items.seqs(site, filter_of(json.dumps(where))).tolist() == [
                seq for seq, item in zip(seqs, new, strict=True) if lets_through(item, where)
            ], where


def test_keys_that_look_alike_are_told_apart(store: Store) -> None:
    new = [NewItem(metadata={key: key}) for key in KEYS] + [NewItem(metadata={key: None}) for key in KEYS]
    new += [NewItem(metadata={key: 1 for key in KEYS if key != missing}) for missing in KEYS]
    site, seqs = enrolled(store, new)
    for key in KEYS:
        filters = [{"metadata": {key: c}} for c in (key, 1, None, {"not": None}, {"gt": 0}, {"gt": ""})]
        for where in [*filters, {"lacks_metadata": [key]}]:
            assert store.items.seqs(site, filter_of(json.dumps(where))).tolist() == [
                seq for seq, item in zip(seqs, new, strict=True) if lets_through(item, where)
            ], where


@pytest.mark.parametrize("name", ["camera", "identity"])
def test_labels_are_ordered_by_code_points_on_every_database(store: Store, name: str) -> None:
    new = [NewItem(**{name: label}) for label in LABELS] + [NewItem()]
    site, seqs = enrolled(store, new)
    for label in LABELS:
        for operator in ("gt", "gte", "lt", "lte"):
            where = {name: {operator: label}}
            assert store.items.seqs(site, filter_of(json.dumps(where))).tolist() == [
                seq for seq, item in zip(seqs, new, strict=True) if lets_through(item, where)
            ], where
