"""What the server answers, as typed values."""

from __future__ import annotations

import dataclasses
from typing import Any

ENDED = ("succeeded", "declined", "failed", "cancelled", "interrupted")


class ResightError(Exception):
    """The server said no. `status` and `code` are for programs, the text is for people.

    `status` is 0 when there was no answer at all.
    """

    def __init__(self, status: int, code: str, detail: str, facts: dict[str, Any] | None = None) -> None:
        super().__init__(status, code, detail, facts)  # which lets it travel between processes
        self.status, self.code, self.detail, self.facts = status, code, detail, facts or {}

    def __str__(self) -> str:
        """The sentence."""
        return self.detail


class JobFailed(ResightError):
    """A job that was waited for ended without success; `job` says how."""

    def __init__(self, job: Job) -> None:
        why = job.report.get("reason") or job.report.get("error") or job.state
        super().__init__(200, f"job-{job.state}", f"job {job.job} {job.state}: {why}")
        self.args = (job,)
        self.job = job


@dataclasses.dataclass(frozen=True)
class Item:
    """A gallery item."""

    id: str
    site: str
    camera: str | None
    identity: str | None
    captured_at: str | None  # ISO 8601, UTC
    metadata: dict[str, Any]
    enrolled_at: str | None = None  # ISO 8601, UTC
    revision: int = 1  # one more with every correction
    # only of a listing with vectors; the vector is None where the item has none in the live raw space
    vector: list[float] | None = None
    raw_space_id: str | None = None


@dataclasses.dataclass(frozen=True)
class Enrolled:
    """What an enroll committed."""

    site: str
    version: int
    space_id: str
    items: list[Item]
    errors: list[dict[str, Any]]
    note: str | None = None  # of vectors: what their items cannot do, because they have no image
    enrolled_before: bool = False  # under the same idempotency key by an earlier request: nothing is new


@dataclasses.dataclass(frozen=True)
class Vectors:
    """Crops as vectors of unit length, one a crop, before a camera's centre is subtracted."""

    site: str
    version: int
    raw_space_id: str  # vectors of different raw spaces cannot be compared
    dim: int
    vectors: list[list[float]]


@dataclasses.dataclass(frozen=True)
class Erased:
    """What an erasure did."""

    erased: int  # items
    # True: their bytes are in no file of the server's data folder any more. False: not yet; the server tries
    # again. None: the store cannot tell (PostgreSQL), or the server is older than this answer.
    purged: bool | None = None
    # until when Milvus's log keeps vectors of them, at least, where it is the server's index; None: no index
    # outside of the server has any
    index_keeps_until: str | None = None


@dataclasses.dataclass(frozen=True)
class Match:
    """A ranked item."""

    rank: int
    id: str
    score: float  # cosine
    identity: str | None
    camera: str | None
    captured_at: str | None
    metadata: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Person:
    """A ranked person."""

    rank: int
    identity: str | None  # None: nobody has named the items
    score: float  # of the best item
    margin: float | None  # by how much it is above the next person's; None where nobody comes next
    items: list[Match]  # the best ones, with their ranks among all items
    cluster: str | None = None  # where nobody has named them: the cluster's oldest item; None: none, or named


@dataclasses.dataclass(frozen=True)
class Answer:
    """A ranking of items, or of people with `matches` empty."""

    site: str
    version: int
    space_id: str
    matches: list[Match]
    people: list[Person] | None = None  # None where items are ranked
    decision: str | None = None  # match, ambiguous or nobody; None likewise, and where guess is not False
    probability: float | None = None  # that the first person is the right one
    guess: bool | None = None  # whether it rests on a calibration that was not measured at this site
    threshold: float | None = None  # lowest cosine that was looked for, also where a rate was sent; None: any


@dataclasses.dataclass(frozen=True)
class Page:
    """A page of a listing; `cursor` is None on the last."""

    items: list[Item]
    cursor: str | None


@dataclasses.dataclass(frozen=True)
class Rung:
    """One step of an adaptation: tiers that were tried on top of others, and what the gate said."""

    tiers: str  # like "1+0"
    below: str  # what they were compared with
    accepted: bool
    by: str  # labels, signals, veto, or off where nothing judged
    gain: float | None  # change of mAP in points, with its interval from low to high
    low: float | None
    high: float | None
    reason: str
    signals: dict[str, float | None]  # None: it is no number
    seconds: float


