"""The tables of the newest schema, as queries use them; `migrations/` creates and changes them."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()
_SEQ = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite numbers rows by INTEGER only

sites = sa.Table(
    "sites",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),  # the live one
    sa.Column("created_at", sa.Float, nullable=False),
)

versions = sa.Table(
    "versions",
    metadata,
    sa.Column("site", sa.String, sa.ForeignKey("sites.name", ondelete="CASCADE"), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("profile_id", sa.String, nullable=False),
    sa.Column("space_id", sa.String, nullable=False),  # in which embeddings are compared
    sa.Column("dim", sa.Integer, nullable=False),
    sa.Column("parent", sa.Integer),  # the version that a rollback returns to
    sa.Column("cause", sa.String, nullable=False),  # created | adapt | rollback | reembed
    sa.Column("created_at", sa.Float, nullable=False),
    # in which embeddings are stored
    sa.Column("raw_space_id", sa.String, nullable=False, server_default=""),
    sa.Column("tiers", sa.String),  # of adaptation, like 1+0 or none; NULL where an older version made it
    sa.Column("camera_tables", sa.Integer, nullable=False, server_default="0"),  # in its profile
    # what scores mean in its space; SQL's NULL where nothing says so
    sa.Column("calibration", sa.JSON(none_as_null=True)),
)

schedules = sa.Table(  # of sites that are adapted again by themselves
    "schedules",
    metadata,
    sa.Column("site", sa.String, sa.ForeignKey("sites.name", ondelete="CASCADE"), primary_key=True),
    sa.Column("items", sa.Integer),  # after so many new ones
    sa.Column("hours", sa.Float),
)

profiles = sa.Table(
    "profiles",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

items = sa.Table(
    "items",
    metadata,
    sa.Column("seq", _SEQ, primary_key=True, autoincrement=True),  # order of enrolling; never used twice
    sa.Column("id", sa.String, nullable=False, unique=True),
    sa.Column("site", sa.String, sa.ForeignKey("sites.name"), nullable=False),
    sa.Column("camera", sa.String),
    sa.Column("identity", sa.String),
    sa.Column("captured_at", sa.Float),  # seconds since 1970, UTC
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("enrolled_at", sa.Float, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False, server_default="1"),  # one more with every correction
    sa.Index("items_site_seq", "site", "seq"),
    sa.Index("items_site_identity", "site", "identity"),
    sqlite_autoincrement=True,
)

images = sa.Table(
    "images",
    metadata,
    sa.Column("seq", _SEQ, sa.ForeignKey("items.seq", ondelete="CASCADE"), primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),  # the uploaded bytes
)

embeddings = sa.Table(
    "embeddings",
    metadata,
    sa.Column("space_id", sa.String, primary_key=True),  # a raw one: centres are not applied yet
    sa.Column("seq", _SEQ, sa.ForeignKey("items.seq", ondelete="CASCADE"), primary_key=True, index=True),
    sa.Column("vector", sa.LargeBinary, nullable=False),  # float16 [D], little endian
)

fits = sa.Table(  # what each profile was fitted to
    "fits",
    metadata,
    sa.Column("profile_id", sa.String, sa.ForeignKey("profiles.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("site", sa.String, sa.ForeignKey("sites.name", ondelete="CASCADE"), nullable=False),
    sa.Column("count", sa.Integer, nullable=False),  # items, with those that are erased by now
    sa.Column("through", _SEQ),  # centres: of every item of the site up to this seq
)

fitted_items = sa.Table(  # tables of BatchNorm values: of these items
    "fitted_items",
    metadata,
    sa.Column(
        "profile_id", sa.String, sa.ForeignKey("fits.profile_id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("seq", _SEQ, sa.ForeignKey("items.seq", ondelete="CASCADE"), primary_key=True, index=True),
)

requests = sa.Table(
    "requests",
    metadata,
    sa.Column("key", sa.String, primary_key=True),  # digest of the Idempotency-Key, whose text is not kept
    # of the request's content; empty, as the answer is then, once every item of the request was erased
    sa.Column("fingerprint", sa.String, nullable=False),
    sa.Column("answer", sa.JSON, nullable=False),  # site, version, space_id, errors
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("spent_at", sa.Float),  # when the last of its items was erased
)

request_items = sa.Table(
    "request_items",
    metadata,
    sa.Column("key", sa.String, sa.ForeignKey("requests.key", ondelete="CASCADE"), primary_key=True),
    sa.Column("seq", _SEQ, sa.ForeignKey("items.seq", ondelete="CASCADE"), primary_key=True, index=True),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("site", sa.String, nullable=False, index=True),
    sa.Column("kind", sa.String, nullable=False),  # adapt | rollback
    sa.Column("request", sa.JSON, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("progress", sa.Float, nullable=False),
    sa.Column("stage", sa.String, nullable=False),
    sa.Column("report", sa.JSON, nullable=False),
    sa.Column("version", sa.Integer),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),  # times the job was begun
)

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("digest", sa.String, nullable=False, unique=True),
    sa.Column("scopes", sa.String, nullable=False),  # read | write | admin: one, which holds those before it
    sa.Column("created_at", sa.Float, nullable=False),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("seq", _SEQ, primary_key=True, autoincrement=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("actor", sa.String, nullable=False),
    sa.Column("action", sa.String, nullable=False),
    sa.Column("site", sa.String),
    sa.Column("detail", sa.JSON, nullable=False),
    sa.Column("item", sa.String, index=True),  # its id, until it is erased
)

people = sa.Table(  # what is known of people beside their items; a person without a row has the defaults
    "people",
    metadata,
    sa.Column("site", sa.String, sa.ForeignKey("sites.name", ondelete="CASCADE"), primary_key=True),
    sa.Column("identity", sa.String, primary_key=True),
    sa.Column("hidden", sa.Boolean, nullable=False),  # is no match
    sa.Column("feature", _SEQ),  # seq of the item whose picture stands for the person
)

denials = sa.Table(  # items that are said not to show a person
    "denials",
    metadata,
    sa.Column("seq", _SEQ, sa.ForeignKey("items.seq", ondelete="CASCADE"), primary_key=True),
    sa.Column("identity", sa.String, primary_key=True),
)

differences = sa.Table(  # pairs of names that are said to be different people, the lesser name first
    "differences",
    metadata,
    sa.Column("site", sa.String, sa.ForeignKey("sites.name", ondelete="CASCADE"), primary_key=True),
    sa.Column("identity", sa.String, primary_key=True),
    sa.Column("other", sa.String, primary_key=True),
)

journal = sa.Table(  # corrections, each of which can be undone for some time
    "journal",
    metadata,
    sa.Column("entry", _SEQ, primary_key=True, autoincrement=True),
    sa.Column("site", sa.String, sa.ForeignKey("sites.name", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("actor", sa.String, nullable=False),
    sa.Column("action", sa.String, nullable=False),
    sa.Column("items", sa.Integer, nullable=False),  # how many it changed, with those that are erased by now
    sa.Column("undoes", _SEQ),  # the entry that this one undid
    sa.Column("undone_by", _SEQ),  # the entry that undid this one, unless that was undone in its turn
    sqlite_autoincrement=True,
)

journal_changes = sa.Table(  # what an entry changed, a value a row; without names that erasures took
    "journal_changes",
    metadata,
    sa.Column("number", _SEQ, primary_key=True, autoincrement=True),
    sa.Column("entry", _SEQ, sa.ForeignKey("journal.entry", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("seq", _SEQ, sa.ForeignKey("items.seq", ondelete="CASCADE"), index=True),  # of an item
    sa.Column("field", sa.String, nullable=False),
    sa.Column("name", sa.String, nullable=False, index=True),  # of a person; empty where it is the item's own
    sa.Column("other", sa.String, nullable=False),  # of a second person
    sa.Column("before", sa.Text, nullable=False),  # JSON
    sa.Column("after", sa.Text, nullable=False),
)

reviews = sa.Table(  # answers of the review queue, one for each pair of items that a case of a kind showed
    "reviews",
    metadata,
    sa.Column("first", _SEQ, sa.ForeignKey("items.seq", ondelete="CASCADE"), primary_key=True),
    sa.Column("second", _SEQ, sa.ForeignKey("items.seq", ondelete="CASCADE"), primary_key=True, index=True),
    sa.Column("kind", sa.String, primary_key=True),  # unnamed | merge | misnamed
    sa.Column("site", sa.String, sa.ForeignKey("sites.name", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("answer", sa.String, nullable=False),  # same | different | skip
    sa.Column("entry", _SEQ),  # of the journal, whose undoing takes the answer back; NULL: none
    sa.Column("actor", sa.String, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    # the cosine with which one item was asked about with its best match, and its space; NULL: it was not so
    sa.Column("score", sa.Float),
    sa.Column("space_id", sa.String),
)

owner = sa.Table(
    "owner",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),  # 1: there is one row
    sa.Column("token", sa.String, nullable=False),  # of the server that has the gallery; see `owner.py`
    sa.Column("gallery", sa.String),  # its name in an index outside of it
)
