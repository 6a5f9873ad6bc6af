"""A gallery of an earlier version opens with everything that it held."""

import shutil
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from server.gallery import tables
from server.gallery.store import Store

OLD = Path(__file__).parent / "fixtures/gallery-schema-1.db"  # made by the version before Alembic


@pytest.fixture
def upgraded(tmp_path: Path) -> Store:
    """A copy of the old gallery, opened by this version."""
    shutil.copy(OLD, tmp_path / "gallery.db")
    return Store(tmp_path)


def test_a_gallery_of_the_version_before_alembic_is_upgraded_in_place(
    upgraded: Store, tmp_path: Path
) -> None:
    assert upgraded.items.count("garage") == 2
    assert [v.version for v in upgraded.versions.live()] == [1, 2]
    assert upgraded.versions.get("lobby", 2).space_id == "space-b"  # type: ignore[union-attr]
    assert len(next(iter(upgraded.embeddings.of_site("lobby", "space-b"))).seqs) == 8
    upgraded.close()
    assert Store(tmp_path).items.count("garage") == 2


@pytest.mark.parametrize("origin", ["new", "old"])
def test_the_migrations_make_the_tables_that_queries_use(
    origin: str, upgraded: Store, tmp_path: Path
) -> None:
    store = upgraded if origin == "old" else Store(tmp_path / "new")
    with store.database.read() as db:
        context = MigrationContext.configure(db)
        differences = compare_metadata(context, tables.metadata)
    assert [d for d in differences if d[1].name != "meta"] == []  # `meta` only says that a gallery is old
