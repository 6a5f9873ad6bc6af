"""Unknown people: `/clusters`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from server.clustering import Cluster
from server.fields import iso, label_of
from server.http.access import KeyedRoute, Reader, ServiceDep, Writer
from server.http.correction_schemas import CorrectedModel
from server.http.gallery import SiteName
from server.http.schemas import ItemModel

router = APIRouter(tags=["corrections"], route_class=KeyedRoute)
_THRESHOLD = (
    "lowest cosine of two items that may belong together; without it, what the site's calibration says"
)
Threshold = Annotated[float | None, Query(description=_THRESHOLD)]
Cursor = Annotated[str | None, Query(description="of the page before; without it, the first page")]


class NearestModel(BaseModel):
    """The named person whom a cluster looks most like."""

    identity: str
    score: float = Field(description="cosine")


class ClusterModel(BaseModel):
    """Items that look like one person without a name."""

    cluster: str = Field(description="id of the oldest item, by which the cluster is named")
    items: int
    cameras: list[str]
    first_seen: str | None = Field(description="ISO 8601, UTC; null where no item has a time")
    last_seen: str | None
    feature: str = Field(description="id of the item that is most like all of them")
    nearest: NearestModel | None = Field(description="null where nobody has a name")

    @classmethod
    def of(cls, cluster: Cluster) -> ClusterModel:
        """A cluster as callers see it."""
        values: dict[str, Any] = vars(cluster) | {
            "first_seen": iso(cluster.first_seen),
            "last_seen": iso(cluster.last_seen),
            "nearest": vars(cluster.nearest) if cluster.nearest is not None else None,
        }
        return cls.model_validate(values)


class ClustersModel(BaseModel):
    """A page of clusters, the largest first."""

    clusters: list[ClusterModel]
    unnamed: int = Field(description="items of the site without a name")
    looked_at: int = Field(description="how many of them were grouped: the newest")
    threshold: float = Field(description="the lowest cosine of two items that may belong together")
    guess: bool = Field(description="whether the threshold does not rest on labels of the site")
    cursor: str | None = Field(description="of the next page; null on the last")


class ClusterItemsModel(BaseModel):
    """A cluster with a page of its items, the oldest first."""

    cluster: ClusterModel
    items: list[ItemModel]
    cursor: str | None = Field(description="of the next page; null on the last")


class NameModel(BaseModel):
    """Body of `POST /clusters/name`."""

    site: str
    item: str = Field(description="id of any item of the cluster")
    identity: str | int | None = Field(description="who they show, somebody new or known")
    items: int | None = Field(
        default=None, description="how many items you have seen; 409 where the cluster has others by now"
    )
    threshold: float | None = Field(default=None, description=_THRESHOLD)
    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {"site": "lobby", "item": "5b0c6f0e4d9b4b0f8a0e6f2f7f1f9b1d", "identity": "ada", "items": 4}
            ]
        },
    )


@router.get("/clusters")
async def clusters(
    service: ServiceDep,
    actor: Reader,
    site: SiteName,
    threshold: Threshold = None,
    cursor: Cursor = None,
    limit: Annotated[int, Query(description="1 to 200")] = 50,
) -> ClustersModel:
    """Items without a name that look like one person, the largest cluster first."""
    page = await service.clustering.page(site, cursor, limit, threshold)
    listed = [ClusterModel.of(cluster) for cluster in page.clusters]
    return ClustersModel(**vars(page) | {"clusters": listed})


@router.get("/clusters/{item}")
async def cluster(
    service: ServiceDep,
    actor: Reader,
    item: str,
    site: SiteName,
    threshold: Threshold = None,
    cursor: Cursor = None,
    limit: Annotated[int, Query(description="1 to 1000")] = 100,
) -> ClusterItemsModel:
    """The cluster of an item, with its items, the oldest first."""
    members = await service.clustering.members(site, item, cursor, limit, threshold)
    return ClusterItemsModel(
        cluster=ClusterModel.of(members.cluster),
        items=[ItemModel.of(each) for each in members.items],
        cursor=members.cursor,
    )


@router.post("/clusters/name")
async def name(service: ServiceDep, actor: Writer, body: NameModel) -> CorrectedModel:
    """Give all items of an item's cluster a name, which somebody may have already. The journal undoes it."""
    identity = label_of(body.identity, "identity")
    return CorrectedModel.of(
        await service.clustering.name(body.site, body.item, identity, body.items, actor, body.threshold)
    )
