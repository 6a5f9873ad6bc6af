"""What the console shows and no other call answers: a site's cameras and versions, the server's load."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import sqlalchemy as sa
from pydantic import BaseModel, Field

from server.calibration import FEWEST_ANSWERS, FEWEST_PEOPLE, FEWEST_TRACKS
from server.calibration.by_tracks import FEWEST_MEETINGS
from server.engines import Engines
from server.fields import iso
from server.gallery.database import Database
from server.gallery.store import Store
from server.jobs import Jobs
from server.reports import CalibrationReport, ServerReport, SiteReport
from server.settings import Settings
from server.sites import Sites
from server.status import Status
from server.telemetry import Telemetry
from server.thresholds import curve_of

_NEWEST = 20  # versions of a site, jobs
# of 1,000 queries of unknown people: the stops of the page's slider, about evenly on a log scale
_STEPS = (1, 1.5, 2, 3, 4, 5, 6, 8)
_FALSE_ALARMS = [
    rate for unit in (0.1, 1, 10, 100) for step in _STEPS if (rate := round(step * unit, 2)) <= 500
]


class CameraReport(BaseModel):
    """A camera of a site."""

    camera: str | None = Field(description="null: items without one")
    items: int
    identities: int = Field(description="how many different ones the items name")


class VersionReport(BaseModel):
    """A version of a site."""

    version: int
    cause: str
    tiers: str | None
    created_at: str | None
    live: bool


class JobLine(BaseModel):
    """A job in a list."""

    job: str
    site: str
    kind: str
    state: str
    stage: str
    progress: float
    created_at: str | None
    version: int | None
    why: str | None = Field(description="why it declined or failed")


class SiteOverview(BaseModel):
    """Everything of a site that fits on a page."""

    site: SiteReport
    cameras: list[CameraReport]
    versions: list[VersionReport]
    jobs: list[JobLine]


class PointReport(BaseModel):
    """What a rate of false alarms costs."""

    false_alarms_per_1000: float
    threshold: float | None = Field(description="cosine; null where labels are too few")
    missed: float | None = Field(description="share of queries of enrolled people that are not identified")
    people_needed: int = Field(description="how many people have to be labelled")


class CalibrationOverview(BaseModel):
    """What scores of a site mean, and what each rate of false alarms costs."""

    calibration: CalibrationReport | None
    curve: list[PointReport] = Field(description="by rising rate; empty unless it was measured at the site")
    compared: int | None = Field(description="people whose crops were compared; null unless it was measured")
    fewest_people: int = Field(description="who have to be seen by two cameras")
    fewest_tracks: int = Field(description="of two moments each")
    fewest_meetings: int = Field(description="of two tracks at one camera in one second, without names")
    fewest_answers: int = Field(description="of the review queue, where they alone are taken")


class SystemOverview(BaseModel):
    """What really runs, and how busy it is."""

    info: ServerReport
    queued_crops: int
    max_queued_crops: int
    queries: int = Field(description="answered since the start")
    query_seconds_p50: float | None
    query_seconds_p99: float | None
    items: int
    sites: int
    index_bytes: int = Field(description="half a float32 for each value of each item")
    resident_bytes: int | None = Field(description="memory of the process; null where that is not known")
    store: str = Field(description="which kind of database")
    store_bytes: int | None
    free_bytes: int | None = Field(description="of the disk of the data folder")
    purged: bool | None = Field(description="whether what was erased has left the files; null: not known")
    jobs: list[JobLine]


class Console:
    """The use cases."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        engines: Engines,
        sites: Sites,
        jobs: Jobs,
        status: Status,
        telemetry: Telemetry,
    ) -> None:
        self.settings, self.store, self.engines, self.sites = settings, store, engines, sites
        self.jobs, self.status, self.telemetry = jobs, status, telemetry

    def site(self, name: str) -> SiteOverview:
        """A site. Reads the store. Raises NotFound."""
        site = self.sites.get(name)
        live = site.state.version.version
        versions = [
            VersionReport(
                version=each.version,
                cause=each.cause,
                tiers=each.tiers,
                created_at=iso(each.created_at),
                live=each.version == live,
            )
            for each in self.store.versions.latest(name, _NEWEST)
        ]
        cameras = [
            CameraReport(camera=camera, items=items, identities=identities)
            for camera, items, identities in self.store.items.by_camera(name)
        ]
        return SiteOverview(
            site=self.status.site(site), cameras=cameras, versions=versions, jobs=self._jobs(name)
        )

    def calibration(self, name: str) -> CalibrationOverview:
        """What scores of a site mean. Raises NotFound."""
        site = self.sites.get(name)
        state = site.state
        points = curve_of(state.version, len(state.index), _FALSE_ALARMS)
        known = self.status.site(site).calibration
        measured = state.version.calibration["measured"] if points and state.version.calibration else None
        return CalibrationOverview(
            calibration=known,
            curve=[PointReport.model_validate(point._asdict()) for point in points],
            compared=measured["compared"] + 1 if measured else None,
            fewest_people=FEWEST_PEOPLE,
            fewest_tracks=FEWEST_TRACKS,
            fewest_meetings=FEWEST_MEETINGS,
            fewest_answers=FEWEST_ANSWERS,
        )

    def system(self) -> SystemOverview:
        """The server. Reads the store."""
        sizes = [len(site.state.index) for site in self.sites.all()]
        half, slow = self.telemetry.seconds_of("POST /query", (0.5, 0.99))
        info = self.status.server()
        return SystemOverview(
            info=info,
            queued_crops=self.engines.queued,
            max_queued_crops=self.settings.max_queued_crops,
            queries=self.telemetry.count_of("POST /query"),
            query_seconds_p50=half,
            query_seconds_p99=slow,
            items=sum(sizes),
            sites=len(sizes),
            index_bytes=2 * info.bundle.dim * sum(sizes),
            resident_bytes=_resident_bytes(),
            store="SQLite" if self.store.database.is_sqlite else "PostgreSQL",
            store_bytes=_bytes_of(self.store.database),
            free_bytes=_free_bytes(self.settings.data),
            purged=self.store.purge.purged,
            jobs=self._jobs(None),
        )

    def _jobs(self, site: str | None) -> list[JobLine]:
        lines = []
        for row in self.store.jobs.latest(site, _NEWEST):
            job = self.jobs.get(row["id"])  # the row of a job that runs is older than what the job says
            report = job.report
            lines.append(
                JobLine(
                    job=job.id,
                    site=job.site,
                    kind=job.kind,
                    state=job.state,
                    stage=job.stage,
                    progress=job.progress,
                    created_at=iso(job.created_at),
                    version=job.version,
                    why=report.reason or report.error,
                )
            )
        return lines


def _resident_bytes() -> int | None:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _bytes_of(database: Database) -> int | None:
    """How much room the gallery takes, with its log."""
    if database.file is None:
        with database.read() as db:
            return db.scalar(sa.text("SELECT pg_database_size(current_database())"))
    files = [database.file, database.file.with_name(f"{database.file.name}-wal")]
    return sum(file.stat().st_size for file in files if file.exists())


def _free_bytes(data: Path) -> int | None:
    try:
        return shutil.disk_usage(data).free
    except OSError:
        return None
