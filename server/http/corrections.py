"""Corrections: `PATCH /gallery/{item_id}`, `/gallery/update`, `/people` and `/journal`."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Query

from server.fields import filter_of, label_of, labels_of
from server.http.access import KeyedRoute, Reader, ServiceDep, Writer
from server.http.correction_schemas import (
    CorrectedModel,
    DifferentModel,
    EntryModel,
    FeatureModel,
    HideModel,
    ItemCorrectedModel,
    ItemUpdateModel,
    JournalModel,
    MapModel,
    MergeModel,
    NamedModel,
    PeopleModel,
    RenameModel,
    SplitModel,
    UpdateModel,
)
from server.http.gallery import SiteName

router = APIRouter(tags=["corrections"], route_class=KeyedRoute)
Limit = Annotated[int, Query(description="1 to 1000")]
Cursor = Annotated[str | None, Query(description="of the page before; without it, the first page")]


@router.patch("/gallery/{item_id}")
async def update_item(
    service: ServiceDep,
    actor: Writer,
    item_id: str,
    body: ItemUpdateModel,
    site: Annotated[str | None, Query(description="only if the item is of this site")] = None,
) -> ItemCorrectedModel:
    """Give an item other labels. With its revision, a change by somebody else in between is a 409 instead of
    being overwritten. An item whose camera changes is compared as one of that camera from then on."""
    labels = labels_of(body.sent())
    item, corrected = await service.correcting.update_item(item_id, labels, body.revision, actor, site)
    return ItemCorrectedModel.of(item, corrected)


@router.post("/gallery/update")
async def update_items(service: ServiceDep, actor: Writer, body: UpdateModel) -> CorrectedModel:
    """Give many items the same labels: all of them, or none."""
    where = filter_of(json.dumps(body.filter)) if body.filter is not None else None
    corrected = await service.correcting.update_items(
        body.site,
        body.items,
        where,
        labels_of(body.values.sent(), "values."),
        body.revisions,
        body.all,
        actor,
    )
    return CorrectedModel.of(corrected)


@router.get("/people")
async def people(
    service: ServiceDep,
    actor: Reader,
    site: SiteName,
    identity: Annotated[str | None, Query(description="this person alone")] = None,
    include_hidden: Annotated[bool, Query(description="hidden people too")] = False,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> PeopleModel:
    """People of a site by name: how many items each has, and where and when they were seen."""
    page, following = await service.naming.page(
        site, cursor, limit, label_of(identity, "identity"), include_hidden
    )
    return PeopleModel(people=[NamedModel.of(named) for named in page], cursor=following)


@router.get("/people/map")
async def crop_map(
    service: ServiceDep,
    actor: Reader,
    site: SiteName,
    identity: Annotated[str | None, Query(description="a person's name")] = None,
    cluster: Annotated[str | None, Query(description="instead: id of any item of a cluster")] = None,
) -> MapModel:
    """Where the items of a person or of a cluster lie to each other in two dimensions (PCA), to see which of
    them do not belong there."""
    return MapModel.of(await service.maps.of(site, label_of(identity, "identity"), cluster or None))


@router.post("/people/rename")
async def rename(service: ServiceDep, actor: Writer, body: RenameModel) -> CorrectedModel:
    """Give a person a name that nobody has. Where somebody has it, the answer is a 409 that says how alike
    both are; merge them then."""
    name, to = label_of(body.identity, "identity"), label_of(body.to, "to")
    return CorrectedModel.of(await service.naming.rename(body.site, name, to, actor))


@router.post("/people/merge")
async def merge(service: ServiceDep, actor: Writer, body: MergeModel) -> CorrectedModel:
    """Give the items of a person to another one, and say how alike both were."""
    name, into = label_of(body.identity, "identity"), label_of(body.into, "into")
    merged = await service.naming.merge(body.site, name, into, actor)
    return CorrectedModel.of(merged.corrected, merged.alike)


@router.post("/people/split")
async def split(service: ServiceDep, actor: Writer, body: SplitModel) -> CorrectedModel:
    """Give some of a person's items a name that nobody has: all of them, or none."""
    name, to = label_of(body.identity, "identity"), label_of(body.to, "to")
    return CorrectedModel.of(await service.naming.split(body.site, name, body.items, to, actor))


@router.post("/people/hide")
async def hide(service: ServiceDep, actor: Writer, body: HideModel) -> CorrectedModel:
    """Leave a person out of the answers of queries, or show the person again."""
    name = label_of(body.identity, "identity")
    return CorrectedModel.of(await service.naming.hide(body.site, name, body.hidden, actor))


@router.post("/people/feature")
async def feature(service: ServiceDep, actor: Writer, body: FeatureModel) -> CorrectedModel:
    """Choose the item whose picture stands for a person."""
    name = label_of(body.identity, "identity")
    return CorrectedModel.of(await service.naming.feature(body.site, name, body.item, actor))


@router.post("/people/different")
async def different(service: ServiceDep, actor: Writer, body: DifferentModel) -> CorrectedModel:
    """Remember that an item, or another person, is not this person. An item that bears the name loses it."""
    name, other = label_of(body.identity, "identity"), label_of(body.other, "other")
    return CorrectedModel.of(
        await service.naming.different(body.site, name, body.item, other, body.different, actor)
    )


@router.get("/journal")
async def journal(
    service: ServiceDep,
    actor: Reader,
    site: SiteName,
    item: Annotated[str | None, Query(description="only entries that changed this item")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> JournalModel:
    """Corrections of a site, the newest first, each with the first of its changes."""
    entries, following = await service.journal.page(site, item, cursor, limit)
    return JournalModel(entries=[EntryModel.of(entry) for entry in entries], cursor=following)


@router.get("/journal/{entry}")
async def one_entry(service: ServiceDep, actor: Reader, entry: int) -> EntryModel:
    """One correction with what it changed."""
    return EntryModel.of(await service.journal.entry(entry))


@router.post("/journal/{entry}/undo")
async def undo(service: ServiceDep, actor: Writer, entry: int) -> CorrectedModel:
    """Undo a correction. Where a later one changed the same, the answer is a 409 that names that one. An undo
    is an entry too, and can be undone."""
    return CorrectedModel.of(await service.journal.undo(entry, actor))
