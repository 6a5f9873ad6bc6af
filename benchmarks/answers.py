"""What answers by person promise, against what happens: false alarms when a gallery grows, and who is found.

python -m benchmarks.answers BUNDLE --market1501 ROOT --worlds WORLD [WORLD ...] --cache FOLDER

Of Market-1501 only its test half is looked at: nothing was chosen by it. The sites of all worlds count as one
site. FOLDER, which is made, keeps embeddings for the next run. Three tables are printed for each:

- Some people are labelled, again and again others. A threshold is fitted to them alone, moved to a gallery of
  `grown` times as many people, and judged by queries of people who are in neither. `left` is the threshold of
  the labelled people, not moved; `of a rate` are the observed false alarms as a multiple of those predicted.
- The error of probabilities in the grown gallery, with and without the step of the intercept.
- The share of enrolled people's queries that are identified at a rate of false alarms, by how the items of a
  person make one score; and by calibrated thresholds and fixed cosines, with the false alarms they raise.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.sites import Crops
from reid.bundle import Bundle
from reid.calibration import Calibration, calibrate, expected_error
from reid.engines import choose_engine
from reid.false_alarms import PEOPLE_ABOVE, FalseAlarms, fit_false_alarms, people_needed
from reid.open_set import Trial
from training.data import read_dataset
from training.data.records import Record

CHOICES = 20  # of the people who are labelled
# labelled people, times that the gallery grows, rate of false alarms
GROWTHS = (
    *((32, grown, 0.1) for grown in (1, 3, 10)),
    *((64, grown, 0.1) for grown in (1, 3, 10)),
    *((128, grown, 0.1) for grown in (1, 3, 5)),
    *((64, grown, 0.01) for grown in (1, 3, 10)),
    *((128, grown, 0.01) for grown in (1, 3, 5)),
    *((200, grown, 0.01) for grown in (1, 3)),
)
RATES = (0.001, 0.01, 0.1)
COSINES = (0.6, 0.7, 0.8)
_BATCH = 64


class Site(NamedTuple):
    """Scores of queries with people.

    Args:
        wrong: float32 [Q,P], of each query with each person by the person's best crop; of its own person
            -inf. own: float32 [Q], with the own person's crops of other cameras; -inf where there are none.
        person: int [Q], the column of each query's person.
    """

    name: str
    wrong: np.ndarray
    own: np.ndarray
    person: np.ndarray
    ruled: dict[str, np.ndarray]  # [Q,P] by rule, the own person's column holding the own score


RULES = ("best item", "mean of best 3", "best of each camera, mean")


def read_site(
    name: str, vectors: np.ndarray, pids: np.ndarray, cameras: np.ndarray, query: np.ndarray
) -> Site:
    """Scores of the rows `query`, bool [N], with everybody."""
    people, column = np.unique(pids, return_inverse=True)
    rows = np.flatnonzero(query)
    shape = (len(rows), len(people))
    ruled = {rule: np.full(shape, -np.inf, np.float32) for rule in RULES}
    for number in range(len(people)):
        items = np.flatnonzero(column == number)
        scores = vectors[rows] @ vectors[items].T
        same = (column[rows] == number)[:, None] & (cameras[rows][:, None] == cameras[items])
        scores[same] = -np.inf  # of the own person, other cameras alone
        for rule, values in zip(RULES, _by_rule(scores, cameras[items]), strict=True):
            ruled[rule][:, number] = values
    person = column[rows]
    wrong = ruled[RULES[0]].copy()
    own = wrong[np.arange(len(rows)), person].copy()
    wrong[np.arange(len(rows)), person] = -np.inf
    return Site(name, wrong, own, person, ruled)


def _by_rule(scores: np.ndarray, cameras: np.ndarray) -> list[np.ndarray]:
    """float32 [Q,N], -inf for items that do not count -> [Q] by each of RULES."""
    falling = -np.sort(-scores, axis=1)
    return [falling[:, 0], _mean_of(falling[:, :3]), _mean_of(_best_of_cameras(scores, cameras))]


def _best_of_cameras(scores: np.ndarray, cameras: np.ndarray) -> np.ndarray:
    return np.stack([scores[:, cameras == camera].max(1) for camera in np.unique(cameras)], 1)


def _mean_of(scores: np.ndarray) -> np.ndarray:
    """The mean of those that count; -inf where none does."""
    counts = np.isfinite(scores)
    sums = np.where(counts, scores, 0).sum(1)
    return np.where(counts.any(1), sums / np.maximum(counts.sum(1), 1), -np.inf)


def fitted_to(site: Site, labelled: np.ndarray) -> FalseAlarms:
    """The tail of wrong scores among some columns."""
    of_labelled = site.wrong[np.isin(site.person, labelled)][:, labelled]
    falling = -np.sort(-of_labelled, axis=1)[:, :PEOPLE_ABOVE]
    return fit_false_alarms(falling, len(labelled) - 1)


def trial_of(site: Site, enrolled: np.ndarray, unknown: np.ndarray) -> Trial:
    """The best match of every query of two groups of people."""
    rows = np.flatnonzero(np.isin(site.person, np.concatenate([enrolled, unknown])))
    person, known = site.person[rows], np.isin(site.person[rows], enrolled)
    wrong, own = site.wrong[rows][:, enrolled].max(1), np.where(known, site.own[rows], -np.inf)
    return Trial(person, np.maximum(wrong, own), own > wrong, ~known, known & np.isfinite(own))


def growth(site: Site) -> None:
    """Prints how many false alarms a moved threshold raises, for each one predicted."""
    print(f"\n{site.name}: {site.wrong.shape[1]} people, {len(site.person)} queries")
    print("| labelled | grown | rate | reached | of a rate: median (10 to 90 %) | left: median |")
    print("| --- | --- | --- | --- | --- | --- |")
    count = site.wrong.shape[1]
    for labelled, grown, rate in GROWTHS:
        people = labelled * grown
        if people > 0.9 * count:
            continue
        moved: list[float] = []
        left: list[float] = []
        for seed in range(CHOICES):
            order = np.random.default_rng((seed, labelled)).permutation(count)
            alarms = fitted_to(site, order[:labelled])
            best = site.wrong[np.isin(site.person, order[people:])][:, order[:people]].max(1)
            moved.append(np.mean(best > alarms.threshold(rate, people)) / rate)
            left.append(np.mean(best > alarms.threshold(rate, labelled)) / rate)
        low, median, high = np.percentile(moved, (10, 50, 90))
        reached = "yes" if labelled >= people_needed(rate, people) else "refused"
        print(
            f"| {labelled} | {grown} | {1000 * rate:g} in 1,000 | {reached} | {median:.1f} ({low:.1f} to "
            f"{high:.1f}) | {np.median(left):.1f} |"
        )


def probabilities(site: Site) -> None:
    """Prints the error of probabilities at the size of the labels and in a grown gallery."""
    print("\n| labelled | grown | error | intercept not moved | Cllr of people not fitted to |")
    print("| --- | --- | --- | --- | --- |")
    count = site.wrong.shape[1]
    for labelled, grown in ((64, 1), (64, 3), (64, 5), (128, 1), (128, 2)):
        enrolled = labelled * grown
        if 2 * enrolled + labelled > count:
            continue
        moved: list[float] = []
        left: list[float] = []
        costs: list[float] = []
        for seed in range(CHOICES):
            order = np.random.default_rng((seed, labelled)).permutation(count)
            fit_on, rest = order[:labelled], order[labelled:]
            fitted = calibrate(trial_of(site, fit_on[::2], fit_on[1::2]))
            (slope, intercept), _, cllr = fitted
            costs.append(cllr)
            trial = trial_of(site, rest[:enrolled], rest[enrolled : 2 * enrolled])
            queries = trial.unknown | trial.known
            step = np.log(enrolled / (labelled / 2))
            for errors, now in ((moved, intercept - step), (left, intercept)):
                found = Calibration(slope, now)(trial.best[queries])
                errors.append(100 * expected_error(found, trial.right[queries]))
        errors_shown = f"{np.mean(moved):.1f} % | {np.mean(left):.1f} %"
        print(f"| {labelled} | {grown} | {errors_shown} | {np.mean(costs):.2f} |")


def identified(site: Site) -> None:
    """Prints how many enrolled people's queries are identified at rates of false alarms, half of the people
    being enrolled."""
    count = site.wrong.shape[1]
    order = np.random.default_rng(0).permutation(count)
    enrolled, unknown = order[: count // 2], order[count // 2 :]
    heads = " | ".join(f"{1000 * rate:g} in 1,000" for rate in RATES)
    print(f"\n| identified at false alarms of | {heads} |\n| --- |{' --- |' * len(RATES)}")
    for rule in RULES:
        best, right, known = _first(site, site.ruled[rule], enrolled)
        alarms = np.sort(best[np.isin(site.person, unknown)])[::-1]
        shares = []
        for rate in RATES:
            threshold = alarms[int(rate * len(alarms))]
            shares.append(f"{100 * np.mean((right & (best > threshold))[known]):.1f} %")
        print(f"| {rule} | {' | '.join(shares)} |")
    best, right, known = _first(site, site.ruled[RULES[0]], enrolled)
    print("\n| threshold | false alarms in 1,000 | identified |\n| --- | --- | --- |")
    tail = fitted_to(site, enrolled)
    named = {f"calibrated, {1000 * rate:g} in 1,000": tail.threshold(rate, len(enrolled)) for rate in RATES}
    for name, threshold in (named | {f"cosine {value}": value for value in COSINES}).items():
        alarm = 1000 * np.mean(best[np.isin(site.person, unknown)] > threshold)
        hit = 100 * np.mean((right & (best > threshold))[known])
        print(f"| {name} | {alarm:.0f} | {hit:.1f} % |")


def _first(site: Site, scores: np.ndarray, enrolled: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best score [Q] among enrolled people, whether it is the right person's, whether there is one."""
    among = scores[:, enrolled]
    right = enrolled[among.argmax(1)] == site.person
    return among.max(1), right, np.isin(site.person, enrolled) & np.isfinite(site.own)


