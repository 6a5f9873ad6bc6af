"""The review queue: `/sites/{site}/review`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from server.gallery.reviews import Kind
from server.http.access import KeyedRoute, Reader, ServiceDep, Writer
from server.http.correction_schemas import CorrectedModel
from server.http.schemas import ItemModel
from server.review import Case, CaseSide

router = APIRouter(tags=["corrections"], route_class=KeyedRoute)


class CaseSideModel(BaseModel):
    """One side of a doubtful case."""

    identity: str | None = Field(description="null where nobody has named the items")
    items: int = Field(description="how many the side has")
    evidence: list[ItemModel] = Field(description="those that are most like the other side, best first")

    @classmethod
    def of(cls, side: CaseSide) -> CaseSideModel:
        """A side as callers see it."""
        return cls(
            identity=side.identity,
            items=side.items,
            evidence=[ItemModel.of(item) for item in side.evidence],
        )


class CaseModel(BaseModel):
    """A doubtful case: do both sides show the same person?"""

    case: str = Field(description="what it is called, as long as it asks the same and shows the same items")
    kind: Kind = Field(
        description="unnamed: items without a name look like a person; merge: two people look like one; "
        "misnamed: an item looks more like another person than like the one whose name it bears"
    )
    score: float = Field(description="cosine of both sides")
    probability: float | None = Field(
        description="that both are the same person; null where nothing says what a cosine means"
    )
    reason: str = Field(description="why it is asked")
    skipped: bool = Field(description="whether somebody put it behind the others")
    sides: list[CaseSideModel] = Field(description="two; with same the first one gets the name of the second")

    @classmethod
    def of(cls, case: Case) -> CaseModel:
        """A case as callers see it."""
        return cls.model_validate(vars(case) | {"sides": [CaseSideModel.of(side) for side in case.sides]})


class QueueModel(BaseModel):
    """The first doubtful cases of a site, the most useful first."""

    cases: list[CaseModel]
    open: int = Field(description="how many there are")
    guess: bool = Field(description="whether probabilities do not rest on labels of the site")


class AnswerModel(BaseModel):
    """Body of `POST /sites/{site}/review/{case}`."""

    answer: str = Field(description="same, different or skip")
    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"answer": "different"}]}
    )


@router.get("/sites/{site}/review")
async def queue(
    service: ServiceDep,
    actor: Reader,
    site: str,
    limit: Annotated[int, Query(description="1 to 200")] = 20,
) -> QueueModel:
    """Doubtful cases, the most useful first: items without a name that may be a named person, people who look
    like one, and items that look like somebody else than their name says."""
    page = await service.reviewing.page(site, limit)
    return QueueModel(cases=[CaseModel.of(case) for case in page.cases], open=page.open, guess=page.guess)


@router.post("/sites/{site}/review/{case}")
async def answer(
    service: ServiceDep, actor: Writer, site: str, case: str, body: AnswerModel
) -> CorrectedModel:
    """Decide a case. `same`: the first side gets the name of the second. `different`: it is remembered, and
    queries obey it. Both are in the journal, which undoes them. `skip`: the case comes behind the others. A
    case that is not open any more is a 409, and nothing is changed."""
    return CorrectedModel.of(await service.reviewing.answer(site, case, body.answer, actor))
