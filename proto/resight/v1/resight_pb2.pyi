from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Crop(_message.Message):
    __slots__ = ("image", "camera", "identity", "captured_at", "metadata_json", "vector")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_AT_FIELD_NUMBER: _ClassVar[int]
    METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    image: bytes
    camera: str
    identity: str
    captured_at: float
    metadata_json: str
    vector: Vector
    def __init__(self, image: _Optional[bytes] = ..., camera: _Optional[str] = ..., identity: _Optional[str] = ..., captured_at: _Optional[float] = ..., metadata_json: _Optional[str] = ..., vector: _Optional[_Union[Vector, _Mapping]] = ...) -> None: ...

class EnrollRequest(_message.Message):
    __slots__ = ("site", "crops", "idempotency_key", "partial", "raw_space_id")
    SITE_FIELD_NUMBER: _ClassVar[int]
    CROPS_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    RAW_SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    site: str
    crops: _containers.RepeatedCompositeFieldContainer[Crop]
    idempotency_key: str
    partial: bool
    raw_space_id: str
    def __init__(self, site: _Optional[str] = ..., crops: _Optional[_Iterable[_Union[Crop, _Mapping]]] = ..., idempotency_key: _Optional[str] = ..., partial: _Optional[bool] = ..., raw_space_id: _Optional[str] = ...) -> None: ...

class Item(_message.Message):
    __slots__ = ("id", "site", "camera", "identity", "captured_at", "metadata_json", "enrolled_at", "revision", "vector")
    ID_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_AT_FIELD_NUMBER: _ClassVar[int]
    METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    ENROLLED_AT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    id: str
    site: str
    camera: str
    identity: str
    captured_at: float
    metadata_json: str
    enrolled_at: float
    revision: int
    vector: Vector
    def __init__(self, id: _Optional[str] = ..., site: _Optional[str] = ..., camera: _Optional[str] = ..., identity: _Optional[str] = ..., captured_at: _Optional[float] = ..., metadata_json: _Optional[str] = ..., enrolled_at: _Optional[float] = ..., revision: _Optional[int] = ..., vector: _Optional[_Union[Vector, _Mapping]] = ...) -> None: ...

