"""What tracks say of who is who, against plain loops, and calibrations by pairs."""

from __future__ import annotations

import numpy as np
import pytest

from reid.calibration import fit, weigh
from reid.tracklets import (
    LONGEST_PAUSE_S,
    MOST_IN_A_SECOND,
    Pairs,
    one_name_each,
    other_names,
    same_name,
    same_second,
    same_track,
    tracks_of,
)


def unit(x: np.ndarray) -> np.ndarray:
    """Rows of unit length."""
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


class Seen:
    """Crops of eight people at two cameras, some with a track."""

    def __init__(self, rng: np.random.Generator, count: int = 120) -> None:
        self.vectors = unit(rng.normal(size=(count, 6)))
        self.persons = rng.integers(0, 8, count)
        self.cameras = rng.integers(0, 2, count)
        self.tracks = np.where(rng.random(count) < 0.8, self.persons * 2 + self.cameras, -1)
        self.times = rng.integers(0, 40, count) / 4
        self.names = [f"person-{person}" if person < 3 else None for person in self.persons]


def agree(found: Pairs, expected: list[tuple[int, float]]) -> bool:
    """Whether these are the same askers and scores, in whatever order."""
    pairs = sorted((int(a), float(s)) for s, a in zip(found.scores, found.askers, strict=True))
    return len(pairs) == len(expected) and np.allclose(pairs, sorted(expected), atol=1e-5)


def test_a_number_that_comes_again_after_a_pause_is_another_track() -> None:
    cameras = ["door", "door", "hall", "door", None, "door", "door", "door"]
    marks: list[str | float | None] = [7, 7, 7, 7.0, 7, "7", None, 7]
    times = [0.0, 100.0, 0.0, 100.0 + LONGEST_PAUSE_S, 0.0, 0.0, 0.0, 500.1 + LONGEST_PAUSE_S]
    tracks = tracks_of(cameras, marks, times)
    assert tracks[0] == tracks[1] == tracks[3] != tracks[2]
    assert (tracks[4], tracks[6]) == (-1, -1)
    assert len({tracks[0], tracks[2], tracks[5], tracks[7]}) == 4
    assert tracks_of(["door"] * 2, [7, 7], [None, None]).tolist() == [-1, -1]


def test_items_of_a_track_bear_its_one_name_and_a_track_of_two_names_is_left_out() -> None:
    tracks = np.array([0, 0, 1, 1, 1, 2, -1])
    kept, names, torn = one_name_each(tracks, ["ada", None, "bea", "cy", None, None, None])
    assert kept.tolist() == [0, 0, -1, -1, -1, 2, -1]
    assert names == ["ada", "ada", "bea", "cy", None, None, None]
    assert torn == 1


def test_pairs_of_one_track_are_those_of_a_plain_loop(rng: np.random.Generator) -> None:
    seen = Seen(rng)
    expected = []
    for row, track in enumerate(seen.tracks):
        others = [other for other in np.flatnonzero(seen.tracks == track) if track >= 0]
        far = max((abs(seen.times[other] - seen.times[row]) for other in others), default=0)
        if far > 0:
            farthest = [o for o in others if abs(seen.times[o] - seen.times[row]) == far]
            expected.append(
                (int(track), [round(float(seen.vectors[row] @ seen.vectors[o]), 5) for o in farthest])
            )
    found = same_track(seen.vectors, seen.tracks, seen.times)
    assert len(found.scores) == len(expected) > 50
    for track in set(found.askers.tolist()):
        mine = [round(float(s), 5) for s in found.scores[found.askers == track]]
        theirs = [scores for asker, scores in expected if asker == track]
        assert all(any(abs(s - t) < 2e-5 for group in theirs for t in group) for s in mine)
    still = same_track(seen.vectors, seen.tracks, np.zeros(len(seen.times)))
    assert len(still.scores) == 0  # one moment says nothing


def test_pairs_of_one_second_are_those_of_a_plain_loop(rng: np.random.Generator) -> None:
    seen = Seen(rng)
    expected, met = [], set()
    for row, track in enumerate(seen.tracks):
        beside = {
            int(seen.tracks[other])
            for other in range(len(seen.tracks))
            if track >= 0
            and seen.tracks[other] not in (-1, track)
            and seen.cameras[other] == seen.cameras[row]
            and int(seen.times[other]) == int(seen.times[row])
            and (seen.names[other] is None or seen.names[other] != seen.names[row])
        }
        for other in beside:
            best = (seen.vectors[seen.tracks == other] @ seen.vectors[row]).max()
            expected.append((int(track), float(best)))
            met.add((min(int(track), other), max(int(track), other)))
    cameras = [str(camera) for camera in seen.cameras]
    found, count = same_second(seen.vectors, seen.tracks, cameras, seen.times, seen.names)
    assert agree(found, expected)
    assert count == len(met) > 10


