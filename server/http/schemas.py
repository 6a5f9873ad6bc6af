"""The answers of the HTTP API, as they stand in its OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from reid.adaptation.ladder import TIERS
from server.enroll import Enrolled
from server.fields import iso
from server.gallery import records
from server.items import Page
from server.job import Job
from server.people import Decision, Match, Person
from server.query import Answer
from server.reports import JobReport

TIME_HELP = (
    "ISO 8601 (UTC where it has no offset) or seconds since 1970, from 1970-01-01 to 2100-01-01; text of "
    "digits alone is seconds where there are 9 or 10, otherwise it may be a date and is refused"
)
FILTER_EXAMPLE = (
    '{"camera": ["door", "hall"], "captured_at": {"gte": "2026-05-04"}, "metadata": {"track": 12}}'
)
FILTER_HELP = (
    "a JSON object; an item has to meet all of it. Its keys are camera, identity, captured_at, enrolled_at, "
    "metadata (an object of conditions by key), lacks_metadata (a list of keys that it must not have), and "
    "captured_after (inclusive) and captured_before (exclusive) for short. A condition is a value, null (the "
    "item has none), a list (any of these), or an object of gt, gte, lt, lte and not. Comparison is exact: "
    '12 equals 12.0 and neither "12" nor true'
)
WITHOUT_METADATA_HELP = "items come with empty metadata: a shorter answer where they carry much of it"
_ITEM: dict[str, Any] = {
    "id": "5b0c6f0e4d9b4b0f8a0e6f2f7f1f9b1d",
    "site": "lobby",
    "camera": "door",
    "identity": "visitor-17",
    "captured_at": "2026-05-04T09:30:00Z",
    "metadata": {"track": 12},
    "enrolled_at": "2026-05-04T09:30:01.204518Z",
    "revision": 1,
}

_PURGED = (
    "true: what was erased is in no file of the gallery any more; false: it is not yet, because somebody "
    "reads the database, an adaptation works with the images, or the gallery is large; this is tried again "
    "until it succeeds; null: the gallery is in PostgreSQL, which overwrites erased rows some time later and "
    "does not say when"
)


class ItemModel(BaseModel):
    """A gallery item."""

    id: str
    site: str
    camera: str | None
    identity: str | None
    captured_at: str | None = Field(description="ISO 8601, UTC")
    metadata: dict[str, Any]
    enrolled_at: str | None = Field(description="ISO 8601, UTC")
    revision: int = Field(description="1, and one more with every correction")
    model_config = ConfigDict(json_schema_extra={"examples": [_ITEM]})

    @classmethod
    def of(cls, item: records.Item) -> ItemModel:
        """An item as callers see it."""
        return cls(
            id=item.id,
            site=item.site,
            camera=item.camera,
            identity=item.identity,
            captured_at=iso(item.captured_at),
            metadata=item.metadata,
            enrolled_at=iso(item.enrolled_at),
            revision=item.revision,
        )


class EnrolledModel(BaseModel):
    """What was committed."""

    site: str
    version: int
    space_id: str = Field(description="embeddings of different spaces are never compared")
    items: list[ItemModel]
    errors: list[dict[str, Any]] = Field(
        default=[], description="with partial=true: the images or vectors that were left out, and why"
    )
    note: str | None = Field(
        None, description="of vectors: what their items cannot do, because they have no image"
    )
    enrolled_before: bool = Field(
        False, description="an earlier request under the same Idempotency-Key enrolled them; nothing is new"
    )

    @classmethod
    def of(cls, committed: Enrolled) -> EnrolledModel:
        """The answer of an enroll."""
        items = [ItemModel.of(item) for item in committed.items]
        return cls(
            site=committed.site,
            version=committed.version,
            space_id=committed.space_id,
            items=items,
            errors=committed.errors,
            note=committed.note,
            enrolled_before=committed.enrolled_before,
        )


class MatchModel(BaseModel):
    """A ranked item."""

    rank: int
    id: str
    score: float = Field(description="cosine")
    identity: str | None
    camera: str | None
    captured_at: str | None
    metadata: dict[str, Any]

    @classmethod
    def of(cls, match: Match) -> MatchModel:
        """A match."""
        return cls(
            rank=match.rank,
            id=match.item.id,
            score=match.score,
            identity=match.item.identity,
            camera=match.item.camera,
            captured_at=iso(match.item.captured_at),
            metadata=match.item.metadata,
        )


class PersonModel(BaseModel):
    """A ranked person."""

    rank: int
    identity: str | None = Field(description="null: nobody has named the items")
    cluster: str | None = Field(
        None,
        description="of people without a name: the oldest item of their cluster, by which it is called; null "
        "for people with a name, and for an item that stands alone",
    )
    score: float = Field(description="cosine of the best item")
    margin: float | None = Field(
        description="by how much it is above the next person's score; null where nobody comes next"
    )
    items: list[MatchModel] = Field(
        description="the best ones, five at most, with their ranks among all items"
    )

    @classmethod
    def of(cls, person: Person) -> PersonModel:
        """A person."""
        items = [MatchModel.of(match) for match in person.items]
        return cls(
            rank=person.rank,
            identity=person.identity,
            cluster=person.cluster,
            score=person.score,
            margin=person.margin,
            items=items,
        )


class AnswerModel(BaseModel):
    """A ranking of items, or of people where group_by is identity."""

    site: str
    version: int
    space_id: str
    matches: list[MatchModel] = Field(description="empty where people are ranked")
    people: list[PersonModel] | None = Field(None, description="null where items are ranked")
    decision: Decision | None = Field(
        None,
        description="of people: nobody, where at least one unknown person in ten would score as high as the "
        "first; match, where at most one in a hundred would, and the second person does not score so high; "
        "ambiguous between these. null where items are ranked, or the site's labels do not say what scores "
        "mean",
    )
    probability: float | None = Field(
        None,
        description="that the first person is the right one, if half of all queries show nobody who is "
        "enrolled; null where items are ranked, or nothing says what scores mean",
    )
    guess: bool | None = Field(
        None,
        description="whether the probability rests on a calibration that was not measured by the site's own "
        "labels in the live space; there is no decision then; null where nothing says what scores mean",
    )
    threshold: float | None = Field(
        None, description="lowest cosine that was looked for, also where a rate was sent; null: any"
    )
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "site": "lobby",
                    "version": 2,
                    "space_id": "space-31ab1d0f6a2c9e11",
                    "matches": [
                        {"rank": 1, "score": 0.83}
                        | {k: v for k, v in _ITEM.items() if k not in ("site", "enrolled_at", "revision")}
                    ],
                }
            ]
        }
    )

    @classmethod
    def of(cls, ranking: Answer) -> AnswerModel:
        """The answer of a query."""
        grouped = ranking.people
        return cls(
            site=ranking.site,
            version=ranking.version,
            space_id=ranking.space_id,
            matches=[MatchModel.of(match) for match in ranking.matches],
            people=[PersonModel.of(person) for person in grouped.people] if grouped else None,
            decision=grouped.decision if grouped else None,
            probability=grouped.probability if grouped else None,
            guess=grouped.guess if grouped else None,
            threshold=ranking.threshold,
        )


class ItemWithVectorModel(ItemModel):
    """A gallery item with its vector."""

    vector: list[float] | None = Field(
        description="as embedded, before a camera's centre is subtracted, in the half precision that is "
        "stored; null where the item has none in the live raw space"
    )


class PageModel(BaseModel):
    """A page of a listing."""

    items: list[ItemWithVectorModel | ItemModel] = Field(description="with their vectors where asked for")
    cursor: str | None = Field(description="of the next page; null on the last")
    raw_space_id: str | None = Field(None, description="of the vectors; null where they were not asked for")

    @classmethod
    def of(cls, page: Page) -> PageModel:
        """A page as callers see it."""
        items: list[ItemWithVectorModel | ItemModel] = [ItemModel.of(item) for item in page.items]
        for place, vector in enumerate(page.vectors or ()):
            numbers = vector.tolist() if vector is not None else None
            items[place] = ItemWithVectorModel(**dict(items[place]), vector=numbers)
        return cls(items=items, cursor=page.cursor, raw_space_id=page.raw_space_id)


class ErasedModel(BaseModel):
    """What an erasure did."""

    erased: int
    purged: bool | None = Field(description=_PURGED)
    index_keeps_until: str | None = Field(
        description="with Milvus as the index: until when its log keeps vectors of what was erased, at "
        "least; no answer shows them. null: no index outside of the server has any"
    )

    @classmethod
    def of(cls, erased: records.Erased) -> ErasedModel:
        """The answer of an erasure."""
        until = iso(erased.index_keeps_until)
        return cls(erased=erased.count, purged=erased.purged, index_keeps_until=until)


class ReadyModel(BaseModel):
    """The server answers and can store."""

    status: Literal["ready"] = "ready"
    purged: bool | None = Field(description=_PURGED)


class AdaptModel(BaseModel):
    """Body of `POST /adapt`."""

    site: str
    tier: str | int = Field(
        default="auto",
        description="auto takes the tiers that help; none goes back to the bundle's own values; "
        + "; ".join(f"{name}: {what}" for name, what in TIERS.items())
        + ". Several at once, like 1+0",
    )
    gate: bool = Field(
        default=True,
        description="whether each tier has to show that it helps; false takes what is asked for, unjudged",
    )
    max_samples: int | None = Field(default=None, description="most crops to look at, balanced over cameras")
    seed: int = 0
    refit: bool = Field(
        default=False,
        description="make the live profile again without the items that were erased since, by the same tiers "
        "and unjudged; the profile before is deleted",
    )
    model_config = {
        "extra": "forbid",
        "strict": True,
        "json_schema_extra": {"examples": [{"site": "lobby", "tier": "auto"}]},
    }


class AdaptAfterModel(BaseModel):
    """Body of `PUT /sites/{site}/adapt-after`."""

    items: int | None = Field(
        default=None, description="after so many items that are new since the last adaptation"
    )
    hours: float | None = Field(
        default=None, description="after so many hours, if any item is new since the last adaptation"
    )
    model_config = {
        "extra": "forbid",
        "strict": True,
        "json_schema_extra": {"examples": [{"items": 500, "hours": 24}]},
    }


class JobModel(BaseModel):
    """A job."""

    job: str
    site: str
    kind: str = Field(description="adapt | rollback")
    state: str = Field(
        description="queued | running | succeeded | declined | failed | cancelled | "
        "interrupted (by the end of the server; its next start goes on)"
    )
    progress: float = Field(description="0 to 1")
    stage: str
    version: int | None = Field(description="the version of the site it made")
    created_at: str | None = Field(description="when it was asked for: ISO 8601, UTC")
    asked: dict[str, Any] = Field(description="the request, with what it left open filled in")
    report: JobReport

    @classmethod
    def of(cls, job: Job) -> JobModel:
        """A job as callers see it."""
        return cls(
            job=job.id,
            site=job.site,
            kind=job.kind,
            state=job.state,
            progress=job.progress,
            stage=job.stage,
            version=job.version,
            created_at=iso(job.created_at),
            asked=job.request,
            report=job.report,
        )


class ProblemModel(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    model_config = {
        "extra": "allow",
        "json_schema_extra": {
            "examples": [
                {
                    "type": "urn:resight:problem:unsupported-media",
                    "title": "Unsupported image",
                    "status": 415,
                    "code": "unsupported-media",
                    "detail": "image 2: not a JPEG, PNG, WebP or AVIF image, whatever its name says",
                    "index": 2,
                }
            ]
        },
    }