@dataclasses.dataclass(frozen=True)
class Job:
    """An adaptation or a rollback."""

    job: str
    site: str
    kind: str
    state: str
    progress: float
    stage: str
    version: int | None
    report: dict[str, Any]
    created_at: str | None = None  # ISO 8601, UTC; None where the server is older than this field
    asked: dict[str, Any] | None = None  # the request, like {"tier": "auto", ...}; None likewise

    @property
    def rungs(self) -> list[Rung]:
        """What was tried until now, in this order."""
        return [known(Rung, rung) for rung in self.report.get("rungs") or []]

    @property
    def ended(self) -> bool:
        """True when this server does no more for it; the next start of the server goes on where the state is
        `interrupted`."""
        return self.state in ENDED


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a calibration by the site's own labels also says."""

    gallery_people: int  # in the site when it was measured: identities, and items without one
    gallery_items: int  # in the site when it was measured
    people_now: int  # about how many it holds now; thresholds and intercept are those of this size
    missed: dict[str, float | None]  # share of queries of enrolled people that a threshold misses
    refused: dict[str, str]  # why a threshold is None
    cllr: float | None  # in bits, on people whom the fit has not seen: 0 is best, 1 says nothing
    labels: str = "identity"  # what it was measured by: "identity", "tracklets", "all" (both) or "answers"
    pairs: dict[str, int] = dataclasses.field(default_factory=dict)  # of crops that it was fitted to, by kind
    tracks: int = 0  # that said who is one person
    torn_tracks: int = 0  # whose items bear two names, which were not used
    notes: list[str] = dataclasses.field(
        default_factory=list
    )  # how far off labels of this kind were elsewhere


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What scores mean: P(the best match is right) = 1 / (1 + exp(-(slope * score + intercept)))."""

    slope: float
    intercept: float
    # by the share of queries of unknown people that then still raise a match, like "0.01": only scores above;
    # None where labels are too few
    thresholds: dict[str, float | None]
    space_id: str  # in which it was measured
    guess: bool  # True unless it was measured in the live space, by labels of the site's own items
    measured_on: str  # labels of the site, or a data set of the model's card
    people: int | None = None  # that it was fitted to
    error: float | None = None  # mean distance of probability and truth, on people whom the fit has not seen
    measured: Measured | None = None  # None unless it was measured by labels of the site


@dataclasses.dataclass(frozen=True)
class AdaptAfter:
    """When a site is adapted again by itself."""

    items: int | None = None  # after so many that are new since its last adaptation
    hours: float | None = None  # after so many, if any item is new since then
    waits: str | None = None  # why an adaptation that is due does not begin yet


@dataclasses.dataclass(frozen=True)
class SiteIndex:
    """How a site is searched."""

    kind: str  # exact, int8 (exact as well), or FAISS's words for an approximate index
    items: int | None = None  # that an approximate index knows; the others are scanned
    recall: float | None = None  # share of the ten best that it found when it was built; None: all are found
    speed_up: float | None = None  # how many times as fast as a scan it was then
    waits: str | None = None  # why the index that is set is not used, or not yet


@dataclasses.dataclass(frozen=True)
class Site:
    """A site."""

    site: str
    version: int
    space_id: str
    profile: str
    items: int
    adapted: bool
    can_roll_back: bool
    cause: str
    tiers: str | None = None  # that are live, like "1+0", or "none"; None where the server does not know
    camera_tables: int = 0  # cameras with BatchNorm tables of their own
    camera_centres: int = 0  # cameras with centres of their own
    fitted_on: int | None = None  # items of which the profile holds statistics; None: the server cannot say
    fitted_on_erased: int | None = None  # how many of these are erased by now
    adapt_after: AdaptAfter | None = None  # None: never
    calibration: Calibration | None = None  # what scores mean; None: the server cannot say
    raw_space_id: str | None = (
        None  # of vectors that it takes; None where the server is older than this field
    )
    index: SiteIndex | None = None  # how it is searched; None where the server is older than this field


def enrolled(values: dict[str, Any]) -> Enrolled:
    """Reads the answer of an enroll."""
    items = [known(Item, item) for item in values["items"]]
    committed: Enrolled = known(Enrolled, values | {"items": items})
    return committed


def vectors(values: dict[str, Any]) -> Vectors:
    """Reads the answer of an embed."""
    result: Vectors = known(Vectors, values)
    return result


def erased(values: dict[str, Any]) -> Erased:
    """Reads the answer of an erasure."""
    result: Erased = known(Erased, values)
    return result


def answer(values: dict[str, Any]) -> Answer:
    """Reads the answer of a query."""
    matches = [known(Match, match) for match in values["matches"]]
    people = values.get("people")
    if people is not None:
        people = [_person(person) for person in people]
    result: Answer = known(Answer, values | {"matches": matches, "people": people})
    return result


def _person(values: dict[str, Any]) -> Person:
    items = [known(Match, match) for match in values["items"]]
    person: Person = known(Person, values | {"items": items})
    return person


def page(values: dict[str, Any]) -> Page:
    """Reads a page."""
    space = values.get("raw_space_id")
    items = [known(Item, item | {"raw_space_id": space}) for item in values["items"]]
    return Page(items, values["cursor"])


def item(values: dict[str, Any]) -> Item:
    """Reads an item."""
    result: Item = known(Item, values)
    return result


def job(values: dict[str, Any]) -> Job:
    """Reads a job."""
    result: Job = known(Job, values)
    return result


def site(values: dict[str, Any]) -> Site:
    """Reads a site."""
    after = values.get("adapt_after")
    schedule = known(AdaptAfter, after) if after is not None else None
    measured = values.get("calibration")
    meaning = calibration(measured) if measured is not None else None
    searched = values.get("index")
    index = known(SiteIndex, searched) if searched is not None else None
    fields = {"adapt_after": schedule, "calibration": meaning, "index": index}
    result: Site = known(Site, values | fields)
    return result


def calibration(values: dict[str, Any]) -> Calibration:
    """Reads what scores mean."""
    measured = values.get("measured")
    figures = known(Measured, measured) if measured is not None else None
    result: Calibration = known(Calibration, values | {"measured": figures})
    return result


def sites(values: list[dict[str, Any]]) -> list[Site]:
    """Reads a list of sites. Raises TypeError for anything but a list."""
    if not isinstance(values, list):
        raise TypeError(type(values).__name__)
    return [site(each) for each in values]


def info(values: dict[str, Any]) -> dict[str, Any]:
    """Reads what really runs: as it is. Raises TypeError for anything else than an object."""
    if not isinstance(values, dict):
        raise TypeError(type(values).__name__)
    return values


def known(kind: Any, values: dict[str, Any]) -> Any:
    """A newer server may answer more than this client knows; that is no error."""
    names = {field.name for field in dataclasses.fields(kind)}
    return kind(**{key: value for key, value in values.items() if key in names})
