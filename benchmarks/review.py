"""What an answer of the review queue is worth: the error that is left after so many, beside other orders.

python -m benchmarks.review BUNDLE --market1501 ROOT --worlds WORLD [WORLD ...] --cache FOLDER

Of 400 people of a site one in ten has no name at all. Of the others every second item has a name; one in
twenty of these names is somebody else's, and one person in ten has two names. Somebody who knows the truth
looks at the items that a case shows, and answers `same` where most items of both sides show one person. Ten
cases are answered, then the queue is listed again. What is asked is what the server asks (`server.doubtful`,
`server.clustering`), by the calibration on the model's card. Orders of the same cases:

- `most useful`: the server's, probability times items. `likeliest`: by probability alone.
- `undecided first`: items without a name by how undecided they are, names that may be wrong by probability.
- `undecided, by items`: by how undecided a case is, times items. `random`: any.

Printed are the percent of items that bear a wrong name, or none though their person has one, and the percent
of held-out queries whose best item of another camera does not bear their person's name; and how many answers
it took until half of either error was left. A person's name is the one that most of its items bear, and a
name is the person's who has most items under it. The order was chosen at rendered sites, and Market-1501's
test half judges it. FOLDER is that of `benchmarks.answers`.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.answers import Embedded as Crops
from benchmarks.answers import market, rendered
from benchmarks.machine import say_machine
from reid.bundle import Bundle
from server.calibration import of_card
from server.clustering import Grouped, group, without_gone
from server.doubtful import Doubt, Embedded, Searches, candidates, meaning_of, moment_of, useful
from server.doubtful.cases import Side, doubt_of
from server.doubtful.moment import Candidate
from server.gallery.faiss_index import FaissIndex
from server.gallery.people import Said
from server.gallery.records import Version
from server.sites import SiteState

PEOPLE, PAGE = 400, 10
STEPS = (0, 10, 20, 50, 100, 200, 400, 800, 1600)
STRANGERS, NAMED, WRONG, TWICE = 0.1, 0.5, 0.05, 0.1
Order = Callable[[Candidate, np.random.Generator], float]


def entropy(probability: float) -> float:
    """In bits: 1 where it is undecided, 0 where it is certain."""
    parts = np.clip([probability, 1 - probability], 1e-12, 1)
    return float(-(parts * np.log2(parts)).sum())


ORDERS: dict[str, Order] = {
    "most useful": lambda case, rng: useful(case),
    "likeliest": lambda case, rng: case.probability,
    "undecided first": lambda case, rng: (
        entropy(case.probability) if case.kind == "unnamed" else case.probability
    ),
    "undecided, by items": lambda case, rng: entropy(case.probability) * case.items,
    "random": lambda case, rng: rng.random(),
}


class World:
    """A site, its labels and the truth.

    Args:
        crops: of everybody. seed: of the choice of people and names.
    """

    def __init__(self, crops: Crops, bundle: Bundle, seed: int) -> None:
        rng = np.random.default_rng(seed)
        people = rng.permutation(np.unique(crops.pids))[:PEOPLE]
        chosen = np.isin(crops.pids, people)
        items = np.flatnonzero(chosen & ~crops.query)
        self.vectors, self.pids = crops.vectors[items], crops.pids[items]
        self.cameras = [str(camera) for camera in crops.cameras[items]]
        self.names = _first_names(self.pids, people, rng)
        self.denied: dict[int, set[str]] = {}
        self.different: set[tuple[str, str]] = set()
        self.index = FaissIndex(self.vectors.shape[1])
        self.index.add(np.arange(len(items)), self.cameras, self.vectors)
        card = of_card(bundle.manifest, "space")
        version = Version("site", 1, "", "space", "", self.index.dim, None, "", 0, "none", 0, card)
        self.state = SiteState(version, self.index)
        self.searches = Searches()
        self.grouped: Grouped | None = None
        known = people[int(STRANGERS * len(people)) :]
        self._take_queries(crops, np.flatnonzero(np.isin(crops.pids, known) & crops.query))

    def _take_queries(self, crops: Crops, rows: np.ndarray) -> None:
        """Whom each query shows, and its best item of another camera; without queries that have none."""
        scores = crops.vectors[rows] @ self.vectors.T
        scores[crops.cameras[rows][:, None] == np.array(self.cameras, int)] = -np.inf
        self.asked, self.found = crops.pids[rows], scores.argmax(axis=1)

    def errors(self) -> tuple[float, float]:
        """Of items and of queries, in percent."""
        borne: dict[str, Counter[int]] = {}
        for pid, name in zip(self.pids.tolist(), self.names, strict=True):
            if name is not None:
                borne.setdefault(name, Counter())[pid] += 1
        of_people: dict[int, tuple[int, str]] = {}
        for name, counts in borne.items():
            pid, count = counts.most_common(1)[0]
            of_people[pid] = max(of_people.get(pid, (0, "")), (count, name))
        right = {pid: name for pid, (_, name) in of_people.items()}
        wrong = [right.get(pid) != name for pid, name in zip(self.pids.tolist(), self.names, strict=True)]
        missed = [
            self.names[item] is None or self.names[item] != right.get(pid)
            for pid, item in zip(self.asked.tolist(), self.found.tolist(), strict=True)
        ]
        return 100 * float(np.mean(wrong)), 100 * float(np.mean(missed))

    def cases(self, order: Order, rng: np.random.Generator) -> list[Doubt]:
        """The first page of the queue."""
        named = [row for row, name in enumerate(self.names) if name is not None]
        unnamed = [row for row, name in enumerate(self.names) if name is None]
        of_named, of_unnamed = self._embedded(named), self._embedded(unnamed)
        meaning = meaning_of(self.state)
        seqs, cameras, vectors = of_unnamed.seqs, of_unnamed.cameras, of_unnamed.vectors
        of = (1, meaning.floor)
        kept = without_gone(self.grouped, of, seqs, cameras)
        self.grouped = kept or group(of, seqs, cameras, (np.arange(len(seqs)), vectors), meaning.floor)
        denied = {seq: frozenset(names) for seq, names in self.denied.items()}
        said = Said(frozenset(), denied, frozenset(self.different))
        names = [self.names[row] or "" for row in named]
        moment = moment_of(meaning, of_named, names, of_unnamed, self.grouped, said)
        found = [
            (order(each, rng), number, each) for number, each in enumerate(candidates(moment, self.searches))
        ]
        return [
            doubt_of(moment, each) for *_, each in sorted(found, key=lambda each: (-each[0], each[1]))[:PAGE]
        ]

    def _embedded(self, rows: list[int]) -> Embedded:
        return Embedded(np.array(rows, np.int64), [self.cameras[row] for row in rows], self.vectors[rows])

    def answer(self, doubt: Doubt) -> bool:
        """Decides a case as the server does. False, with nothing changed, where it is not open any more."""
        one, other = doubt.one.identity, doubt.other.identity or ""
        sides = ((doubt.one, one), (doubt.other, other))
        shown = [(seq, name) for side, name in sides for seq in (*side.seqs, *side.evidence[:1])]
        if any(self.names[seq] != name for seq, name in shown):
            return False
        same = self._who(doubt.one) == self._who(doubt.other)
        if doubt.kind == "merge" and same:
            self._merge(one or "", other)
        elif doubt.kind == "merge":
            self.different.add((min(one or "", other), max(one or "", other)))
        else:
            for seq in doubt.one.seqs:
                if same:
                    self.names[seq] = other
                else:
                    self.denied.setdefault(seq, set()).add(other)
        return True

    def _merge(self, name: str, into: str) -> None:
        self.names = [into if each == name else each for each in self.names]
        for names in self.denied.values():
            if name in names:
                names.remove(name)
                names.add(into)
        pairs = [tuple(into if each == name else each for each in pair) for pair in self.different]
        self.different = {(min(pair), max(pair)) for pair in pairs}

    def _who(self, side: Side) -> int:
        """Whom most of the shown items show."""
        return Counter(self.pids[list(side.evidence)].tolist()).most_common(1)[0][0]


def _first_names(pids: np.ndarray, people: np.ndarray, rng: np.random.Generator) -> list[str | None]:
    """Of each item; the first tenth of the people are strangers."""
    strangers = set(people[: int(STRANGERS * len(people))].tolist())
    known = [pid for pid in people.tolist() if pid not in strangers]
    twice = set(rng.choice(known, int(TWICE * len(known)), replace=False).tolist())
    names: list[str | None] = []
    for pid in pids.tolist():
        if pid in strangers or rng.random() > NAMED:
            names.append(None)
            continue
        shown = int(rng.choice(known)) if rng.random() < WRONG else pid
        names.append(f"{shown}-again" if shown in twice and rng.random() < 0.5 else f"{shown}")
    return names


@dataclasses.dataclass
class Course:
    """Errors of items and of queries after so many answers."""

    answers: list[int]
    errors: list[tuple[float, float]]

    def after(self, answers: int, which: int) -> str:
        """The error after that many, or where the queue ended before."""
        reached = [number for number, count in enumerate(self.answers) if count <= answers]
        ended = self.answers[-1] < answers
        return f"{self.errors[reached[-1]][which]:.1f}{' (end)' if ended else ''}"

    def halved(self, which: int) -> str:
        """After how many answers half of the first error was left."""
        for answers, errors in zip(self.answers, self.errors, strict=True):
            if 2 * errors[which] <= self.errors[0][which]:
                return str(answers)
        return "never"


def course(world: World, order: Order, most: int, seed: int) -> Course:
    """Answers until the queue is empty, or that many times."""
    rng = np.random.default_rng(seed)
    made, found = 0, Course([0], [world.errors()])
    while made < most:
        answered = sum(world.answer(doubt) for doubt in world.cases(order, rng))
        if not answered:
            break
        made += answered
        found.answers.append(made)
        found.errors.append(world.errors())
    return found


def measure(name: str, crops: Crops, bundle: Bundle, orders: Sequence[str], most: int, seed: int) -> None:
    """Prints the rows of a site."""
    for order in orders:
        found = course(World(crops, bundle, seed), ORDERS[order], most, seed)
        for which, error in enumerate(("items", "queries")):
            cells = [found.after(step, which) for step in STEPS if step <= most]
            print(f"| {name} | {error} | {order} | {' | '.join(cells)} | {found.halved(which)} |", flush=True)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--market1501", type=Path, help="the root that holds it")
    parser.add_argument("--worlds", type=Path, nargs="*", default=[])
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--orders", nargs="+", choices=list(ORDERS), default=list(ORDERS))
    parser.add_argument("--answers", type=int, default=STEPS[-1])
    parser.add_argument("--seed", type=int, default=0, help="of the choice of people and names")
    options = parser.parse_args()
    bundle = Bundle.load(options.bundle)
    say_machine()
    steps = [step for step in STEPS if step <= options.answers]
    print(f"| site | error of | order | {' | '.join(str(step) for step in steps)} | half |")
    print("|" + " --- |" * (len(steps) + 4))
    if options.worlds:
        crops = rendered(options.worlds, bundle, options.cache)
        measure("rendered", crops, bundle, options.orders, options.answers, options.seed)
    if options.market1501 is not None:
        crops = market(options.market1501, bundle, options.cache)
        measure("Market-1501", crops, bundle, options.orders, options.answers, options.seed)


if __name__ == "__main__":
    main()
