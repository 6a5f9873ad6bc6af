"""Two people who look like one: each like the other, by the mean of its items."""

from __future__ import annotations

import numpy as np

from reid.doubts import NOBODY, Queries
from server.doubtful.moment import LOWEST, Candidate, Moment, Searches


def merges(moment: Moment, searches: Searches) -> list[Candidate]:
    """Pairs of people, the lesser number as what is asked about."""
    gallery, meaning, means = moment.gallery, moment.meaning, moment.means
    queries = Queries(list(zip(gallery.people, gallery.marks, strict=True)), means, _never_one(moment))
    people, scores = searches.people.find(queries, gallery)
    sizes = np.diff(gallery.starts)
    found: dict[tuple[int, int], Candidate] = {}
    for number, column in np.argwhere((scores >= meaning.floor) & (people != NOBODY)).tolist():
        other, forth = int(people[number, column]), float(scores[number, column])
        pair = (min(number, other), max(number, other))
        if pair in found or meaning.probability(forth) < LOWEST:
            continue
        # both ways: an item under a wrong name makes its person look like the right one, but not back
        score = min(forth, float((gallery.of(number) @ means[other]).max()))
        probability = meaning.probability(score)
        if score >= meaning.floor and probability >= LOWEST:
            items = int(min(sizes[number], sizes[other]))
            found[pair] = Candidate("merge", *pair, score, None, probability, items)
    return list(found.values())


def _never_one(moment: Moment) -> list[frozenset[str]]:
    """For each person the names of those who cannot be the same one: itself, and others by what was said."""
    never = {name: {name} for name in moment.gallery.people}
    pairs = list(moment.said.different)
    rows = {seq: row for row, seq in enumerate(moment.seqs.tolist())}
    for seq, names in moment.said.denied.items():
        if seq in rows:
            pairs += [(moment.name_of(rows[seq]), name) for name in names]
    for one, other in pairs:
        if one in never and other in never:
            never[one].add(other)
            never[other].add(one)
    return [frozenset(names) for names in never.values()]
