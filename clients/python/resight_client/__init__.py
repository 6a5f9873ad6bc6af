"""Client of a Resight server.

from resight_client import Client

with Client("http://127.0.0.1:8000") as resight:
    resight.enroll("lobby", ["a.jpg", "b.jpg"], camera="door")
    for match in resight.query("lobby", "c.jpg").matches:
        print(match.rank, match.score, match.identity)
"""

from resight_client.aio import AsyncClient
from resight_client.client import Client
from resight_client.values import (
    Answer,
    Enrolled,
    Erased,
    Item,
    Job,
    JobFailed,
    Match,
    Page,
    ResightError,
    Rung,
    Site,
)

__all__ = [
    "Answer",
    "AsyncClient",
    "Client",
    "Enrolled",
    "Erased",
    "Item",
    "Job",
    "JobFailed",
    "Match",
    "Page",
    "ResightError",
    "Rung",
    "Site",
]