def test_two_tracks_of_one_name_are_no_two_people() -> None:
    vectors = unit(np.eye(3, 4))
    tracks, times, cameras = np.arange(3), np.zeros(3), ["door"] * 3
    for names, pairs in ((["ada", "ada", None], 4), (["ada", "bea", None], 6), ([None] * 3, 6)):
        assert len(same_second(vectors, tracks, cameras, times, names)[0].scores) == pairs
    assert len(same_second(vectors, tracks, ["a", "b", "c"], times, [None] * 3)[0].scores) == 0
    assert len(same_second(vectors, tracks, cameras, np.arange(3.0), [None] * 3)[0].scores) == 0


def test_a_second_of_more_tracks_than_a_camera_sees_at_once_says_nothing() -> None:
    for count, pairs in (
        (MOST_IN_A_SECOND, MOST_IN_A_SECOND * (MOST_IN_A_SECOND - 1)),
        (MOST_IN_A_SECOND + 1, 0),
    ):
        vectors = unit(np.eye(count, dtype=np.float32))
        found, met = same_second(vectors, np.arange(count), ["door"] * count, np.zeros(count), [None] * count)
        assert (len(found.scores), met) == (pairs, pairs // 2)


def test_pairs_of_names_are_those_of_a_plain_loop(rng: np.random.Generator) -> None:
    seen = Seen(rng)
    own, others = [], []
    for row, person in enumerate(seen.persons):
        scores = seen.vectors @ seen.vectors[row]
        mine = (seen.persons == person) & (seen.cameras != seen.cameras[row])
        if mine.any():
            own.append((int(person), float(scores[mine].max())))
        for other in set(seen.persons.tolist()) - {int(person)}:
            others.append((int(person), float(scores[seen.persons == other].max())))
    found = same_name(seen.vectors, seen.persons, seen.cameras)
    assert agree(found, own)
    found = other_names(seen.vectors, seen.persons, np.arange(len(seen.persons)))
    assert agree(found, others)


def test_of_too_many_pairs_of_names_some_of_everybody_are_taken(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen(rng)
    monkeypatch.setattr("reid.tracklets._MOST_SCORES", 100)
    found = other_names(seen.vectors, seen.persons, np.arange(len(seen.persons)))
    assert 90 <= len(found.scores) <= 100
    assert len(set(found.askers.tolist())) == len(set(seen.persons.tolist()))


def normal_pairs(rng: np.random.Generator, mean: float, count: int, spread: float = 0.1) -> Pairs:
    """Pairs whose scores are spread around a mean."""
    return Pairs(rng.normal(mean, spread, count).astype(np.float32), np.arange(count) // 5)


def test_pairs_are_weighed_by_their_likelihood_ratio_whatever_their_numbers(rng: np.random.Generator) -> None:
    same, different = normal_pairs(rng, 0.7, 4000), normal_pairs(rng, 0.4, 40_000)
    ratio, cllr = weigh([same], [different])
    # two normal distributions of one spread: the log of their ratio is a line
    assert ratio.slope == pytest.approx(0.3 / 0.1**2, rel=0.1)
    assert ratio(np.array([0.55]))[0] == pytest.approx(0.5, abs=0.05)
    assert 0.2 < cllr < 0.35
    halves = [Pairs(same.scores[::2], same.askers[::2]), Pairs(same.scores[1::2], same.askers[1::2])]
    assert weigh(halves, [different]).ratio == pytest.approx(ratio, rel=1e-3)
    with pytest.raises(ValueError, match="both halves"):
        weigh([Pairs(same.scores[:5], same.askers[:5])], [different])


def test_pairs_are_judged_by_askers_whom_the_fit_has_not_seen(rng: np.random.Generator) -> None:
    same, different = normal_pairs(rng, 0.7, 2000), normal_pairs(rng, 0.4, 2000)
    askers = np.random.default_rng(0).permutation(np.arange(400))
    strange = same._replace(scores=np.where(np.isin(same.askers, askers[1::2]), 0.3, same.scores))
    assert weigh([strange], [different]).cllr > 3 > weigh([same], [different]).cllr


def test_answers_of_a_queue_with_another_share_of_known_people_do_not_move_the_probability(
    rng: np.random.Generator,
) -> None:
    def drawn(count: int, share: float) -> tuple[np.ndarray, np.ndarray]:
        right = rng.random(count) < share
        return np.where(right, rng.normal(0.7, 0.1, count), rng.normal(0.4, 0.1, count)), right

    scores, right = drawn(2000, 0.5)
    asked_scores, asked_right = drawn(2000, 0.1)
    plain = fit(scores, right)
    both = np.concatenate([scores, asked_scores]), np.concatenate([right, asked_right])
    apart = fit(*both, np.arange(4000) >= 2000)
    middle = np.array([0.55])
    assert apart(middle)[0] == pytest.approx(plain(middle)[0], abs=0.04)
    assert fit(*both)(middle)[0] < plain(middle)[0] - 0.1
    # chosen by score alone, as a queue chooses: how right ones become likelier with the score is no other
    asked_scores, asked_right = drawn(20_000, 0.1)
    doubtful = np.abs(asked_scores - 0.55) < 0.1
    some = np.concatenate([scores[:200], asked_scores[doubtful]])
    known = np.concatenate([right[:200], asked_right[doubtful]])
    assert fit(some, known, np.arange(len(some)) >= 200).slope == pytest.approx(30, rel=0.15)
