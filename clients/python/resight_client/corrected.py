"""What the server answers to corrections, as typed values."""

from __future__ import annotations

import dataclasses
from typing import Any

from resight_client.values import Item, item, known


@dataclasses.dataclass(frozen=True)
class Alike:
    """How alike two people are in the live space."""

    best: float  # cosine of the two items that are most alike
    mean: float  # of the mean embeddings


@dataclasses.dataclass(frozen=True)
class Corrected:
    """What a correction did."""

    site: str
    entry: int | None  # of the journal; None where everything was already so
    items: int  # how many it changed
    alike: Alike | None = None  # of a merge; None where one of both has no embedding


@dataclasses.dataclass(frozen=True)
class ItemCorrected:
    """An item after its correction."""

    entry: int | None  # of the journal; None where everything was already so
    item: Item


@dataclasses.dataclass(frozen=True)
class NamedPerson:
    """A person with items at a site."""

    identity: str
    items: int
    cameras: list[str]
    first_seen: str | None  # ISO 8601, UTC; None where no item has a time
    last_seen: str | None
    hidden: bool  # whether queries leave the person out
    feature: str  # id of the item whose picture stands for the person


@dataclasses.dataclass(frozen=True)
class PeoplePage:
    """A page of people; `cursor` is None on the last."""

    people: list[NamedPerson]
    cursor: str | None


@dataclasses.dataclass(frozen=True)
class Point:
    """Where an item lies on a map."""

    item: str
    camera: str | None
    x: float
    y: float


@dataclasses.dataclass(frozen=True)
class CropMap:
    """Items of a person or of a cluster, the nearer to each other the more alike they are."""

    site: str
    points: list[Point]  # the oldest item first; of more than 2,000 items some, at equal distances
    items: int  # how many the person or the cluster has
    shown: list[float]  # share of all differences that each of the two axes shows


@dataclasses.dataclass(frozen=True)
class Nearest:
    """The named person whom a cluster looks most like; `score` is a cosine."""

    identity: str
    score: float


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Items that look like one person without a name."""

    cluster: str  # id of the oldest item, by which the cluster is named
    items: int
    cameras: list[str]
    first_seen: str | None  # ISO 8601, UTC; None where no item has a time
    last_seen: str | None
    feature: str  # id of the item that is most like all of them
    nearest: Nearest | None  # None where nobody has a name


@dataclasses.dataclass(frozen=True)
class ClusterPage:
    """A page of clusters, the largest first; `cursor` is None on the last."""

    clusters: list[Cluster]
    unnamed: int  # items of the site without a name
    looked_at: int  # how many of them were grouped: the newest
    threshold: float  # the lowest cosine of two items that may belong together
    guess: bool  # whether the threshold does not rest on labels of the site
    cursor: str | None


@dataclasses.dataclass(frozen=True)
class ClusterItems:
    """A cluster with a page of its items, the oldest first; `cursor` is None on the last."""

    cluster: Cluster
    items: list[Item]
    cursor: str | None


@dataclasses.dataclass(frozen=True)
class CaseSide:
    """One side of a doubtful case."""

    identity: str | None  # None where nobody has named the items
    items: int  # how many it has
    evidence: list[Item]  # those that are most like the other side, best first


@dataclasses.dataclass(frozen=True)
class Case:
    """A doubtful case: do both sides show the same person?"""

    case: str  # what it is called, as long as it asks the same and shows the same items
    kind: str  # unnamed, merge or misnamed
    score: float  # cosine of both sides
    probability: float | None  # that it is the same person; None where nothing says what a cosine means
    reason: str  # why it is asked
    skipped: bool  # whether somebody put it behind the others
    sides: list[CaseSide]  # two; with `same` the first one gets the name of the second


@dataclasses.dataclass(frozen=True)
class ReviewQueue:
    """The first doubtful cases of a site, the most useful first."""

    cases: list[Case]
    open: int  # how many there are
    guess: bool  # whether probabilities do not rest on labels of the site


@dataclasses.dataclass(frozen=True)
class Change:
    """One value that a correction changed."""

    field: str
    item: str | None  # None where it is a person's
    identity: str | None  # the person, or the one whom the item does not show
    other: str | None  # the second one of two different people
    before: Any
    after: Any


@dataclasses.dataclass(frozen=True)
class Entry:
    """A correction in the journal."""

    entry: int
    site: str
    at: str  # ISO 8601, UTC
    actor: str
    action: str
    items: int  # how many it changed, with those that are erased by now
    undoes: int | None  # the entry that it undid
    undone_by: int | None  # the entry that undid it, unless that was undone in its turn
    changes: list[Change]  # in a listing the first twenty; without what erasures took


@dataclasses.dataclass(frozen=True)
class JournalPage:
    """A page of the journal, the newest entry first; `cursor` is None on the last."""

    entries: list[Entry]
    cursor: str | None


def corrected(values: dict[str, Any]) -> Corrected:
    """Reads the answer of a correction."""
    alike = values.get("alike")
    result: Corrected = known(
        Corrected, values | {"alike": known(Alike, alike) if alike is not None else None}
    )
    return result


def item_corrected(values: dict[str, Any]) -> ItemCorrected:
    """Reads the answer of a correction of one item."""
    return ItemCorrected(values["entry"], item(values["item"]))


def people(values: dict[str, Any]) -> PeoplePage:
    """Reads a page of people."""
    return PeoplePage([known(NamedPerson, person) for person in values["people"]], values["cursor"])


def crop_map(values: dict[str, Any]) -> CropMap:
    """Reads a map of crops."""
    result: CropMap = known(CropMap, values | {"points": [known(Point, each) for each in values["points"]]})
    return result


def _cluster(values: dict[str, Any]) -> Cluster:
    nearest = values["nearest"]
    named = known(Nearest, nearest) if nearest is not None else None
    result: Cluster = known(Cluster, values | {"nearest": named})
    return result


def clusters(values: dict[str, Any]) -> ClusterPage:
    """Reads a page of clusters."""
    page = values | {"clusters": [_cluster(each) for each in values["clusters"]]}
    result: ClusterPage = known(ClusterPage, page)
    return result


def cluster(values: dict[str, Any]) -> ClusterItems:
    """Reads a cluster with its items."""
    items = [item(each) for each in values["items"]]
    return ClusterItems(_cluster(values["cluster"]), items, values["cursor"])


def review(values: dict[str, Any]) -> ReviewQueue:
    """Reads the first cases of a review queue."""
    cases = []
    for case in values["cases"]:
        sides = [
            known(CaseSide, side | {"evidence": [item(each) for each in side["evidence"]]})
            for side in case["sides"]
        ]
        cases.append(known(Case, case | {"sides": sides}))
    result: ReviewQueue = known(ReviewQueue, values | {"cases": cases})
    return result


def entry(values: dict[str, Any]) -> Entry:
    """Reads an entry of the journal."""
    result: Entry = known(Entry, values | {"changes": [known(Change, each) for each in values["changes"]]})
    return result


def journal(values: dict[str, Any]) -> JournalPage:
    """Reads a page of the journal."""
    return JournalPage([entry(each) for each in values["entries"]], values["cursor"])
