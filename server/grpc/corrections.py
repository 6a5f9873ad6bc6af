"""Corrections of items and people, and the journal, over gRPC."""

from __future__ import annotations

import json
from typing import Any

from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from server.clustering import Cluster
from server.correcting import Corrected
from server.errors import BadRequest
from server.fields import filter_of, label_of, labels_of
from server.gallery.journal import Entry
from server.gallery.people import Named
from server.grpc import messages
from server.grpc.guard import actor
from server.journal import ShownChange, shown
from server.naming import Alike
from server.review import Case
from server.service import Service


class Corrections(rpc.CorrectionsServicer):
    """See resight.proto."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def UpdateItem(self, request: pb.UpdateItemRequest, context: Any) -> pb.ItemCorrected:
        """Other labels for one item."""
        revision = request.revision if request.HasField("revision") else None
        item, corrected = await self.service.correcting.update_item(
            request.item_id, _labels(request.values), revision, actor(), request.site or None
        )
        return pb.ItemCorrected(entry=corrected.entry, item=messages.item(item))

    async def UpdateItems(self, request: pb.UpdateItemsRequest, context: Any) -> pb.Corrected:
        """The same labels for many items."""
        where = filter_of(request.filter_json, "filter_json") if request.filter_json else None
        labels, revisions = _labels(request.values), dict(request.revisions)
        return _corrected(
            await self.service.correcting.update_items(
                request.site, list(request.items), where, labels, revisions, request.all, actor()
            )
        )

    async def ListPeople(self, request: pb.ListPeopleRequest, context: Any) -> pb.ListPeopleResponse:
        """A page of people."""
        identity = label_of(request.identity, "identity") if request.HasField("identity") else None
        page, following = await self.service.naming.page(
            request.site, request.cursor or None, request.limit or 100, identity, request.include_hidden
        )
        return pb.ListPeopleResponse(people=[_named(each) for each in page], cursor=following or "")

    async def GetMap(self, request: pb.GetMapRequest, context: Any) -> pb.CropMap:
        """Where crops lie to each other."""
        identity = label_of(request.identity, "identity")
        made = await self.service.maps.of(request.site, identity, request.cluster or None)
        points = [pb.MapPoint(**vars(point)) for point in made.points]
        return pb.CropMap(**vars(made) | {"points": points})

    async def Rename(self, request: pb.RenameRequest, context: Any) -> pb.Corrected:
        """A new name."""
        name, to = _names(request.identity, request.to, "to")
        return _corrected(await self.service.naming.rename(request.site, name, to, actor()))

    async def Merge(self, request: pb.MergeRequest, context: Any) -> pb.Corrected:
        """Two people become one."""
        name, into = _names(request.identity, request.into, "into")
        merged = await self.service.naming.merge(request.site, name, into, actor())
        return _corrected(merged.corrected, merged.alike)

    async def Split(self, request: pb.SplitRequest, context: Any) -> pb.Corrected:
        """Some items get a new name."""
        name, to = _names(request.identity, request.to, "to")
        items = list(request.items)
        return _corrected(await self.service.naming.split(request.site, name, items, to, actor()))

    async def Hide(self, request: pb.HideRequest, context: Any) -> pb.Corrected:
        """A person is no match any more, or again."""
        hidden = request.hidden if request.HasField("hidden") else True
        name = label_of(request.identity, "identity")
        return _corrected(await self.service.naming.hide(request.site, name, hidden, actor()))

    async def SetFeature(self, request: pb.SetFeatureRequest, context: Any) -> pb.Corrected:
        """The picture that stands for a person."""
        name = label_of(request.identity, "identity")
        return _corrected(
            await self.service.naming.feature(request.site, name, request.item or None, actor())
        )

    async def SetDifferent(self, request: pb.SetDifferentRequest, context: Any) -> pb.Corrected:
        """Not this person."""
        name, other = _names(request.identity, request.other, "other")
        different = request.different if request.HasField("different") else True
        return _corrected(
            await self.service.naming.different(
                request.site, name, request.item or None, other, different, actor()
            )
        )

    async def ListClusters(self, request: pb.ListClustersRequest, context: Any) -> pb.ListClustersResponse:
        """A page of clusters."""
        page = await self.service.clustering.page(
            request.site, request.cursor or None, request.limit or 50, _threshold(request)
        )
        return pb.ListClustersResponse(
            clusters=[_cluster(each) for each in page.clusters],
            unnamed=page.unnamed,
            looked_at=page.looked_at,
            threshold=page.threshold,
            guess=page.guess,
            cursor=page.cursor or "",
        )

    async def GetCluster(self, request: pb.GetClusterRequest, context: Any) -> pb.ClusterItems:
        """One cluster with its items."""
        members = await self.service.clustering.members(
            request.site, request.item, request.cursor or None, request.limit or 100, _threshold(request)
        )
        return pb.ClusterItems(
            cluster=_cluster(members.cluster),
            items=[messages.item(item) for item in members.items],
            cursor=members.cursor or "",
        )

    async def NameCluster(self, request: pb.NameClusterRequest, context: Any) -> pb.Corrected:
        """A name for a cluster."""
        identity = label_of(request.identity, "identity")
        items = request.items if request.HasField("items") else None
        return _corrected(
            await self.service.clustering.name(
                request.site, request.item, identity, items, actor(), _threshold(request)
            )
        )

    async def ListReview(self, request: pb.ListReviewRequest, context: Any) -> pb.ListReviewResponse:
        """The first doubtful cases."""
        queue = await self.service.reviewing.page(request.site, request.limit or 20)
        cases = [_case(each) for each in queue.cases]
        return pb.ListReviewResponse(cases=cases, open=queue.open, guess=queue.guess)

    async def AnswerReview(self, request: pb.AnswerReviewRequest, context: Any) -> pb.Corrected:
        """What somebody says of a case."""
        answer = request.answer or None
        return _corrected(await self.service.reviewing.answer(request.site, request.case, answer, actor()))

    async def ListJournal(self, request: pb.ListJournalRequest, context: Any) -> pb.ListJournalResponse:
        """A page of the journal."""
        entries, following = await self.service.journal.page(
            request.site, request.item or None, request.cursor or None, request.limit or 100
        )
        return pb.ListJournalResponse(entries=[_entry(each) for each in entries], cursor=following or "")

    async def GetEntry(self, request: pb.EntryRequest, context: Any) -> pb.Entry:
        """One entry."""
        return _entry(await self.service.journal.entry(request.entry))

    async def Undo(self, request: pb.EntryRequest, context: Any) -> pb.Corrected:
        """Undoes one entry."""
        return _corrected(await self.service.journal.undo(request.entry, actor()))


def _labels(values: pb.Labels) -> dict[str, Any]:
    """The labels that are set. Raises BadRequest."""
    sent = {name: getattr(values, name) for name in ("identity", "camera") if values.HasField(name)}
    if values.HasField("captured_at") and values.no_captured_at:
        raise BadRequest("captured_at and no_captured_at contradict each other; send one of them")
    if values.HasField("captured_at") or values.no_captured_at:
        sent["captured_at"] = None if values.no_captured_at else values.captured_at
    if values.HasField("metadata_json"):
        sent["metadata"] = values.metadata_json
    return labels_of(sent, "values.", "metadata_json")


def _names(identity: str, other: str, field: str) -> tuple[str | None, str | None]:
    return label_of(identity, "identity"), label_of(other, field)


def _corrected(corrected: Corrected, alike: Alike | None = None) -> pb.Corrected:
    how = pb.Alike(best=alike.best, mean=alike.mean) if alike is not None else None
    return pb.Corrected(site=corrected.site, entry=corrected.entry, items=corrected.items, alike=how)


def _named(named: Named) -> pb.NamedPerson:
    return pb.NamedPerson(**vars(named))


def _cluster(cluster: Cluster) -> pb.Cluster:
    values = vars(cluster)
    if cluster.nearest is not None:
        values = values | {"nearest": pb.Nearest(**vars(cluster.nearest))}
    return pb.Cluster(**values)


def _case(case: Case) -> pb.Case:
    sides = [
        pb.CaseSide(
            identity=side.identity or "",
            items=side.items,
            evidence=[messages.item(item) for item in side.evidence],
        )
        for side in case.sides
    ]
    return pb.Case(**vars(case) | {"sides": sides})


def _threshold(
    request: pb.ListClustersRequest | pb.GetClusterRequest | pb.NameClusterRequest,
) -> float | None:
    return request.threshold if request.HasField("threshold") else None


def _entry(entry: Entry) -> pb.Entry:
    return pb.Entry(
        entry=entry.entry,
        site=entry.site,
        at=entry.at,
        actor=entry.actor,
        action=entry.action,
        items=entry.items,
        undoes=entry.undoes,
        undone_by=entry.undone_by,
        changes=[_change(change) for change in shown(entry)],
    )


def _change(change: ShownChange) -> pb.Change:
    return pb.Change(
        field=change.field,
        item=change.item or "",
        identity=change.identity or "",
        other=change.other or "",
        before_json=json.dumps(change.before),
        after_json=json.dumps(change.after),
    )
