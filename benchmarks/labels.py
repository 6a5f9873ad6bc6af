"""What calibrations are worth by what they are measured by: identities, tracks, answers of the review queue,
and with an offset for each pair of cameras.

python -m benchmarks.labels BUNDLE --market1501 ROOT --worlds WORLD [WORLD ...] --cache FOLDER

The sites are those of `benchmarks.answers`, whose FOLDER it shares. Some people are labelled, again and again
others, and each calibration is judged by people who are not: by the mean distance of probability and truth
(error), by the mean of probability less truth (bias), both in points, and by Cllr in bits. Five tables are
printed for each site:

- Tracks, as `benchmarks.tracked_crops` has them. `alarms` are the observed false alarms as a multiple of the
  predicted ones, median (10 to 90 %).
- Answers. A queue asks about crops without a name whose probability is nearest to one half, some of which
  show named people (`enrolled`), and gets true answers.
- Answers beside tracks. Each person has names at one camera alone, and tracks. The third row has no answers:
  it draws as few pairs as the fourth one does, in which answers count for something.
- Guesses. The same where nobody but the model's card says what scores mean, which answers move.
- Camera pairs. Each pair of cameras has an offset, held near the site's own value. Only crops of other
  cameras than the query's count: of those of its own all are wrong here, since what it shows of the query's
  person is left out, and an offset would learn just that. The last column shows it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from benchmarks.answers import command_of, trial_of
from benchmarks.camera_pairs import camera_pairs
from benchmarks.tracked_crops import CHOICES, Crops, market_crops, rendered_crops
from reid.bundle import Bundle
from reid.calibration import (
    Calibration,
    expected_error,
    fit,
    log_likelihood_ratio_cost,
    moved_by,
    weigh,
)
from reid.false_alarms import FalseAlarms, best_wrong_scores, fit_false_alarms
from reid.open_set import Trial, open_set_trial
from reid.tracklets import other_names, same_name, same_second, same_track

RATE = 0.1  # of false alarms


class Judged(NamedTuple):
    """How good a calibration is, in points and bits."""

    error: float
    bias: float
    cllr: float

    @classmethod
    def of(cls, calibration: Calibration, trial: Trial) -> Judged:
        """By the best matches of people whom it has not seen."""
        queries = trial.unknown | trial.known
        probabilities, right = calibration(trial.best[queries]), trial.right[queries]
        cllr = log_likelihood_ratio_cost(probabilities, right, float(right.mean()))
        bias = float((probabilities - right).mean())
        return cls(100 * expected_error(probabilities, right), 100 * bias, cllr)


def shown(judged: list[Judged]) -> str:
    """The means, as cells."""
    error, bias, cllr = np.mean(judged, axis=0)
    return f"{error:.1f} | {bias:+.1f} | {cllr:.2f}"


def fitted_to_all(trial: Trial) -> Calibration:
    """To every query of a trial, as the server does once it has judged the fit."""
    queries = trial.unknown | trial.known
    return fit(trial.best[queries], trial.right[queries])


def moved(calibration: Calibration, people: float) -> Calibration:
    """In a gallery of so many times as many people."""
    return Calibration(calibration.slope, calibration.intercept - float(np.log(people)))


def tracklets(crops: Crops) -> None:
    """Prints what tracks are worth beside identities."""
    site = crops.site
    count = site.wrong.shape[1]
    print(f"\n{site.name}\n\n| labelled | measured by | pairs | error | bias | Cllr | alarms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for labelled in (32, 64, 128):
        judged: dict[str, list[Judged]] = {}
        alarms: dict[str, list[float]] = {}
        pairs: dict[str, list[int]] = {}
        for seed in range(CHOICES):
            rng = np.random.default_rng((seed, labelled))
            order = rng.permutation(count)
            chosen, rest = order[:labelled], order[labelled:]
            enrolled = min(200, len(rest) // 2)
            trial = trial_of(site, rest[:enrolled], rest[enrolled : 2 * enrolled])
            for name, (found, used, tail) in _by_each(crops, chosen, rng).items():
                judged.setdefault(name, []).append(Judged.of(moved(found, enrolled), trial))
                pairs.setdefault(name, []).append(used)
                if tail is not None:
                    raised = np.mean(trial.best[trial.unknown] > tail.threshold(RATE, enrolled))
                    alarms.setdefault(name, []).append(float(raised) / RATE)
        for name, values in judged.items():
            few, median, many = np.percentile(alarms.get(name, [np.nan]), (10, 50, 90))
            times = f"{median:.1f} ({few:.1f} to {many:.1f})" if name in alarms else "none"
            used = int(np.median(pairs[name]))
            print(f"| {labelled} | {name} | {used} | {shown(values)} | {times} |", flush=True)


def _by_each(
    crops: Crops, chosen: np.ndarray, rng: np.random.Generator
) -> dict[str, tuple[Calibration, int, FalseAlarms | None]]:
    """By kind of label: the calibration among one person, how many best matches or pairs it is fitted to, and
    the tail of wrong scores."""
    found: dict[str, tuple[Calibration, int, FalseAlarms | None]] = {}
    half = len(chosen) // 2
    trial = trial_of(crops.site, chosen[:half], chosen[half:])
    both = int((trial.unknown | trial.known).sum())
    rows = crops.of(chosen)
    found["identities"] = moved(fitted_to_all(trial), 1 / half), both, _tail(crops, rows)
    one_camera = []  # what one camera, drawn for each person, has seen of them
    for person in np.unique(crops.pids[rows]):
        cameras = crops.cameras[crops.pids == person]
        one_camera.append(np.flatnonzero((crops.pids == person) & (crops.cameras == rng.choice(cameras))))
    for name, kept in (("names and tracks", rows), ("the same, a camera each", np.concatenate(one_camera))):
        vectors, pids, cameras = crops.vectors[kept], crops.pids[kept], crops.cameras[kept]
        one = [
            same_track(vectors, crops.tracks[kept], crops.seconds[kept]),
            same_name(vectors, pids, cameras),
        ]
        two = other_names(vectors, pids, np.arange(len(kept)))
        ratio = weigh(one, [two]).ratio
        found[name] = ratio, sum(len(each.scores) for each in (*one, two)), _tail(crops, kept)
    vectors, tracks, seconds = crops.vectors[rows], crops.tracks[rows], crops.seconds[rows]
    one = [same_track(vectors, tracks, seconds)]
    names = [str(camera) for camera in crops.cameras[rows]]
    two, met = same_second(vectors, tracks, names, seconds, [None] * len(rows))
    if met >= 16:
        pairs = len(one[0].scores) + len(two.scores)
        found["tracks alone"] = weigh(one, [two]).ratio, pairs, None
    return found


def _tail(crops: Crops, rows: np.ndarray) -> FalseAlarms:
    people = np.unique(crops.pids[rows], return_inverse=True)[1]
    wrong = best_wrong_scores(crops.vectors[rows], people, np.arange(len(rows)))
    return fit_false_alarms(wrong, len(np.unique(people)) - 1)


def answers(crops: Crops) -> None:
    """Prints what answers of a review queue are worth."""
    print("\n| labelled | enrolled | answers | used | error | bias | Cllr |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for labelled in (32, 64):
        for share in (0.2, 0.5, 0.8):
            judged: dict[tuple[int, str], list[Judged]] = {}
            for seed in range(CHOICES):
                rng = np.random.default_rng((seed, labelled))
                queue, test, enrolled = _drawn(crops, labelled, share, rng)
                for key, found in queue.calibrations((50, 150)).items():
                    grown = enrolled / (labelled / 2)
                    judged.setdefault(key, []).append(Judged.of(moved(found, grown), test))
            for (number, used), values in sorted(judged.items()):
                print(f"| {labelled} | {share:.0%} | {number} | {used} | {shown(values)} |", flush=True)


class _Queue:
    """A site where half of the labelled people's crops have no name yet, and strangers have none."""

    def __init__(
        self,
        crops: Crops,
        labelled: np.ndarray,
        strangers: np.ndarray,
        share: float,
        rng: np.random.Generator,
    ) -> None:
        self.crops, self.seed = crops, int(rng.integers(1 << 30))
        rows = crops.of(labelled)
        named = rng.random(len(rows)) < 0.5
        self.gallery, unnamed = rows[named], rows[~named]
        others = rng.permutation(crops.of(strangers))[: int(len(unnamed) * (1 - share) / share)]
        self.asked = np.concatenate([unnamed, others])
        scores = crops.vectors[self.asked] @ crops.vectors[self.gallery].T
        self.scores = scores.max(1)
        self.same = crops.pids[self.gallery][scores.argmax(1)] == crops.pids[self.asked]

    def calibrations(self, numbers: tuple[int, ...]) -> dict[tuple[int, str], Calibration]:
        """By how many answers there are and how they are used."""
        before = self._trial(self.gallery, self.gallery)
        if before is None:
            return {}
        found = {(0, "none"): fitted_to_all(before)}
        likely = moved(found[0, "none"], 2)(self.scores)
        order = np.argsort(np.abs(likely - 0.5), kind="stable")
        order = order[likely[order] >= 0.1]
        for number in numbers:
            first = order[:number]
            grown = np.concatenate([self.gallery, self.asked[first][self.same[first]]])
            as_labels = self._trial(grown, grown)
            beside = self._trial(grown, self.gallery)
            if as_labels is None or beside is None:
                continue
            queries = beside.unknown | beside.known
            scores = np.concatenate([beside.best[queries], self.scores[first]])
            right = np.concatenate([beside.right[queries], self.same[first]])
            answered = np.arange(len(scores)) >= queries.sum()
            found[number, "1 names of `same` are labels"] = fitted_to_all(as_labels)
            found[number, "2 who was named asks nothing"] = fitted_to_all(beside)
            found[number, "3 both answers, as if half were enrolled"] = fit(scores, right)
            found[number, "4 both answers, with a share of their own"] = fit(scores, right, answered)
        return found

    def beside_tracks(self, most: int, rng: np.random.Generator) -> dict[str, Calibration]:
        """By how answers are used where each person has names at one camera alone, drawn by `rng`. The asked
        crops are those of all cameras."""
        crops, pids = self.crops, self.crops.pids[self.gallery]
        camera_of = {person: rng.choice(crops.cameras[self.gallery][pids == person]) for person in set(pids)}
        seen_by = np.array([camera_of[person] for person in pids])
        rows = self.gallery[crops.cameras[self.gallery] == seen_by]
        vectors, persons = crops.vectors[rows], crops.pids[rows]
        tracks = same_track(vectors, crops.tracks[rows], crops.seconds[rows])
        one = np.concatenate([tracks.scores, same_name(vectors, persons, crops.cameras[rows]).scores])
        two = other_names(vectors, persons, np.arange(len(rows))).scores
        scores = crops.vectors[self.asked] @ vectors.T
        right, best = persons[scores.argmax(1)] == crops.pids[self.asked], scores.max(1)
        every = _of_pairs(one, two, best[:0], right[:0])
        asked = np.argsort(np.abs(moved(every, len(camera_of))(best) - 0.5), kind="stable")[:most]
        few = [rng.choice(side, min(5 * most, len(side)), replace=False) for side in (one, two)]
        return {
            "1 all pairs": every,
            "2 all pairs and answers": _of_pairs(one, two, best[asked], right[asked]),
            "3 few pairs": _of_pairs(few[0], few[1], best[:0], right[:0]),
            "4 few pairs and answers": _of_pairs(few[0], few[1], best[asked], right[asked]),
        }

    def _trial(self, gallery: np.ndarray, queries: np.ndarray) -> Trial | None:
        """None where all best matches are right, or all are wrong."""
        vectors, pids, cameras = self.crops.vectors, self.crops.pids, self.crops.cameras
        trial = open_set_trial(
            vectors[queries],
            vectors[gallery],
            pids[queries],
            pids[gallery],
            cameras[queries],
            cameras[gallery],
            seed=self.seed,
        )
        return trial if len(np.unique(trial.right[trial.unknown | trial.known])) == 2 else None