class Embedded(NamedTuple):
    """Crops of a site: float32 [N,D], unit length; int [N] people and cameras; bool [N], whether one asks."""

    vectors: np.ndarray
    pids: np.ndarray
    cameras: np.ndarray
    query: np.ndarray


def embedded(name: str, records: list[Record], query: np.ndarray, bundle: Bundle, cache: Path) -> Embedded:
    """Embeds crops, or reads what an earlier run has kept of them."""
    kept = cache / f"{name}.npz"
    if not kept.is_file():
        engine, size = choose_engine(bundle), (bundle.manifest.height, bundle.manifest.width)
        parts = []
        for start in range(0, len(records), _BATCH):
            parts.append(engine.embed(Crops.read(records[start : start + _BATCH], size).pixels))
        pids, cameras = np.array([r.pid for r in records]), np.array([r.camid for r in records])
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(kept, vectors=np.concatenate(parts), pids=pids, cameras=cameras, query=query)
    with np.load(kept) as stored:
        vectors = stored["vectors"].astype(np.float32)
        return Embedded(vectors, stored["pids"], stored["cameras"], stored["query"])


def market(root: Path, bundle: Bundle, cache: Path) -> Embedded:
    """The people of Market-1501's test half; its queries ask."""
    dataset = read_dataset("market1501", root)
    gallery = [record for record in dataset.gallery if record.pid > 0]  # 0: nobody's, or many people's
    query = np.arange(len(dataset.query) + len(gallery)) < len(dataset.query)
    return embedded("market1501", [*dataset.query, *gallery], query, bundle, cache)


