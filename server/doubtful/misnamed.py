"""Items that look more like another person than like the one whose name they bear."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from reid.doubts import Queries
from server.doubtful.moment import LOWEST, Candidate, Moment, Searches


def misnamed(moment: Moment, searches: Searches, merges: Sequence[Candidate]) -> list[Candidate]:
    """Items of people who have others. Where it is likelier that the two people are one altogether, that is
    asked instead."""
    gallery, meaning, persons = moment.gallery, moment.meaning, moment.persons
    rows = np.flatnonzero(np.diff(gallery.starts)[persons] > 1) if len(persons) else persons
    denied, own_names = moment.said.denied, [frozenset({name}) for name in gallery.people]
    barred = [
        own_names[person] | denied[seq] if seq in denied else own_names[person]
        for person, seq in zip(persons[rows].tolist(), moment.seqs[rows].tolist(), strict=True)
    ]
    queries = Queries([moment.marks[row] for row in rows.tolist()], gallery.vectors[rows], barred)
    people, scores = searches.items.find(queries, gallery)
    own = searches.own.find(gallery)[rows]
    likely = {(each.asked, each.other): each.probability for each in merges}
    found = []
    for place in np.flatnonzero((scores[:, 0] >= meaning.floor) & (scores[:, 0] > own)).tolist():
        row, other = int(rows[place]), int(people[place, 0])
        score, own_score = float(scores[place, 0]), float(own[place])
        one = int(persons[row])
        # three answers are possible: the other person, the one whose name it bears, and neither
        odds, own_odds = math.exp(meaning.logit(score)), math.exp(meaning.logit(own_score))
        probability = odds / (1 + odds + own_odds)
        both = likely.get((min(one, other), max(one, other)), 0.0)
        if probability >= LOWEST and probability > both:
            found.append(Candidate("misnamed", row, other, score, own_score, probability, 1))
    return found
