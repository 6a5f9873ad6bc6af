"""Clusters and single items without a name, and the person whom each looks most like."""

from __future__ import annotations

import numpy as np

from reid.doubts import Queries
from server.doubtful.moment import LOWEST, Candidate, Moment, Searches


def unnamed(moment: Moment, searches: Searches) -> list[Candidate]:
    """Who may be a person that has a name."""
    units, meaning = moment.units, moment.meaning
    marks = moment.unnamed.marks()
    seqs = moment.unnamed.seqs.tolist()
    queries = Queries(
        [tuple(marks[row] for row in unit) for unit in units.rows],
        units.vectors,
        [moment.denied([seqs[row] for row in unit]) for unit in units.rows],
    )
    people, scores = searches.units.find(queries, moment.gallery)
    found = []
    for number in np.flatnonzero(scores[:, 0] >= meaning.floor).tolist():
        score = float(scores[number, 0])
        probability = meaning.probability(score)
        if probability >= LOWEST:
            person, items = int(people[number, 0]), len(units.rows[number])
            found.append(Candidate("unnamed", number, person, score, None, probability, items))
    return found