def rendered(worlds: list[Path], bundle: Bundle, cache: Path) -> Embedded:
    """The people of every site of some worlds; a crop of each at each camera asks."""
    records: list[Record] = []
    for world in worlds:
        for number, path in enumerate(sorted(world.glob("site-*"))):
            dataset = read_dataset(f"world:{path.name}", world)
            step = 1000 * (len(records) + number + 1)
            for record in (*dataset.train, *dataset.query, *dataset.gallery):
                if record.pid >= 0:
                    records.append(record._replace(pid=record.pid + step, camid=record.camid + step))
    first = {(record.pid, record.camid): row for row, record in reversed(list(enumerate(records)))}
    query = np.isin(np.arange(len(records)), list(first.values()))
    return embedded("rendered", records, query, bundle, cache)


def command_of(description: str | None) -> argparse.ArgumentParser:
    """The options of benchmarks over the crops of a bundle: which crops, and where their vectors are kept."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--market1501", type=Path, help="the root that holds it")
    parser.add_argument("--worlds", type=Path, nargs="*", default=[])
    parser.add_argument("--cache", type=Path, required=True)
    return parser


def main() -> None:
    """The command."""
    options = command_of(__doc__).parse_args()
    bundle = Bundle.load(options.bundle)
    crops = {}
    if options.worlds:
        crops["rendered"] = rendered(options.worlds, bundle, options.cache)
    if options.market1501 is not None:
        crops["market1501"] = market(options.market1501, bundle, options.cache)
    sites = [read_site(name, *each) for name, each in crops.items()]
    for site in sites:
        growth(site)
        probabilities(site)
        identified(site)


if __name__ == "__main__":
    main()
