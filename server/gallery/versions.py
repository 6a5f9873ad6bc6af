"""Sites, their versions, and the BatchNorm profiles that versions name."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from reid.profile import Profile, ProfileError
from server.errors import StoreUnavailable
from server.gallery import audit, journal
from server.gallery import tables as t
from server.gallery.database import Database
from server.gallery.items import erase_items
from server.gallery.records import Version


class VersionRows:
    """Which version of a site is live, and what it was made from."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add_site(self, first: Version) -> None:
        """A new site with its first version; does nothing where the site exists."""
        with self.database.write() as db:
            if db.scalar(sa.select(t.sites.c.name).where(t.sites.c.name == first.site)) is None:
                site = {"name": first.site, "version": first.version, "created_at": first.created_at}
                db.execute(t.sites.insert().values(**site))
                db.execute(t.versions.insert().values(**vars(first)))

    def delete_site(self, name: str, seqs: Sequence[int], actor: str) -> int:
        """Deletes a site with its items, versions, jobs and schedule, or nothing; returns how many items
        it had. Notes in the audit log who deleted it. Its profiles go with `drop_unused_profiles`.

        Args:
            seqs: of all of its items.
        """
        with self.database.write() as db:
            items = erase_items(db, seqs, name)
            journal.forget_site(db, name)
            for table in (t.fits, t.schedules, t.jobs, t.versions):
                db.execute(table.delete().where(table.c.site == name))
            db.execute(t.sites.delete().where(t.sites.c.name == name))
            audit.note(db, actor, "delete-site", name, {"items": items})
        return items

    def live(self) -> list[Version]:
        """The live version of every site, by name."""
        join = sa.and_(t.versions.c.site == t.sites.c.name, t.versions.c.version == t.sites.c.version)
        query = sa.select(t.versions).join(t.sites, join).order_by(t.sites.c.name)
        with self.database.read() as db:
            return [Version(**row._mapping) for row in db.execute(query)]

    def get(self, site: str, version: int) -> Version | None:
        """One version of a site."""
        query = sa.select(t.versions).where(t.versions.c.site == site, t.versions.c.version == version)
        with self.database.read() as db:
            row = db.execute(query).first()
        return Version(**row._mapping) if row is not None else None

    def latest(self, site: str, limit: int) -> list[Version]:
        """The newest versions of a site, newest first."""
        query = sa.select(t.versions).where(t.versions.c.site == site)
        with self.database.read() as db:
            rows = db.execute(query.order_by(t.versions.c.version.desc()).limit(limit)).all()
        return [Version(**row._mapping) for row in rows]

    def make_live(self, version: Version, job: str | None = None) -> bool:
        """Writes a version, makes it the live one and marks its job succeeded, in one transaction. False, and
        nothing, where the job was cancelled: who was told so must not see the version."""
        with self.database.write() as db:
            if job is not None:
                end = {"state": "succeeded", "progress": 1.0, "stage": "done", "version": version.version}
                still_wanted = t.jobs.update().where(t.jobs.c.id == job, t.jobs.c.state != "cancelled")
                if not db.execute(still_wanted.values(**end)).rowcount:
                    return False
            db.execute(t.versions.insert().values(**vars(version)))
            db.execute(t.sites.update().where(t.sites.c.name == version.site).values(version=version.version))
        return True

    def calibrate(self, version: Version) -> bool:
        """Writes the calibration of a version that exists; False where it is gone."""
        query = t.versions.update().where(
            t.versions.c.site == version.site, t.versions.c.version == version.version
        )
        with self.database.write() as db:
            return bool(db.execute(query.values(calibration=version.calibration)).rowcount)

    def save_profile(self, profile: Profile) -> str:
        """Keeps a profile under its content address and returns that."""
        with self.database.write() as db:
            if db.scalar(sa.select(t.profiles.c.id).where(t.profiles.c.id == profile.id)) is None:
                db.execute(t.profiles.insert().values(id=profile.id, data=profile.to_bytes()))
        return profile.id

    def profile(self, profile_id: str) -> Profile | None:
        """A kept profile. Raises StoreUnavailable for one that is damaged."""
        with self.database.read() as db:
            data = db.scalar(sa.select(t.profiles.c.data).where(t.profiles.c.id == profile_id))
        try:
            return Profile.from_bytes(data) if data is not None else None
        except (ProfileError, TypeError) as error:  # the latter: text in the place of bytes
            raise StoreUnavailable(
                f"{self.database.title} is damaged: profile {profile_id} cannot be read ({error}); restore "
                "it from a backup"
            ) from error

    def drop_unused_profiles(self, keep: Collection[str] = ()) -> None:
        """Deletes profiles that neither a live version nor one that rollbacks lead to has, but for those in
        `keep`."""
        used = set(keep)
        for live in self.live():
            version: Version | None = live
            while version is not None:
                used.add(version.profile_id)
                version = self.get(live.site, version.parent) if version.parent is not None else None
        with self.database.write() as db:
            kept = db.execute(sa.select(t.profiles.c.id)).scalars().all()
            for profile_id in set(kept) - used:
                db.execute(t.profiles.delete().where(t.profiles.c.id == profile_id))
