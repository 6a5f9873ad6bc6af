"""Requests and answers of the corrections, as they stand in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from server.correcting import Corrected
from server.fields import iso
from server.gallery.journal import Entry
from server.gallery.people import Named
from server.gallery.records import Item
from server.http.schemas import TIME_HELP, ItemModel
from server.journal import shown
from server.maps import CropMap
from server.naming import Alike

Label = str | int | None
_ADA = {"site": "lobby", "identity": "ada"}


def _body(*examples: dict[str, Any]) -> ConfigDict:
    return ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": list(examples)})


class LabelsModel(BaseModel):
    """New labels; what is left out stays."""

    identity: Label = Field(default=None, description="label of the person; null: nobody's")
    camera: Label = Field(default=None, description="null: not known")
    captured_at: str | int | float | None = Field(default=None, description=f"{TIME_HELP}; null: not known")
    metadata: dict[str, Any] | None = Field(
        default=None, description="instead of all that the item has; null: none"
    )
    model_config = _body({"identity": "ada"})

    def sent(self) -> dict[str, Any]:
        """The labels that the request names."""
        return {
            name: getattr(self, name) for name in LabelsModel.model_fields if name in self.model_fields_set
        }


class ItemUpdateModel(LabelsModel):
    """Body of `PATCH /gallery/{item_id}`."""

    revision: int | None = Field(
        default=None, description="that you have seen; 409 where the item was changed since"
    )
    model_config = _body({"identity": "ada", "revision": 1})


class UpdateModel(BaseModel):
    """Body of `POST /gallery/update`: items by id, by a filter, or all of the site."""

    site: str
    items: list[str] = Field(default=[], description="ids of items")
    filter: dict[str, Any] | None = Field(default=None, description="instead: as of GET /gallery, an object")
    all: bool = Field(default=False, description="instead: every item of the site")
    values: LabelsModel
    revisions: dict[str, int] = Field(
        default={}, description="by item, that you have seen; 409 where one of them was changed since"
    )
    model_config = _body({"site": "lobby", "filter": {"camera": "dor"}, "values": {"camera": "door"}})


class RenameModel(BaseModel):
    """Body of `POST /people/rename`."""

    site: str
    identity: Label
    to: Label = Field(description="a name that nobody has at the site")
    model_config = _body(_ADA | {"to": "ada lovelace"})


class MergeModel(BaseModel):
    """Body of `POST /people/merge`."""

    site: str
    identity: Label
    into: Label = Field(description="the person who gets the items, and whose name stays")
    model_config = _body(_ADA | {"into": "ada lovelace"})


class SplitModel(BaseModel):
    """Body of `POST /people/split`."""

    site: str
    identity: Label
    items: list[str] = Field(description="ids of this person's items that show another one")
    to: Label = Field(description="a name that nobody has at the site")
    model_config = _body(_ADA | {"items": ["5b0c6f0e4d9b4b0f8a0e6f2f7f1f9b1d"], "to": "visitor-18"})


class HideModel(BaseModel):
    """Body of `POST /people/hide`."""

    site: str
    identity: Label
    hidden: bool = Field(default=True, description="false: shows the person again")
    model_config = _body(_ADA)


class FeatureModel(BaseModel):
    """Body of `POST /people/feature`."""

    site: str
    identity: Label
    item: str | None = Field(description="one of the person's items; null: the newest one")
    model_config = _body(_ADA | {"item": "5b0c6f0e4d9b4b0f8a0e6f2f7f1f9b1d"})


class DifferentModel(BaseModel):
    """Body of `POST /people/different`: an item, or another person, that is not this one."""

    site: str
    identity: Label
    item: str | None = None
    other: Label = Field(default=None, description="instead: another person")
    different: bool = Field(default=True, description="false: takes it back")
    model_config = _body(_ADA | {"item": "5b0c6f0e4d9b4b0f8a0e6f2f7f1f9b1d"})


class AlikeModel(BaseModel):
    """How alike two people are in the live space."""

    best: float = Field(description="cosine of the two items that are most alike")
    mean: float = Field(description="cosine of the mean embeddings")


class PointModel(BaseModel):
    """Where an item lies on a map."""

    item: str
    camera: str | None
    x: float
    y: float


class MapModel(BaseModel):
    """Items of a person or of a cluster, the nearer to each other the more alike they are."""

    site: str
    points: list[PointModel] = Field(
        description="the oldest item first; of more than 2,000 items some, at equal distances in that order"
    )
    items: int = Field(description="how many the person or the cluster has")
    shown: list[float] = Field(description="share of all differences that each of the two axes shows")

    @classmethod
    def of(cls, made: CropMap) -> MapModel:
        """A map as callers see it."""
        points = [PointModel(**vars(point)) for point in made.points]
        return cls(site=made.site, points=points, items=made.items, shown=made.shown)


class CorrectedModel(BaseModel):
    """What a correction did."""

    site: str
    entry: int | None = Field(description="of the journal; null where everything was already so")
    items: int = Field(description="how many items it changed")
    alike: AlikeModel | None = Field(
        default=None, description="of a merge: how alike both people were; null where one has no embedding"
    )

    @classmethod
    def of(cls, corrected: Corrected, alike: Alike | None = None) -> CorrectedModel:
        """The answer of a correction."""
        model = AlikeModel(best=alike.best, mean=alike.mean) if alike is not None else None
        return cls(site=corrected.site, entry=corrected.entry, items=corrected.items, alike=model)


class ItemCorrectedModel(BaseModel):
    """An item after its correction."""

    entry: int | None = Field(description="of the journal; null where everything was already so")
    item: ItemModel

    @classmethod
    def of(cls, item: Item, corrected: Corrected) -> ItemCorrectedModel:
        """The answer of a correction of one item."""
        return cls(entry=corrected.entry, item=ItemModel.of(item))


class NamedModel(BaseModel):
    """A person with items at a site."""

    identity: str
    items: int
    cameras: list[str]
    first_seen: str | None = Field(description="ISO 8601, UTC; null where no item has a time")
    last_seen: str | None
    hidden: bool = Field(description="whether queries leave the person out")
    feature: str = Field(description="id of the item whose picture stands for the person")

    @classmethod
    def of(cls, named: Named) -> NamedModel:
        """A person as callers see it."""
        times = {"first_seen": iso(named.first_seen), "last_seen": iso(named.last_seen)}
        return cls.model_validate(vars(named) | times)


class PeopleModel(BaseModel):
    """A page of people."""

    people: list[NamedModel]
    cursor: str | None = Field(description="of the next page; null on the last")


class ChangeModel(BaseModel):
    """One value that a correction changed."""

    field: str = Field(
        description="of an item: identity, camera, captured_at, metadata, not_person; of a person: hidden, "
        "feature, different"
    )
    item: str | None
    identity: str | None = Field(description="the person, or the one whom the item does not show")
    other: str | None = Field(description="the second one of two different people")
    before: Any
    after: Any


class EntryModel(BaseModel):
    """A correction in the journal."""

    entry: int
    site: str
    at: str = Field(description="ISO 8601, UTC")
    actor: str = Field(description="id of the key that was used; local where none is needed")
    action: str
    items: int = Field(description="how many it changed, with those that are erased by now")
    undoes: int | None = Field(description="the entry that it undid")
    undone_by: int | None = Field(description="the entry that undid it, unless that was undone in its turn")
    changes: list[ChangeModel] = Field(
        description="in a listing the first twenty; without what erasures took"
    )

    @classmethod
    def of(cls, entry: Entry) -> EntryModel:
        """An entry as callers see it."""
        made = [ChangeModel.model_validate(vars(change)) for change in shown(entry)]
        values = {name: getattr(entry, name) for name in cls.model_fields if name not in ("at", "changes")}
        return cls(**values, at=iso(entry.at) or "", changes=made)


class JournalModel(BaseModel):
    """A page of the journal."""

    entries: list[EntryModel]
    cursor: str | None = Field(description="of the next page; null on the last")
