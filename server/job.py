"""One job: what is known of it, in memory and in its row, and the ways in which its work can end early."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

from server.reports import JobReport

ENDED = ("succeeded", "declined", "failed", "cancelled", "interrupted")


class Cancelled(Exception):
    """Somebody cancelled the job."""


class Interrupted(Exception):
    """The server is stopping; the next start takes the job up again."""


class Declined(Exception):
    """The job looked and decided not to change the site; says why."""


@dataclasses.dataclass
class Job:
    """A job's state."""

    id: str
    site: str
    kind: str  # adapt | rollback
    request: dict[str, Any]
    state: str = "queued"  # queued | running | succeeded | declined | failed | cancelled | interrupted
    progress: float = 0.0
    stage: str = "queued"
    report: JobReport = dataclasses.field(default_factory=JobReport)
    version: int | None = None  # of the site, when the job made one
    created_at: float = dataclasses.field(default_factory=time.time)
    attempts: int = 0  # times it was begun, without those that an orderly stop of the server ended

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> Job:
        """A job that the store kept."""
        return cls(**(row | {"report": JobReport.model_validate(row["report"])}))

    def row(self) -> dict[str, Any]:
        """The job as the store keeps it."""
        # through JSON: a loss that is no number becomes null, which every database takes
        return vars(self) | {"report": json.loads(self.report.model_dump_json())}

    def changes_at_end(self, state: str) -> dict[str, Any]:
        """What changes when the job ends in this state; changes nothing itself."""
        if state == "succeeded":
            return {"state": state, "stage": "done", "progress": 1.0}
        return {"state": state, "stage": state, "progress": self.progress}

    def snapshot(self, **changes: Any) -> Job:
        """A copy, with these changes, that stays as it is while the job goes on."""
        return dataclasses.replace(self, report=self.report.model_copy(deep=True), **changes)
