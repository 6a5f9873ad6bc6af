"""What thresholds promise in a gallery where most people have no name, by how these are counted.

python -m benchmarks.unnamed BUNDLE --market1501 ROOT --worlds WORLD [WORLD ...] --cache FOLDER

Some people are labelled, again and again others, and some more are in the gallery without a name. A
threshold is fitted to the labelled people, moved to the number of people that the gallery is counted to have,
and judged by queries of people who are not in it: observed false alarms as a multiple of those predicted.
Items without a name are counted one by one, by their clusters, and by whom they really show.
FOLDER is that of `benchmarks.answers`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from benchmarks.answers import (
    CHOICES,
    Embedded,
    Site,
    command_of,
    fitted_to,
    market,
    read_site,
    rendered,
    trial_of,
)
from reid.bundle import Bundle
from reid.calibration import calibrate
from reid.clusters import count_people, least_cosine

# labelled people, times that the gallery grows, rate of false alarms
GALLERIES = ((32, 2, 0.1), (64, 2, 0.1), (64, 4, 0.1), (64, 10, 0.1), (128, 2, 0.01), (128, 4, 0.01))
WAYS = ("one by one", "by cluster", "as they are")


class Counted(NamedTuple):
    """People of a gallery by each of WAYS."""

    items: int
    clusters: int
    people: int


def counted(site: Site, crops: Embedded, labelled: np.ndarray, unnamed: np.ndarray) -> Counted:
    """The people of a gallery, as a server counts them whose labels are those of some columns."""
    (slope, intercept), _, _ = calibrate(trial_of(site, labelled[::2], labelled[1::2]))
    named = len(labelled)
    rows = np.flatnonzero(np.isin(crops.pids, np.unique(crops.pids)[unnamed]))

    def floor_among(people: int) -> float:
        return least_cosine(slope, intercept - math.log((named + people) / (named / 2)))

    found = count_people(crops.vectors[rows], floor_among)
    return Counted(named + len(rows), named + found, named + len(unnamed))


def measure(site: Site, crops: Embedded) -> None:
    """Prints a site's rows."""
    count = site.wrong.shape[1]
    for labelled, grown, rate in GALLERIES:
        people = labelled * grown
        if people > 0.9 * count:
            continue
        ratios: list[list[float]] = []
        found: list[float] = []
        for seed in range(CHOICES):
            order = np.random.default_rng((seed, labelled)).permutation(count)
            alarms = fitted_to(site, order[:labelled])
            best = site.wrong[np.isin(site.person, order[people:])][:, order[:people]].max(1)
            ways = counted(site, crops, order[:labelled], order[labelled:people])
            ratios.append([float(np.mean(best > alarms.threshold(rate, each))) / rate for each in ways])
            found.append(ways.clusters / ways.people)
        cells = []
        for low, median, high in np.percentile(ratios, (10, 50, 90), axis=0).T:
            cells.append(f"{median:.1f} ({low:.1f} to {high:.1f})")
        what = f"{labelled} | {people - labelled} | {1000 * rate:g} in 1,000"
        print(f"| {site.name} | {what} | {' | '.join(cells)} | {np.median(found):.2f} |", flush=True)


def main() -> None:
    """The command."""
    options = command_of(__doc__).parse_args()
    bundle = Bundle.load(options.bundle)
    crops = {}
    if options.worlds:
        crops["rendered"] = rendered(options.worlds, bundle, options.cache)
    if options.market1501 is not None:
        crops["Market-1501"] = market(options.market1501, bundle, options.cache)
    print(f"| site | labelled | without a name | false alarms | {' | '.join(WAYS)} | clusters / people |")
    print("|" + " --- |" * 8)
    for name, each in crops.items():
        measure(read_site(name, *each), each)


if __name__ == "__main__":
    main()
