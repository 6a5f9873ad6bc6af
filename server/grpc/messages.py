"""Values <-> messages."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from proto.resight.v1 import resight_pb2 as pb
from server.enroll import Enrolled
from server.fields import filter_of, record_of
from server.gallery.filters import ItemFilter
from server.gallery.records import AdaptAfter, Item, NewItem
from server.items import Page
from server.job import Job
from server.people import Match, Person
from server.query import Answer
from server.reports import CalibrationReport, ServerReport, SiteReport


def record(crop: pb.Crop, index: int) -> NewItem:
    """The fields of a crop. Raises BadRequest naming its index."""
    values = {
        "camera": crop.camera,
        "identity": crop.identity,
        "captured_at": crop.captured_at if crop.HasField("captured_at") else None,
        "metadata": crop.metadata_json,
    }
    return record_of(values, f"crops[{index}].", "metadata_json")


def item_filter(request: pb.ListRequest | pb.EraseRequest) -> ItemFilter:
    """The conditions of a request. Raises BadRequest."""
    single = ("camera", "identity", "captured_after", "captured_before")
    sent = {name: getattr(request, name) for name in single if request.HasField(name)}
    return filter_of(request.filter_json or None, "filter_json", **sent)


def vectors(sent: Sequence[pb.Vector]) -> list[np.ndarray]:
    """float32 [n] of each vector."""
    return [np.array(vector.values, np.float32) for vector in sent]


def item(stored: Item) -> pb.Item:
    """A gallery item."""
    return pb.Item(
        id=stored.id,
        site=stored.site,
        camera=stored.camera or "",
        identity=stored.identity or "",
        captured_at=stored.captured_at,
        metadata_json=json.dumps(stored.metadata) if stored.metadata else "",
        enrolled_at=stored.enrolled_at,
        revision=stored.revision,
    )


def page(listed: Page) -> pb.ListResponse:
    """A page of items, with their vectors where these were asked for."""
    response = pb.ListResponse(cursor=listed.cursor or "", raw_space_id=listed.raw_space_id or "")
    vectors = listed.vectors or [None] * len(listed.items)
    for each, vector in zip(listed.items, vectors, strict=True):
        message = item(each)
        if vector is not None:
            message.vector.values.extend(vector.tolist())
        response.items.append(message)
    return response


def enrolled(committed: Enrolled) -> pb.EnrollResponse:
    """The answer of an enroll."""
    errors = [pb.CropError(index=e["index"], code=e["code"], detail=e["detail"]) for e in committed.errors]
    return pb.EnrollResponse(
        site=committed.site,
        version=committed.version,
        space_id=committed.space_id,
        items=[item(i) for i in committed.items],
        errors=errors,
        note=committed.note or "",
        enrolled_before=committed.enrolled_before,
    )


def answer(ranking: Answer, without_metadata: bool) -> pb.QueryResponse:
    """A ranking, its items with empty metadata where that is asked for."""
    if without_metadata:
        ranking = ranking.without_metadata()
    response = pb.QueryResponse(
        site=ranking.site,
        version=ranking.version,
        space_id=ranking.space_id,
        threshold=ranking.threshold,
    )
    response.matches.extend(match(m) for m in ranking.matches)
    if ranking.people is not None:
        response.people.extend(person(p) for p in ranking.people.people)
        response.decision = ranking.people.decision or ""
        if ranking.people.probability is not None:
            response.probability = ranking.people.probability
        if ranking.people.guess is not None:
            response.guess = ranking.people.guess
    return response


def match(ranked: Match) -> pb.Match:
    """A ranked item."""
    return pb.Match(rank=ranked.rank, score=ranked.score, item=item(ranked.item))


def person(ranked: Person) -> pb.Person:
    """A ranked person."""
    return pb.Person(
        rank=ranked.rank,
        identity=ranked.identity or "",
        cluster=ranked.cluster or "",
        score=ranked.score,
        margin=ranked.margin,
        items=[match(m) for m in ranked.items],
    )


def job(snapshot: Job) -> pb.Job:
    """A job's snapshot."""
    return pb.Job(
        job=snapshot.id,
        site=snapshot.site,
        kind=snapshot.kind,
        state=snapshot.state,
        progress=snapshot.progress,
        stage=snapshot.stage,
        version=snapshot.version or 0,
        report_json=snapshot.report.model_dump_json(),
        created_at=snapshot.created_at,
        asked_json=json.dumps(snapshot.request),
    )


def site(report: SiteReport) -> pb.Site:
    """A site's report; what it does not know stays unset."""
    values = report.model_dump()
    if report.calibration is not None:
        values["calibration"] = calibration(report.calibration)
    return pb.Site(**values)


def calibration(report: CalibrationReport) -> pb.Calibration:
    """What scores mean; what is not known stays unset."""
    values = report.model_dump()
    values["thresholds"] = _without_none(values["thresholds"])
    if values["measured"] is not None:
        values["measured"]["missed"] = _without_none(values["measured"]["missed"])
    return pb.Calibration(**values)


def _without_none(values: dict[str, float | None]) -> dict[str, float]:
    return {key: value for key, value in values.items() if value is not None}


def info(report: ServerReport) -> pb.Info:
    """The server's report."""
    values = report.model_dump()
    bundle = values.pop("bundle")
    metrics = json.dumps(bundle.pop("metrics"))
    tuning = values.pop("tuning")
    if tuning is not None:
        values["tuning"] = pb.Tuning(**tuning)
    values["engine_trials"] = {name: pb.Trial(**trial) for name, trial in values["engine_trials"].items()}
    return pb.Info(bundle=pb.BundleInfo(**bundle, metrics_json=metrics), **values)


def adapt_after(after: AdaptAfter | None) -> pb.AdaptAfter:
    """A schedule; without fields where there is none."""
    return pb.AdaptAfter(items=after.items, hours=after.hours) if after is not None else pb.AdaptAfter()