def _of_pairs(one: np.ndarray, two: np.ndarray, asked: np.ndarray, right: np.ndarray) -> Calibration:
    """What a score says of a pair, by scores of one person, of two, and of answers, which share the slope."""
    scores, pairs = np.concatenate([one, two, asked]), len(one) + len(two)
    same = np.concatenate([np.arange(pairs) < len(one), right])
    found = fit(scores, same, np.arange(len(scores)) >= pairs)
    return Calibration(found.slope, found.intercept - float(np.log(len(one) / len(two))))


def _drawn(crops: Crops, labelled: int, share: float, rng: np.random.Generator) -> tuple[_Queue, Trial, int]:
    """The queue of some labelled people and of strangers, what its calibrations are judged by, and how many
    people are enrolled there."""
    count = crops.site.wrong.shape[1]
    order = rng.permutation(count)
    strangers = min(count // 3, int(labelled * (1 - share) / share) + 1)
    rest = order[labelled + strangers :]
    enrolled = min(200, len(rest) // 2)
    test = trial_of(crops.site, rest[:enrolled], rest[enrolled : 2 * enrolled])
    queue = _Queue(crops, order[:labelled], order[labelled : labelled + strangers], share, rng)
    return queue, test, enrolled


def answers_beside_tracks(crops: Crops, most: int = 150) -> None:
    """Prints what answers are worth beside names and tracks of one camera each."""
    print("\n| labelled | enrolled | used | error | bias | Cllr |\n| --- | --- | --- | --- | --- | --- |")
    for labelled in (32, 64):
        for share in (0.2, 0.5, 0.8):
            judged: dict[str, list[Judged]] = {}
            for seed in range(CHOICES):
                rng = np.random.default_rng((seed, labelled))
                queue, test, enrolled = _drawn(crops, labelled, share, rng)
                for name, found in queue.beside_tracks(most, rng).items():
                    judged.setdefault(name, []).append(Judged.of(moved(found, enrolled), test))
            for name, values in judged.items():
                print(f"| {labelled} | {share:.0%} | {name} | {shown(values)} |", flush=True)


def guesses(crops: Crops, bundle: Bundle) -> None:
    """Prints what answers are worth where nothing but the model's card says what scores mean: 16 people have
    a name, and as many are enrolled when it is judged."""
    cards = [metrics for metrics in bundle.manifest.metrics if "calibration slope" in metrics]
    count = crops.site.wrong.shape[1]
    print("\n| card of | enrolled | answers | error | bias | Cllr |\n| --- | --- | --- | --- | --- | --- |")
    for metrics in cards:
        card = Calibration(float(metrics["calibration slope"]), float(metrics["calibration intercept"]))
        for share in (0.2, 0.5, 0.8):
            judged: dict[int, list[Judged]] = {}
            for seed in range(CHOICES):
                rng = np.random.default_rng((seed, 16))
                order = rng.permutation(count)
                strangers = min(count // 3, int(16 * (1 - share) / share) + 1)
                rest = order[16 + strangers :]
                test = trial_of(crops.site, rest[:16], rest[16:32])
                queue = _Queue(crops, order[:16], order[16 : 16 + strangers], share, rng)
                likely = card(queue.scores)
                asked = np.argsort(np.abs(likely - 0.5), kind="stable")[:50]
                for number in (0, 20, 50):
                    some = asked[:number]
                    found = moved_by(card, queue.scores[some], queue.same[some])
                    judged.setdefault(number, []).append(Judged.of(found, test))
            for number, values in judged.items():
                name = metrics.get("dataset")
                print(f"| {name} | {share:.0%} | {number} | {shown(values)} |", flush=True)


def main() -> None:
    """The command."""
    options = command_of(__doc__).parse_args()
    bundle = Bundle.load(options.bundle)
    sites = []
    if options.worlds:
        sites.append(rendered_crops(options.worlds, bundle, options.cache))
    if options.market1501 is not None:
        sites.append(market_crops(options.market1501, bundle, options.cache))
    for crops in sites:
        tracklets(crops)
        answers(crops)
        answers_beside_tracks(crops)
        guesses(crops, bundle)
        camera_pairs(crops)


if __name__ == "__main__":
    main()
