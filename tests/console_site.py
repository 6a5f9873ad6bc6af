"""A site on which every page of the console has something to show."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from resight_client import Client, JobFailed

from tests.test_calibration import PEOPLE, SEEN
from tests.test_calibration import crop as labelled_crop
from tests.test_review import SHOWN, view

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

_DOUBTFUL = [
    (one, other, 0.31 if (one, other) == (2, 7) else share, name) for one, other, share, name in SHOWN
]


def enroll_labelled(client: Client, site: str, people: int = PEOPLE) -> None:
    """People at two cameras, so many of them with a name."""
    records = [
        {"camera": f"c{camera}", "identity": f"person-{person}" if person < people else None}
        for person, camera, _ in SEEN
    ]
    client.enroll(site, [labelled_crop(*seen) for seen in SEEN], records=records)


def enroll_doubtful(client: Client, site: str) -> list[str]:
    """Ids of new items: people of whom some may be others, and crops without a name; of these two together
    look so little like anybody that they are asked about last."""
    records = [
        {"identity": name, "camera": ("door", "hall")[number % 2]}
        for number, (*_, name) in enumerate(_DOUBTFUL)
    ]
    crops = [view(one, other, share, number) for number, (one, other, share, _) in enumerate(_DOUBTFUL)]
    return [item.id for item in client.enroll(site, crops, records=records).items]


def adapt(client: Client, site: str) -> None:
    """Two versions, and a job that has compared the cameras."""
    with contextlib.suppress(JobFailed):  # the gate may decline it
        client.wait(client.adapt(site, tier="0").job)
    client.wait(client.adapt(site, tier="0", gate=False).job)


def file_chooser(page: Page) -> Locator:
    """Where the search takes files."""
    return page.locator(".well input[type=file]")
