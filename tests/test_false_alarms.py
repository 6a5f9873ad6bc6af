"""How often unknown people raise a match, and how that moves with the number of people in the gallery."""

from __future__ import annotations

import numpy as np
import pytest

from reid.false_alarms import FalseAlarms, best_wrong_scores, fit_false_alarms, people_needed

DIM = 24  # of random embeddings, whose tail is about as steep as that of the shipped models


def strangers(rng: np.random.Generator, people: int, crops: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings float32 [N,D] of people who have nothing in common, and whose each one is."""
    centres = np.repeat(rng.normal(size=(people, DIM)), crops, 0)
    vectors = centres + 0.3 * rng.normal(size=centres.shape)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit.astype(np.float32), np.repeat(np.arange(people), crops)


def fit(vectors: np.ndarray, persons: np.ndarray) -> FalseAlarms:
    """The tail of people whose crops are all compared."""
    wrong = best_wrong_scores(vectors, persons, np.arange(len(persons)))
    return fit_false_alarms(wrong, len(np.unique(persons)) - 1)


@pytest.fixture(scope="module")
def fitted() -> FalseAlarms:
    """The tail of 128 people."""
    return fit(*strangers(np.random.default_rng(1), 128))


def test_best_wrong_scores_agree_with_a_loop(rng: np.random.Generator) -> None:
    vectors, persons = strangers(rng, 9, 3)
    shuffled = rng.permutation(len(vectors))
    vectors, persons = vectors[shuffled], persons[shuffled]
    queries = rng.permutation(len(vectors))[:20]
    for row, found in zip(queries, best_wrong_scores(vectors, persons, queries), strict=True):
        best = [
            max(float(vectors[row] @ other) for other in vectors[persons == person])
            for person in range(9)
            if person != persons[row]
        ]
        assert found == pytest.approx(sorted(best, reverse=True)[:5], abs=1e-6)


def test_at_the_size_of_the_labels_the_form_says_what_was_seen(fitted: FalseAlarms) -> None:
    vectors, persons = strangers(np.random.default_rng(1), 128)
    first = best_wrong_scores(vectors, persons, np.arange(128))[:, 0]
    seen = float(np.mean(first > fitted.threshold(5 / 127, 127)))
    assert seen == pytest.approx(5 / 127, abs=1.5 / 128)


def test_a_threshold_is_the_score_at_which_its_rate_is_reached(fitted: FalseAlarms) -> None:
    for rate in (0.1, 0.01, 0.001):
        for people in (50, 127, 5000):
            threshold = fitted.threshold(rate, people)
            assert fitted.rate(threshold, people) == pytest.approx(rate, rel=0.01)
    assert fitted.rate(-1.0, 50) == 1.0


def test_a_threshold_rises_with_the_number_of_people_and_falls_with_the_rate(fitted: FalseAlarms) -> None:
    by_people = [fitted.threshold(0.01, people) for people in (20, 100, 1000, 100_000)]
    by_rate = [fitted.threshold(rate, 100) for rate in (0.3, 0.1, 0.01, 0.001)]
    assert by_people == sorted(set(by_people)) and by_rate == sorted(set(by_rate))


def test_a_gallery_that_grows_tenfold_raises_the_false_alarms_that_were_predicted(
    fitted: FalseAlarms,
) -> None:
    rng = np.random.default_rng(2)
    gallery, queries = strangers(rng, 1280)[0], strangers(rng, 4000)[0]
    best = (queries @ gallery.T).max(1)
    assert np.mean(best > fitted.threshold(0.1, 1280)) == pytest.approx(0.1, rel=0.5)
    unmoved = fitted.threshold(0.1, 128)
    assert np.mean(best > unmoved) > 0.4  # what a threshold that stays where it was would raise


def test_a_rate_is_refused_where_labels_do_not_reach_it(fitted: FalseAlarms) -> None:
    assert people_needed(0.01, 128) <= 128 < people_needed(0.001, 128)
    assert fitted.reaches(0.01, 128) and not fitted.reaches(0.001, 128)
    assert not fitted.reaches(0.01, 12_800)
    assert people_needed(0.01, 12_800) == pytest.approx(10 * people_needed(0.01, 128), rel=0.05)


def test_people_without_a_tail_are_refused() -> None:
    one = np.tile(np.eye(1, DIM, dtype=np.float32), (40, 1))
    with pytest.raises(ValueError, match="no tail"):
        fit(one, np.arange(40))
    with pytest.raises(ValueError, match="say nothing"):
        fit(*strangers(np.random.default_rng(0), 6))