class CropError(_message.Message):
    __slots__ = ("index", "code", "detail")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    index: int
    code: str
    detail: str
    def __init__(self, index: _Optional[int] = ..., code: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class EnrollResponse(_message.Message):
    __slots__ = ("site", "version", "space_id", "items", "errors", "note", "enrolled_before")
    SITE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    ENROLLED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    site: str
    version: int
    space_id: str
    items: _containers.RepeatedCompositeFieldContainer[Item]
    errors: _containers.RepeatedCompositeFieldContainer[CropError]
    note: str
    enrolled_before: bool
    def __init__(self, site: _Optional[str] = ..., version: _Optional[int] = ..., space_id: _Optional[str] = ..., items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., errors: _Optional[_Iterable[_Union[CropError, _Mapping]]] = ..., note: _Optional[str] = ..., enrolled_before: _Optional[bool] = ...) -> None: ...

class QueryRequest(_message.Message):
    __slots__ = ("site", "images", "item_id", "top_k", "camera", "exclude_same_camera", "filter_json", "threshold", "query_camera", "group_by", "without_metadata", "include_hidden", "false_alarms_per_1000", "vectors", "raw_space_id", "rerank")
    SITE_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_SAME_CAMERA_FIELD_NUMBER: _ClassVar[int]
    FILTER_JSON_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    QUERY_CAMERA_FIELD_NUMBER: _ClassVar[int]
    GROUP_BY_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_METADATA_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_HIDDEN_FIELD_NUMBER: _ClassVar[int]
    FALSE_ALARMS_PER_1000_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    RAW_SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    RERANK_FIELD_NUMBER: _ClassVar[int]
    site: str
    images: _containers.RepeatedScalarFieldContainer[bytes]
    item_id: str
    top_k: int
    camera: str
    exclude_same_camera: bool
    filter_json: str
    threshold: float
    query_camera: str
    group_by: str
    without_metadata: bool
    include_hidden: bool
    false_alarms_per_1000: float
    vectors: _containers.RepeatedCompositeFieldContainer[Vector]
    raw_space_id: str
    rerank: bool
    def __init__(self, site: _Optional[str] = ..., images: _Optional[_Iterable[bytes]] = ..., item_id: _Optional[str] = ..., top_k: _Optional[int] = ..., camera: _Optional[str] = ..., exclude_same_camera: _Optional[bool] = ..., filter_json: _Optional[str] = ..., threshold: _Optional[float] = ..., query_camera: _Optional[str] = ..., group_by: _Optional[str] = ..., without_metadata: _Optional[bool] = ..., include_hidden: _Optional[bool] = ..., false_alarms_per_1000: _Optional[float] = ..., vectors: _Optional[_Iterable[_Union[Vector, _Mapping]]] = ..., raw_space_id: _Optional[str] = ..., rerank: _Optional[bool] = ...) -> None: ...

class Match(_message.Message):
    __slots__ = ("rank", "score", "item")
    RANK_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    rank: int
    score: float
    item: Item
    def __init__(self, rank: _Optional[int] = ..., score: _Optional[float] = ..., item: _Optional[_Union[Item, _Mapping]] = ...) -> None: ...

class Person(_message.Message):
    __slots__ = ("rank", "identity", "score", "margin", "items", "cluster")
    RANK_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    rank: int
    identity: str
    score: float
    margin: float
    items: _containers.RepeatedCompositeFieldContainer[Match]
    cluster: str
    def __init__(self, rank: _Optional[int] = ..., identity: _Optional[str] = ..., score: _Optional[float] = ..., margin: _Optional[float] = ..., items: _Optional[_Iterable[_Union[Match, _Mapping]]] = ..., cluster: _Optional[str] = ...) -> None: ...

class QueryResponse(_message.Message):
    __slots__ = ("site", "version", "space_id", "matches", "people", "decision", "probability", "guess", "threshold")
    SITE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    MATCHES_FIELD_NUMBER: _ClassVar[int]
    PEOPLE_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    GUESS_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    site: str
    version: int
    space_id: str
    matches: _containers.RepeatedCompositeFieldContainer[Match]
    people: _containers.RepeatedCompositeFieldContainer[Person]
    decision: str
    probability: float
    guess: bool
    threshold: float
    def __init__(self, site: _Optional[str] = ..., version: _Optional[int] = ..., space_id: _Optional[str] = ..., matches: _Optional[_Iterable[_Union[Match, _Mapping]]] = ..., people: _Optional[_Iterable[_Union[Person, _Mapping]]] = ..., decision: _Optional[str] = ..., probability: _Optional[float] = ..., guess: _Optional[bool] = ..., threshold: _Optional[float] = ...) -> None: ...

class EmbedCrop(_message.Message):
    __slots__ = ("image", "camera")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    image: bytes
    camera: str
    def __init__(self, image: _Optional[bytes] = ..., camera: _Optional[str] = ...) -> None: ...

class EmbedRequest(_message.Message):
    __slots__ = ("site", "crops")
    SITE_FIELD_NUMBER: _ClassVar[int]
    CROPS_FIELD_NUMBER: _ClassVar[int]
    site: str
    crops: _containers.RepeatedCompositeFieldContainer[EmbedCrop]
    def __init__(self, site: _Optional[str] = ..., crops: _Optional[_Iterable[_Union[EmbedCrop, _Mapping]]] = ...) -> None: ...

class Vector(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class EmbedResponse(_message.Message):
    __slots__ = ("site", "version", "raw_space_id", "dim", "vectors")
    SITE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RAW_SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    site: str
    version: int
    raw_space_id: str
    dim: int
    vectors: _containers.RepeatedCompositeFieldContainer[Vector]
    def __init__(self, site: _Optional[str] = ..., version: _Optional[int] = ..., raw_space_id: _Optional[str] = ..., dim: _Optional[int] = ..., vectors: _Optional[_Iterable[_Union[Vector, _Mapping]]] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ("site", "filter_json", "camera", "identity", "captured_after", "captured_before", "cursor", "limit", "without_metadata", "with_vectors")
    SITE_FIELD_NUMBER: _ClassVar[int]
    FILTER_JSON_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_AFTER_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_METADATA_FIELD_NUMBER: _ClassVar[int]
    WITH_VECTORS_FIELD_NUMBER: _ClassVar[int]
    site: str
    filter_json: str
    camera: str
    identity: str
    captured_after: float
    captured_before: float
    cursor: str
    limit: int
    without_metadata: bool
    with_vectors: bool
    def __init__(self, site: _Optional[str] = ..., filter_json: _Optional[str] = ..., camera: _Optional[str] = ..., identity: _Optional[str] = ..., captured_after: _Optional[float] = ..., captured_before: _Optional[float] = ..., cursor: _Optional[str] = ..., limit: _Optional[int] = ..., without_metadata: _Optional[bool] = ..., with_vectors: _Optional[bool] = ...) -> None: ...

class ListResponse(_message.Message):
    __slots__ = ("items", "cursor", "raw_space_id")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    RAW_SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Item]
    cursor: str
    raw_space_id: str
    def __init__(self, items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., cursor: _Optional[str] = ..., raw_space_id: _Optional[str] = ...) -> None: ...

class EraseRequest(_message.Message):
    __slots__ = ("item_id", "site", "identity", "filter_json", "camera", "captured_after", "captured_before", "all")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    FILTER_JSON_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_AFTER_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    site: str
    identity: str
    filter_json: str
    camera: str
    captured_after: float
    captured_before: float
    all: bool
    def __init__(self, item_id: _Optional[str] = ..., site: _Optional[str] = ..., identity: _Optional[str] = ..., filter_json: _Optional[str] = ..., camera: _Optional[str] = ..., captured_after: _Optional[float] = ..., captured_before: _Optional[float] = ..., all: _Optional[bool] = ...) -> None: ...

class EraseResponse(_message.Message):
    __slots__ = ("erased", "purged", "index_keeps_until")
    ERASED_FIELD_NUMBER: _ClassVar[int]
    PURGED_FIELD_NUMBER: _ClassVar[int]
    INDEX_KEEPS_UNTIL_FIELD_NUMBER: _ClassVar[int]
    erased: int
    purged: bool
    index_keeps_until: float
    def __init__(self, erased: _Optional[int] = ..., purged: _Optional[bool] = ..., index_keeps_until: _Optional[float] = ...) -> None: ...

class GetItemRequest(_message.Message):
    __slots__ = ("item_id",)
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    def __init__(self, item_id: _Optional[str] = ...) -> None: ...

class GetImageRequest(_message.Message):
    __slots__ = ("item_id",)
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    def __init__(self, item_id: _Optional[str] = ...) -> None: ...

class ImagePart(_message.Message):
    __slots__ = ("data", "media_type")
    DATA_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    media_type: str
    def __init__(self, data: _Optional[bytes] = ..., media_type: _Optional[str] = ...) -> None: ...

class Labels(_message.Message):
    __slots__ = ("identity", "camera", "captured_at", "no_captured_at", "metadata_json")
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_AT_FIELD_NUMBER: _ClassVar[int]
    NO_CAPTURED_AT_FIELD_NUMBER: _ClassVar[int]
    METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    identity: str
    camera: str
    captured_at: float
    no_captured_at: bool
    metadata_json: str
    def __init__(self, identity: _Optional[str] = ..., camera: _Optional[str] = ..., captured_at: _Optional[float] = ..., no_captured_at: _Optional[bool] = ..., metadata_json: _Optional[str] = ...) -> None: ...

class UpdateItemRequest(_message.Message):
    __slots__ = ("item_id", "values", "revision", "site")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    values: Labels
    revision: int
    site: str
    def __init__(self, item_id: _Optional[str] = ..., values: _Optional[_Union[Labels, _Mapping]] = ..., revision: _Optional[int] = ..., site: _Optional[str] = ...) -> None: ...

class UpdateItemsRequest(_message.Message):
    __slots__ = ("site", "items", "filter_json", "all", "values", "revisions")
    class RevisionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    SITE_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    FILTER_JSON_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    REVISIONS_FIELD_NUMBER: _ClassVar[int]
    site: str
    items: _containers.RepeatedScalarFieldContainer[str]
    filter_json: str
    all: bool
    values: Labels
    revisions: _containers.ScalarMap[str, int]
    def __init__(self, site: _Optional[str] = ..., items: _Optional[_Iterable[str]] = ..., filter_json: _Optional[str] = ..., all: _Optional[bool] = ..., values: _Optional[_Union[Labels, _Mapping]] = ..., revisions: _Optional[_Mapping[str, int]] = ...) -> None: ...

class ListPeopleRequest(_message.Message):
    __slots__ = ("site", "identity", "include_hidden", "cursor", "limit")
    SITE_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_HIDDEN_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    site: str
    identity: str
    include_hidden: bool
    cursor: str
    limit: int
    def __init__(self, site: _Optional[str] = ..., identity: _Optional[str] = ..., include_hidden: _Optional[bool] = ..., cursor: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class ListPeopleResponse(_message.Message):
    __slots__ = ("people", "cursor")
    PEOPLE_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    people: _containers.RepeatedCompositeFieldContainer[NamedPerson]
    cursor: str
    def __init__(self, people: _Optional[_Iterable[_Union[NamedPerson, _Mapping]]] = ..., cursor: _Optional[str] = ...) -> None: ...

class NamedPerson(_message.Message):
    __slots__ = ("identity", "items", "cameras", "first_seen", "last_seen", "hidden", "feature")
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    CAMERAS_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEEN_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_FIELD_NUMBER: _ClassVar[int]
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    identity: str
    items: int
    cameras: _containers.RepeatedScalarFieldContainer[str]
    first_seen: float
    last_seen: float
    hidden: bool
    feature: str
    def __init__(self, identity: _Optional[str] = ..., items: _Optional[int] = ..., cameras: _Optional[_Iterable[str]] = ..., first_seen: _Optional[float] = ..., last_seen: _Optional[float] = ..., hidden: _Optional[bool] = ..., feature: _Optional[str] = ...) -> None: ...

class GetMapRequest(_message.Message):
    __slots__ = ("site", "identity", "cluster")
    SITE_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    site: str
    identity: str
    cluster: str
    def __init__(self, site: _Optional[str] = ..., identity: _Optional[str] = ..., cluster: _Optional[str] = ...) -> None: ...

class CropMap(_message.Message):
    __slots__ = ("site", "points", "items", "shown")
    SITE_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    SHOWN_FIELD_NUMBER: _ClassVar[int]
    site: str
    points: _containers.RepeatedCompositeFieldContainer[MapPoint]
    items: int
    shown: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, site: _Optional[str] = ..., points: _Optional[_Iterable[_Union[MapPoint, _Mapping]]] = ..., items: _Optional[int] = ..., shown: _Optional[_Iterable[float]] = ...) -> None: ...

class MapPoint(_message.Message):
    __slots__ = ("item", "camera", "x", "y")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    item: str
    camera: str
    x: float
    y: float
    def __init__(self, item: _Optional[str] = ..., camera: _Optional[str] = ..., x: _Optional[float] = ..., y: _Optional[float] = ...) -> None: ...

class ListClustersRequest(_message.Message):
    __slots__ = ("site", "threshold", "cursor", "limit")
    SITE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    site: str
    threshold: float
    cursor: str
    limit: int
    def __init__(self, site: _Optional[str] = ..., threshold: _Optional[float] = ..., cursor: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class ListClustersResponse(_message.Message):
    __slots__ = ("clusters", "unnamed", "looked_at", "threshold", "guess", "cursor")
    CLUSTERS_FIELD_NUMBER: _ClassVar[int]
    UNNAMED_FIELD_NUMBER: _ClassVar[int]
    LOOKED_AT_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    GUESS_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    clusters: _containers.RepeatedCompositeFieldContainer[Cluster]
    unnamed: int
    looked_at: int
    threshold: float
    guess: bool
    cursor: str
    def __init__(self, clusters: _Optional[_Iterable[_Union[Cluster, _Mapping]]] = ..., unnamed: _Optional[int] = ..., looked_at: _Optional[int] = ..., threshold: _Optional[float] = ..., guess: _Optional[bool] = ..., cursor: _Optional[str] = ...) -> None: ...

class Cluster(_message.Message):
    __slots__ = ("cluster", "items", "cameras", "first_seen", "last_seen", "feature", "nearest")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    CAMERAS_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEEN_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_FIELD_NUMBER: _ClassVar[int]
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    NEAREST_FIELD_NUMBER: _ClassVar[int]
    cluster: str
    items: int
    cameras: _containers.RepeatedScalarFieldContainer[str]
    first_seen: float
    last_seen: float
    feature: str
    nearest: Nearest
    def __init__(self, cluster: _Optional[str] = ..., items: _Optional[int] = ..., cameras: _Optional[_Iterable[str]] = ..., first_seen: _Optional[float] = ..., last_seen: _Optional[float] = ..., feature: _Optional[str] = ..., nearest: _Optional[_Union[Nearest, _Mapping]] = ...) -> None: ...

class Nearest(_message.Message):
    __slots__ = ("identity", "score")
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    identity: str
    score: float
    def __init__(self, identity: _Optional[str] = ..., score: _Optional[float] = ...) -> None: ...

class GetClusterRequest(_message.Message):
    __slots__ = ("site", "item", "threshold", "cursor", "limit")
    SITE_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    site: str
    item: str
    threshold: float
    cursor: str
    limit: int
    def __init__(self, site: _Optional[str] = ..., item: _Optional[str] = ..., threshold: _Optional[float] = ..., cursor: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class ClusterItems(_message.Message):
    __slots__ = ("cluster", "items", "cursor")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    cluster: Cluster
    items: _containers.RepeatedCompositeFieldContainer[Item]
    cursor: str
    def __init__(self, cluster: _Optional[_Union[Cluster, _Mapping]] = ..., items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., cursor: _Optional[str] = ...) -> None: ...

class NameClusterRequest(_message.Message):
    __slots__ = ("site", "item", "identity", "items", "threshold")
    SITE_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    site: str
    item: str
    identity: str
    items: int
    threshold: float
    def __init__(self, site: _Optional[str] = ..., item: _Optional[str] = ..., identity: _Optional[str] = ..., items: _Optional[int] = ..., threshold: _Optional[float] = ...) -> None: ...

class ListReviewRequest(_message.Message):
    __slots__ = ("site", "limit")
    SITE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    site: str
    limit: int
    def __init__(self, site: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class ListReviewResponse(_message.Message):
    __slots__ = ("cases", "open", "guess")
    CASES_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    GUESS_FIELD_NUMBER: _ClassVar[int]
    cases: _containers.RepeatedCompositeFieldContainer[Case]
    open: int
    guess: bool
    def __init__(self, cases: _Optional[_Iterable[_Union[Case, _Mapping]]] = ..., open: _Optional[int] = ..., guess: _Optional[bool] = ...) -> None: ...

class Case(_message.Message):
    __slots__ = ("case", "kind", "score", "probability", "reason", "skipped", "sides")
    CASE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    SIDES_FIELD_NUMBER: _ClassVar[int]
    case: str
    kind: str
    score: float
    probability: float
    reason: str
    skipped: bool
    sides: _containers.RepeatedCompositeFieldContainer[CaseSide]
    def __init__(self, case: _Optional[str] = ..., kind: _Optional[str] = ..., score: _Optional[float] = ..., probability: _Optional[float] = ..., reason: _Optional[str] = ..., skipped: _Optional[bool] = ..., sides: _Optional[_Iterable[_Union[CaseSide, _Mapping]]] = ...) -> None: ...

class CaseSide(_message.Message):
    __slots__ = ("identity", "items", "evidence")
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    identity: str
    items: int
    evidence: _containers.RepeatedCompositeFieldContainer[Item]
    def __init__(self, identity: _Optional[str] = ..., items: _Optional[int] = ..., evidence: _Optional[_Iterable[_Union[Item, _Mapping]]] = ...) -> None: ...

class AnswerReviewRequest(_message.Message):
    __slots__ = ("site", "case", "answer")
    SITE_FIELD_NUMBER: _ClassVar[int]
    CASE_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    site: str
    case: str
    answer: str
    def __init__(self, site: _Optional[str] = ..., case: _Optional[str] = ..., answer: _Optional[str] = ...) -> None: ...

class RenameRequest(_message.Message):
    __slots__ = ("site", "identity", "to")
    SITE_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    site: str
    identity: str
    to: str
    def __init__(self, site: _Optional[str] = ..., identity: _Optional[str] = ..., to: _Optional[str] = ...) -> None: ...

class MergeRequest(_message.Message):
    __slots__ = ("site", "identity", "into")
    SITE_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    INTO_FIELD_NUMBER: _ClassVar[int]
    site: str
    identity: str
    into: str
    def __init__(self, site: _Optional[str] = ..., identity: _Optional[str] = ..., into: _Optional[str] = ...) -> None: ...

class SplitRequest(_message.Message):
    __slots__ = ("site", "identity", "items", "to")
    SITE_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    site: str
    identity: str
    items: _containers.RepeatedScalarFieldContainer[str]
    to: str
    def __init__(self, site: _Optional[str] = ..., identity: _Optional[str] = ..., items: _Optional[_Iterable[str]] = ..., to: _Optional[str] = ...) -> None: ...

class HideRequest(_message.Message):
    __slots__ = ("site", "identity", "hidden")
    SITE_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_FIELD_NUMBER: _ClassVar[int]
    site: str
    identity: str
    hidden: bool
    def __init__(self, site: _Optional[str] = ..., identity: _Optional[str] = ..., hidden: _Optional[bool] = ...) -> None: ...

class SetFeatureRequest(_message.Message):
    __slots__ = ("site", "identity", "item")
    SITE_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    site: str
    identity: str
    item: str
    def __init__(self, site: _Optional[str] = ..., identity: _Optional[str] = ..., item: _Optional[str] = ...) -> None: ...

class SetDifferentRequest(_message.Message):
    __slots__ = ("site", "identity", "item", "other", "different")
    SITE_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    OTHER_FIELD_NUMBER: _ClassVar[int]
    DIFFERENT_FIELD_NUMBER: _ClassVar[int]
    site: str
    identity: str
    item: str
    other: str
    different: bool
    def __init__(self, site: _Optional[str] = ..., identity: _Optional[str] = ..., item: _Optional[str] = ..., other: _Optional[str] = ..., different: _Optional[bool] = ...) -> None: ...

class Alike(_message.Message):
    __slots__ = ("best", "mean")
    BEST_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    best: float
    mean: float
    def __init__(self, best: _Optional[float] = ..., mean: _Optional[float] = ...) -> None: ...

class Corrected(_message.Message):
    __slots__ = ("site", "entry", "items", "alike")
    SITE_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    ALIKE_FIELD_NUMBER: _ClassVar[int]
    site: str
    entry: int
    items: int
    alike: Alike
    def __init__(self, site: _Optional[str] = ..., entry: _Optional[int] = ..., items: _Optional[int] = ..., alike: _Optional[_Union[Alike, _Mapping]] = ...) -> None: ...

class ItemCorrected(_message.Message):
    __slots__ = ("entry", "item")
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    entry: int
    item: Item
    def __init__(self, entry: _Optional[int] = ..., item: _Optional[_Union[Item, _Mapping]] = ...) -> None: ...

class ListJournalRequest(_message.Message):
    __slots__ = ("site", "item", "cursor", "limit")
    SITE_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    site: str
    item: str
    cursor: str
    limit: int
    def __init__(self, site: _Optional[str] = ..., item: _Optional[str] = ..., cursor: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class ListJournalResponse(_message.Message):
    __slots__ = ("entries", "cursor")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[Entry]
    cursor: str
    def __init__(self, entries: _Optional[_Iterable[_Union[Entry, _Mapping]]] = ..., cursor: _Optional[str] = ...) -> None: ...

class EntryRequest(_message.Message):
    __slots__ = ("entry",)
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    entry: int
    def __init__(self, entry: _Optional[int] = ...) -> None: ...

class Entry(_message.Message):
    __slots__ = ("entry", "site", "at", "actor", "action", "items", "undoes", "undone_by", "changes")
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    UNDOES_FIELD_NUMBER: _ClassVar[int]
    UNDONE_BY_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    entry: int
    site: str
    at: float
    actor: str
    action: str
    items: int
    undoes: int
    undone_by: int
    changes: _containers.RepeatedCompositeFieldContainer[Change]
    def __init__(self, entry: _Optional[int] = ..., site: _Optional[str] = ..., at: _Optional[float] = ..., actor: _Optional[str] = ..., action: _Optional[str] = ..., items: _Optional[int] = ..., undoes: _Optional[int] = ..., undone_by: _Optional[int] = ..., changes: _Optional[_Iterable[_Union[Change, _Mapping]]] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("field", "item", "identity", "other", "before_json", "after_json")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    OTHER_FIELD_NUMBER: _ClassVar[int]
    BEFORE_JSON_FIELD_NUMBER: _ClassVar[int]
    AFTER_JSON_FIELD_NUMBER: _ClassVar[int]
    field: str
    item: str
    identity: str
    other: str
    before_json: str
    after_json: str
    def __init__(self, field: _Optional[str] = ..., item: _Optional[str] = ..., identity: _Optional[str] = ..., other: _Optional[str] = ..., before_json: _Optional[str] = ..., after_json: _Optional[str] = ...) -> None: ...

class AdaptRequest(_message.Message):
    __slots__ = ("site", "tier", "max_samples", "seed", "gate", "refit")
    SITE_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    MAX_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    GATE_FIELD_NUMBER: _ClassVar[int]
    REFIT_FIELD_NUMBER: _ClassVar[int]
    site: str
    tier: str
    max_samples: int
    seed: int
    gate: bool
    refit: bool
    def __init__(self, site: _Optional[str] = ..., tier: _Optional[str] = ..., max_samples: _Optional[int] = ..., seed: _Optional[int] = ..., gate: _Optional[bool] = ..., refit: _Optional[bool] = ...) -> None: ...

class RollBackRequest(_message.Message):
    __slots__ = ("site",)
    SITE_FIELD_NUMBER: _ClassVar[int]
    site: str
    def __init__(self, site: _Optional[str] = ...) -> None: ...

class AdaptAfter(_message.Message):
    __slots__ = ("items", "hours")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    HOURS_FIELD_NUMBER: _ClassVar[int]
    items: int
    hours: float
    def __init__(self, items: _Optional[int] = ..., hours: _Optional[float] = ...) -> None: ...

class SetAdaptAfterRequest(_message.Message):
    __slots__ = ("site", "adapt_after")
    SITE_FIELD_NUMBER: _ClassVar[int]
    ADAPT_AFTER_FIELD_NUMBER: _ClassVar[int]
    site: str
    adapt_after: AdaptAfter
    def __init__(self, site: _Optional[str] = ..., adapt_after: _Optional[_Union[AdaptAfter, _Mapping]] = ...) -> None: ...

class CalibrateRequest(_message.Message):
    __slots__ = ("site", "labels")
    SITE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    site: str
    labels: str
    def __init__(self, site: _Optional[str] = ..., labels: _Optional[str] = ...) -> None: ...

class ListSitesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListSitesResponse(_message.Message):
    __slots__ = ("sites",)
    SITES_FIELD_NUMBER: _ClassVar[int]
    sites: _containers.RepeatedCompositeFieldContainer[Site]
    def __init__(self, sites: _Optional[_Iterable[_Union[Site, _Mapping]]] = ...) -> None: ...

class GetSiteRequest(_message.Message):
    __slots__ = ("site",)
    SITE_FIELD_NUMBER: _ClassVar[int]
    site: str
    def __init__(self, site: _Optional[str] = ...) -> None: ...

class Site(_message.Message):
    __slots__ = ("site", "version", "space_id", "profile", "items", "adapted", "tiers", "camera_tables", "camera_centres", "fitted_on", "fitted_on_erased", "can_roll_back", "cause", "adapt_after", "calibration", "raw_space_id", "index")
    SITE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    ADAPTED_FIELD_NUMBER: _ClassVar[int]
    TIERS_FIELD_NUMBER: _ClassVar[int]
    CAMERA_TABLES_FIELD_NUMBER: _ClassVar[int]
    CAMERA_CENTRES_FIELD_NUMBER: _ClassVar[int]
    FITTED_ON_FIELD_NUMBER: _ClassVar[int]
    FITTED_ON_ERASED_FIELD_NUMBER: _ClassVar[int]
    CAN_ROLL_BACK_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    ADAPT_AFTER_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    RAW_SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    site: str
    version: int
    space_id: str
    profile: str
    items: int
    adapted: bool
    tiers: str
    camera_tables: int
    camera_centres: int
    fitted_on: int
    fitted_on_erased: int
    can_roll_back: bool
    cause: str
    adapt_after: SiteAdaptAfter
    calibration: Calibration
    raw_space_id: str
    index: SiteIndex
    def __init__(self, site: _Optional[str] = ..., version: _Optional[int] = ..., space_id: _Optional[str] = ..., profile: _Optional[str] = ..., items: _Optional[int] = ..., adapted: _Optional[bool] = ..., tiers: _Optional[str] = ..., camera_tables: _Optional[int] = ..., camera_centres: _Optional[int] = ..., fitted_on: _Optional[int] = ..., fitted_on_erased: _Optional[int] = ..., can_roll_back: _Optional[bool] = ..., cause: _Optional[str] = ..., adapt_after: _Optional[_Union[SiteAdaptAfter, _Mapping]] = ..., calibration: _Optional[_Union[Calibration, _Mapping]] = ..., raw_space_id: _Optional[str] = ..., index: _Optional[_Union[SiteIndex, _Mapping]] = ...) -> None: ...

class SiteIndex(_message.Message):
    __slots__ = ("kind", "items", "recall", "speed_up", "waits")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    SPEED_UP_FIELD_NUMBER: _ClassVar[int]
    WAITS_FIELD_NUMBER: _ClassVar[int]
    kind: str
    items: int
    recall: float
    speed_up: float
    waits: str
    def __init__(self, kind: _Optional[str] = ..., items: _Optional[int] = ..., recall: _Optional[float] = ..., speed_up: _Optional[float] = ..., waits: _Optional[str] = ...) -> None: ...

class Calibration(_message.Message):
    __slots__ = ("slope", "intercept", "thresholds", "space_id", "guess", "measured_on", "people", "error", "measured")
    class ThresholdsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    SLOPE_FIELD_NUMBER: _ClassVar[int]
    INTERCEPT_FIELD_NUMBER: _ClassVar[int]
    THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    GUESS_FIELD_NUMBER: _ClassVar[int]
    MEASURED_ON_FIELD_NUMBER: _ClassVar[int]
    PEOPLE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    MEASURED_FIELD_NUMBER: _ClassVar[int]
    slope: float
    intercept: float
    thresholds: _containers.ScalarMap[str, float]
    space_id: str
    guess: bool
    measured_on: str
    people: int
    error: float
    measured: Measured
    def __init__(self, slope: _Optional[float] = ..., intercept: _Optional[float] = ..., thresholds: _Optional[_Mapping[str, float]] = ..., space_id: _Optional[str] = ..., guess: _Optional[bool] = ..., measured_on: _Optional[str] = ..., people: _Optional[int] = ..., error: _Optional[float] = ..., measured: _Optional[_Union[Measured, _Mapping]] = ...) -> None: ...

class Measured(_message.Message):
    __slots__ = ("gallery_people", "gallery_items", "people_now", "missed", "refused", "cllr", "labels", "pairs", "tracks", "torn_tracks", "notes")
    class MissedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class RefusedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class PairsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    GALLERY_PEOPLE_FIELD_NUMBER: _ClassVar[int]
    GALLERY_ITEMS_FIELD_NUMBER: _ClassVar[int]
    PEOPLE_NOW_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    CLLR_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    TRACKS_FIELD_NUMBER: _ClassVar[int]
    TORN_TRACKS_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    gallery_people: int
    gallery_items: int
    people_now: int
    missed: _containers.ScalarMap[str, float]
    refused: _containers.ScalarMap[str, str]
    cllr: float
    labels: str
    pairs: _containers.ScalarMap[str, int]
    tracks: int
    torn_tracks: int
    notes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, gallery_people: _Optional[int] = ..., gallery_items: _Optional[int] = ..., people_now: _Optional[int] = ..., missed: _Optional[_Mapping[str, float]] = ..., refused: _Optional[_Mapping[str, str]] = ..., cllr: _Optional[float] = ..., labels: _Optional[str] = ..., pairs: _Optional[_Mapping[str, int]] = ..., tracks: _Optional[int] = ..., torn_tracks: _Optional[int] = ..., notes: _Optional[_Iterable[str]] = ...) -> None: ...

class SiteAdaptAfter(_message.Message):
    __slots__ = ("items", "hours", "waits")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    HOURS_FIELD_NUMBER: _ClassVar[int]
    WAITS_FIELD_NUMBER: _ClassVar[int]
    items: int
    hours: float
    waits: str
    def __init__(self, items: _Optional[int] = ..., hours: _Optional[float] = ..., waits: _Optional[str] = ...) -> None: ...

class DeleteSiteRequest(_message.Message):
    __slots__ = ("site",)
    SITE_FIELD_NUMBER: _ClassVar[int]
    site: str
    def __init__(self, site: _Optional[str] = ...) -> None: ...

class JobRequest(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: str
    def __init__(self, job: _Optional[str] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("job", "site", "kind", "state", "progress", "stage", "version", "report_json", "created_at", "asked_json")
    JOB_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REPORT_JSON_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    ASKED_JSON_FIELD_NUMBER: _ClassVar[int]
    job: str
    site: str
    kind: str
    state: str
    progress: float
    stage: str
    version: int
    report_json: str
    created_at: float
    asked_json: str
    def __init__(self, job: _Optional[str] = ..., site: _Optional[str] = ..., kind: _Optional[str] = ..., state: _Optional[str] = ..., progress: _Optional[float] = ..., stage: _Optional[str] = ..., version: _Optional[int] = ..., report_json: _Optional[str] = ..., created_at: _Optional[float] = ..., asked_json: _Optional[str] = ...) -> None: ...

class GetInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Info(_message.Message):
    __slots__ = ("bundle", "engine", "refused_engines", "max_batch", "lanes", "keep_images", "tiers", "uptime_s", "fallbacks", "search", "engine_trials", "raw_space_id", "tuning", "index", "index_recall")
    class RefusedEnginesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class LanesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class EngineTrialsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Trial
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Trial, _Mapping]] = ...) -> None: ...
    class IndexRecallEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    REFUSED_ENGINES_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_FIELD_NUMBER: _ClassVar[int]
    LANES_FIELD_NUMBER: _ClassVar[int]
    KEEP_IMAGES_FIELD_NUMBER: _ClassVar[int]
    TIERS_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    FALLBACKS_FIELD_NUMBER: _ClassVar[int]
    SEARCH_FIELD_NUMBER: _ClassVar[int]
    ENGINE_TRIALS_FIELD_NUMBER: _ClassVar[int]
    RAW_SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    TUNING_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    INDEX_RECALL_FIELD_NUMBER: _ClassVar[int]
    bundle: BundleInfo
    engine: EngineInfo
    refused_engines: _containers.ScalarMap[str, str]
    max_batch: int
    lanes: _containers.ScalarMap[str, int]
    keep_images: bool
    tiers: _containers.RepeatedScalarFieldContainer[str]
    uptime_s: float
    fallbacks: _containers.RepeatedCompositeFieldContainer[Fallback]
    search: str
    engine_trials: _containers.MessageMap[str, Trial]
    raw_space_id: str
    tuning: Tuning
    index: str
    index_recall: _containers.ScalarMap[str, float]
    def __init__(self, bundle: _Optional[_Union[BundleInfo, _Mapping]] = ..., engine: _Optional[_Union[EngineInfo, _Mapping]] = ..., refused_engines: _Optional[_Mapping[str, str]] = ..., max_batch: _Optional[int] = ..., lanes: _Optional[_Mapping[str, int]] = ..., keep_images: _Optional[bool] = ..., tiers: _Optional[_Iterable[str]] = ..., uptime_s: _Optional[float] = ..., fallbacks: _Optional[_Iterable[_Union[Fallback, _Mapping]]] = ..., search: _Optional[str] = ..., engine_trials: _Optional[_Mapping[str, Trial]] = ..., raw_space_id: _Optional[str] = ..., tuning: _Optional[_Union[Tuning, _Mapping]] = ..., index: _Optional[str] = ..., index_recall: _Optional[_Mapping[str, float]] = ...) -> None: ...

class Tuning(_message.Message):
    __slots__ = ("query_threads", "streams", "batch", "measured", "note")
    QUERY_THREADS_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    MEASURED_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    query_threads: int
    streams: int
    batch: int
    measured: bool
    note: str
    def __init__(self, query_threads: _Optional[int] = ..., streams: _Optional[int] = ..., batch: _Optional[int] = ..., measured: _Optional[bool] = ..., note: _Optional[str] = ...) -> None: ...

class Trial(_message.Message):
    __slots__ = ("refused", "undecided", "min_cosine", "crops_per_second", "speed_up")
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    UNDECIDED_FIELD_NUMBER: _ClassVar[int]
    MIN_COSINE_FIELD_NUMBER: _ClassVar[int]
    CROPS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    SPEED_UP_FIELD_NUMBER: _ClassVar[int]
    refused: str
    undecided: str
    min_cosine: float
    crops_per_second: float
    speed_up: float
    def __init__(self, refused: _Optional[str] = ..., undecided: _Optional[str] = ..., min_cosine: _Optional[float] = ..., crops_per_second: _Optional[float] = ..., speed_up: _Optional[float] = ...) -> None: ...

class Fallback(_message.Message):
    __slots__ = ("what", "reason", "times")
    WHAT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    what: str
    reason: str
    times: int
    def __init__(self, what: _Optional[str] = ..., reason: _Optional[str] = ..., times: _Optional[int] = ...) -> None: ...

class BundleInfo(_message.Message):
    __slots__ = ("name", "base", "architecture", "dim", "height", "width", "training_domains", "ssl_heads", "weights_licence", "metrics_json")
    NAME_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    TRAINING_DOMAINS_FIELD_NUMBER: _ClassVar[int]
    SSL_HEADS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_LICENCE_FIELD_NUMBER: _ClassVar[int]
    METRICS_JSON_FIELD_NUMBER: _ClassVar[int]
    name: str
    base: str
    architecture: str
    dim: int
    height: int
    width: int
    training_domains: _containers.RepeatedScalarFieldContainer[str]
    ssl_heads: bool
    weights_licence: str
    metrics_json: str
    def __init__(self, name: _Optional[str] = ..., base: _Optional[str] = ..., architecture: _Optional[str] = ..., dim: _Optional[int] = ..., height: _Optional[int] = ..., width: _Optional[int] = ..., training_domains: _Optional[_Iterable[str]] = ..., ssl_heads: _Optional[bool] = ..., weights_licence: _Optional[str] = ..., metrics_json: _Optional[str] = ...) -> None: ...

class EngineInfo(_message.Message):
    __slots__ = ("engine", "version", "provider", "device", "precision")
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    engine: str
    version: str
    provider: str
    device: str
    precision: str
    def __init__(self, engine: _Optional[str] = ..., version: _Optional[str] = ..., provider: _Optional[str] = ..., device: _Optional[str] = ..., precision: _Optional[str] = ...) -> None: ...

class ReadyRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReadyResponse(_message.Message):
    __slots__ = ("purged",)
    PURGED_FIELD_NUMBER: _ClassVar[int]
    purged: bool
    def __init__(self, purged: _Optional[bool] = ...) -> None: ...
