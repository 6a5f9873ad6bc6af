"""Answers of the review queue. They are kept by the two items that a case showed first, so they hold no names
and the database deletes them with either item."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any, Literal

import sqlalchemy as sa

from server.gallery import tables as t
from server.gallery.database import Database

Kind = Literal["unnamed", "merge", "misnamed"]
Answer = Literal["same", "different", "skip"]
Pair = tuple[int, int]  # seqs of the items that a case shows first


@dataclasses.dataclass(frozen=True)
class Review:
    """An answer.

    Args:
        entry: of the journal, which the answer made; None for one that changed nothing.
        undone: whether that entry was undone, so that the answer no longer holds.
        at: seconds since 1970.
    """

    kind: Kind
    pair: Pair
    answer: Answer
    entry: int | None
    actor: str
    at: float
    undone: bool


@dataclasses.dataclass(frozen=True)
class Asked:
    """How an item was asked about: with its best match among all people who have a name.

    Args:
        score: the cosine of both, in `space_id`.
    """

    score: float
    space_id: str


@dataclasses.dataclass(frozen=True)
class Answered:
    """An item whose best match somebody has called right or wrong.

    Args:
        seq: of the item.
    """

    seq: int
    asked: Asked
    same: bool


class ReviewRows:
    """The answers of every site."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def skipped(self, site: str) -> set[tuple[Kind, Pair]]:
        """Which cases of a site were put behind the others: their kinds and the two items of each."""
        columns = t.reviews.c
        query = sa.select(columns.kind, columns.first, columns.second)
        with self.database.read() as db:
            rows = db.execute(query.where(columns.site == site, columns.answer == "skip")).all()
        return {(row.kind, (row.first, row.second)) for row in rows}

    def of_pair(self, site: str, pair: Pair) -> list[Review]:
        """Answers to cases of a site that showed these two items first, the oldest first."""
        columns, journal = t.reviews.c, t.journal.c
        query = sa.select(t.reviews, journal.undone_by).outerjoin(t.journal, journal.entry == columns.entry)
        query = query.where(columns.site == site, columns.first == pair[0], columns.second == pair[1])
        with self.database.read() as db:
            rows = db.execute(query.order_by(columns.at)).all()
        return [
            Review(
                row.kind,
                (row.first, row.second),
                row.answer,
                row.entry,
                row.actor,
                row.at,
                row.undone_by is not None,
            )
            for row in rows
        ]

    def answered(self, site: str) -> list[Answered]:
        """Items of a site about whose best match somebody has said `same` or `different`, the oldest answer
        first; without answers that were undone, and without `same` where the item bears another name by
        now."""
        columns, journal, change, item = t.reviews.c, t.journal.c, t.journal_changes.c, t.items.c
        query = sa.select(
            columns.first, columns.score, columns.space_id, columns.answer, change.after, item.identity
        )
        named = change.entry == columns.entry, change.seq == columns.first, change.field == "identity"
        query = query.outerjoin(t.journal, journal.entry == columns.entry)
        query = query.outerjoin(t.journal_changes, sa.and_(*named)).join(t.items, item.seq == columns.first)
        holds = columns.answer != "skip", columns.score.is_not(None), journal.undone_by.is_(None)
        with self.database.read() as db:
            rows = db.execute(query.where(columns.site == site, *holds).order_by(columns.at)).all()
        answers = []
        for row in rows:
            same = row.answer == "same"
            # the journal forgets what was written long ago; then the answer holds as it is
            if not same or row.after is None or json.loads(row.after) == row.identity:
                answers.append(Answered(row.first, Asked(row.score, row.space_id), same))
        return answers


def keep(
    db: sa.Connection,
    site: str,
    kind: Kind,
    pair: Pair,
    answer: Answer,
    entry: int | None,
    actor: str,
    asked: Asked | None = None,
) -> None:
    """Keeps an answer inside an open transaction, in the place of the one before to a case of this kind that
    showed the same two items.

    Args:
        asked: None unless one item was asked about with its best match.
    """
    columns = t.reviews.c
    same = [columns.first == pair[0], columns.second == pair[1], columns.kind == kind]
    db.execute(t.reviews.delete().where(*same))
    values: dict[str, Any] = {"first": pair[0], "second": pair[1], "kind": kind}
    values |= {"site": site, "answer": answer}
    values |= {"entry": entry, "actor": actor, "at": round(time.time(), 6)}
    if asked is not None:
        values |= {"score": asked.score, "space_id": asked.space_id}
    db.execute(t.reviews.insert().values(**values))
