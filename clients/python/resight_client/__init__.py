"""Client of a Resight server.

from resight_client import Client

with Client("http://127.0.0.1:8000") as resight:
    resight.enroll("lobby", ["a.jpg", "b.jpg"], camera="door")
    for match in resight.query("lobby", "c.jpg").matches:
        print(match.rank, match.score, match.identity)
    for item in resight.iter_items("lobby", captured_after=datetime.date(2026, 5, 4)):
        Path(f"{item.id}.jpg").write_bytes(resight.image(item.id))

An image is a path, encoded bytes, an open binary file, an array uint8 [H,W,3] in RGB or a Pillow image.
Whatever fails is a ResightError. `AsyncClient` has the same methods.
"""

from resight_client.aio import AsyncClient
from resight_client.client import Client
from resight_client.corrected import (
    Alike,
    Case,
    CaseSide,
    Change,
    Cluster,
    ClusterItems,
    ClusterPage,
    Corrected,
    CropMap,
    Entry,
    ItemCorrected,
    JournalPage,
    NamedPerson,
    Nearest,
    PeoplePage,
    Point,
    ReviewQueue,
)
from resight_client.values import (
    AdaptAfter,
    Answer,
    Calibration,
    Enrolled,
    Erased,
    Item,
    Job,
    JobFailed,
    Match,
    Measured,
    Page,
    Person,
    ResightError,
    Rung,
    Site,
    SiteIndex,
    Vectors,
)

__version__ = "0.1.0"

__all__ = [
    "AdaptAfter",
    "Alike",
    "Answer",
    "AsyncClient",
    "Calibration",
    "Case",
    "CaseSide",
    "Change",
    "Client",
    "Cluster",
    "ClusterItems",
    "ClusterPage",
    "Corrected",
    "CropMap",
    "Enrolled",
    "Entry",
    "Erased",
    "Item",
    "ItemCorrected",
    "Job",
    "JobFailed",
    "JournalPage",
    "Match",
    "Measured",
    "NamedPerson",
    "Nearest",
    "Page",
    "PeoplePage",
    "Person",
    "Point",
    "ResightError",
    "ReviewQueue",
    "Rung",
    "Site",
    "SiteIndex",
    "Vectors",
    "__version__",
]
