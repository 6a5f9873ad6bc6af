"""The gate and the ladder: what is accepted, what is refused and why."""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gate as gate_benchmark
from reid.adaptation import gate, ladder
from reid.adaptation.centring import SITE_PRIOR
from reid.adaptation.gate import Verdict, Weights, judge
from reid.adaptation.labels import _average_precisions, labelled_gain
from reid.adaptation.ladder import AUTO, TIERS, Sample, climb
from reid.adaptation.signals import Pool, signals, views
from reid.profile import Centres, Profile

CAMERAS = ["a", "b"]


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def people(rng: np.random.Generator, count: int, shift: float) -> tuple[np.ndarray, list[str], list[str]]:
    """Each person once at each of two cameras; the second camera moves every embedding by `shift`."""
    person = rng.normal(size=(count, 32))
    moved = np.zeros(32)
    moved[0] = shift
    both = np.concatenate([person, person + moved]) + 0.25 * rng.normal(size=(2 * count, 32))
    return unit(both), ["a"] * count + ["b"] * count, [str(n) for n in range(count)] * 2


def pool(vectors: np.ndarray, cameras: Sequence[str | None], shown: int = 8) -> Pool:
    return Pool(vectors, vectors[:shown].copy(), cameras)


def test_labels_measure_what_a_change_does(rng: np.random.Generator) -> None:
    vectors, cameras, identities = people(rng, 30, 12.0)
    centres = Centres(vectors.mean(0), {c: vectors[np.array(cameras) == c].mean(0) for c in CAMERAS})
    after = centres.compare(vectors, cameras)
    better = labelled_gain(vectors, after, identities, cameras)
    assert better is not None
    assert better.low > 0
    assert better.identities == 30
    assert better.queries == 60
    worse = labelled_gain(after, vectors, identities, cameras)
    assert worse is not None
    assert worse.high < 0
    assert worse.gain == pytest.approx(-better.gain)
    same = labelled_gain(vectors, vectors, identities, cameras)
    assert same is not None
    assert same.gain == same.low == same.high == 0


def test_average_precision_of_labels_by_hand() -> None:
    # one query at camera a; at camera b its person ranks second of three
    vectors = unit(np.array([[1, 0], [1, 0.1], [1, 0.2], [0, 1]], np.float32))
    persons, places = np.array([0, 1, 0, 1]), np.array([0, 1, 1, 1])
    result = _average_precisions(vectors, np.array([0]), persons, places, np.ones(4, bool))
    np.testing.assert_allclose(result, [[0.5, 0.0]])


def test_few_identities_are_no_labels(rng: np.random.Generator) -> None:
    vectors, cameras, identities = people(rng, 15, 1.0)
    assert labelled_gain(vectors, vectors, identities, cameras) is None
    nobody: list[str | None] = [None] * len(cameras)
    assert labelled_gain(vectors, vectors, nobody, cameras) is None


def test_clear_labels_decide_before_signals(rng: np.random.Generator) -> None:
    vectors, cameras, identities = people(rng, 30, 12.0)
    centres = Centres(vectors.mean(0), {c: vectors[np.array(cameras) == c].mean(0) for c in CAMERAS})
    after = centres.compare(vectors, cameras)
    verdict = judge("0", pool(vectors, cameras), pool(after, cameras), cameras, identities)
    assert verdict.accepted
    assert verdict.by == "labels"
    assert "Accepted: by the labels of 30 people" in verdict.reason
    refused = judge("0", pool(after, cameras), pool(vectors, cameras), cameras, identities)
    assert not refused.accepted
    assert refused.by == "labels"


def test_labels_accept_nothing_that_the_signals_speak_against(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, cameras, identities = people(rng, 30, 12.0)
    centres = Centres(vectors.mean(0), {c: vectors[np.array(cameras) == c].mean(0) for c in CAMERAS})
    after = pool(centres.compare(vectors, cameras), cameras)
    zero = np.zeros(1)
    against = Weights(["drift"], zero, zero + 1, zero, zero, -0.7, 0.5, 0.1)
    monkeypatch.setattr(gate, "weights", lambda tier: against)
    verdict = judge("0", pool(vectors, cameras), after, cameras, identities)
    assert not verdict.accepted
    assert verdict.by == "labels"
    assert "predict -0.7, and both have to agree" in verdict.reason
    hardly = dataclasses.replace(against, bias=-0.2)
    monkeypatch.setattr(gate, "weights", lambda tier: hardly)
    assert judge("0", pool(vectors, cameras), after, cameras, identities).accepted


def test_labels_alone_accept_a_tier_whose_signals_nobody_has_measured(rng: np.random.Generator) -> None:
    vectors, cameras, identities = people(rng, 30, 12.0)
    centres = Centres(vectors.mean(0), {c: vectors[np.array(cameras) == c].mean(0) for c in CAMERAS})
    before, after = pool(vectors, cameras), pool(centres.compare(vectors, cameras), cameras)
    assert judge("3+0", before, after, cameras, identities).accepted
    assert not judge("3+0", after, before, cameras, identities).accepted
    verdict = judge("3+0", before, after, cameras, [])
    assert not verdict.accepted
    assert "nobody has measured" in verdict.reason
    assert verdict.gain is None
    assert gate.out_of_reach("3", [None] * len(cameras), cameras) is not None


def test_embeddings_that_are_not_finite_are_vetoed(rng: np.random.Generator) -> None:
    vectors, cameras, _ = people(rng, 20, 0.0)
    broken = vectors.copy()
    broken[3, 3] = np.nan
    verdict = judge("0", pool(vectors, cameras), pool(broken, cameras), cameras, [])
    assert not verdict.accepted
    assert "not finite" in verdict.reason


def test_a_threshold_decides_over_the_predicted_gain(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, cameras, _ = people(rng, 20, 0.0)

    def predicting(bias: float, threshold: float | None) -> Verdict:
        zero = np.zeros(1)
        w = Weights(["drift"], zero, zero + 1, zero, zero, bias, 0.5, threshold)
        monkeypatch.setattr(gate, "weights", lambda tier: w)
        return judge("0", pool(vectors, cameras), pool(vectors, cameras), cameras, [])

    assert predicting(1.0, 1.0).accepted
    below = predicting(0.9, 1.0)
    assert not below.accepted
    assert below.low == pytest.approx(0.9 - 1.28 * 0.5, abs=0.01)
    assert "this tier needs +1.0 or more" in below.reason
    assert not predicting(9.0, None).accepted


def test_a_signal_that_is_missing_counts_as_an_average_one() -> None:
    two = np.array([1.0, 2.0])
    w = Weights(["x", "y"], two, two, two, two * 0, 0.5, 1.0, 0.0)
    assert w.predict({"x": 1.0, "y": float("nan")}) == 0.5
    assert w.predict({"x": 2.0, "y": 2.0}) == pytest.approx(0.5 + 1.0)
    assert w.predict({"x": 1e9, "y": 2.0}) == pytest.approx(0.5 + 3.0)  # beyond three deviations says no more


def test_the_shipped_weights_are_whole_and_say_their_errors() -> None:
    for tier in set(TIERS) - {"3"}:
        w = gate.weights(tier)
        assert w is not None
        assert len(w.names) == len(w.mean) == len(w.linear) == len(w.square)
        assert (w.deviation > 0).all()
        rates = gate.error_rates()[tier]
        assert 0 <= rates["accepted_harmful"] <= rates["accepted_harmful_upper"] <= 1
        assert rates["judged"] >= 250
    vectors = unit(np.random.default_rng(0).normal(size=(20, 8)))
    named = set(signals(pool(vectors, ["a"] * 20), pool(vectors, ["a"] * 20), ["a"] * 20))
    of_tier_0 = gate.weights("0")
    assert of_tier_0 is not None
    assert named == set(of_tier_0.names)


def test_signals_see_a_camera_that_moves_everything(rng: np.random.Generator) -> None:
    vectors, cameras, _ = people(rng, 40, 12.0)
    centres = Centres(vectors.mean(0), {c: vectors[np.array(cameras) == c].mean(0) for c in CAMERAS})
    after = centres.compare(vectors, cameras)
    values = signals(pool(vectors, cameras), pool(after, cameras), cameras)
    assert values["mixing_before"] < 0.3
    assert values["mixing_change"] > 0.5
    assert values["camera_share_before"] > 0.2
    assert values["camera_share_change"] < -0.2
    same = signals(pool(vectors, cameras), pool(vectors, cameras), cameras)
    assert same["agreement"] == 1
    assert same["drift"] == pytest.approx(0, abs=1e-6)
    assert same["mixing_change"] == 0


def test_views_show_the_same_crop_otherwise(rng: np.random.Generator) -> None:
    crops = rng.integers(0, 255, (4, 32, 16, 3)).astype(np.uint8)
    shown = views(crops, seed=1)
    assert shown.shape == crops.shape
    assert not np.array_equal(shown, crops)
    np.testing.assert_array_equal(shown, views(crops, seed=1))


class _Tools:
    """Embeds crops that differ in their first pixel as different people, with no value below zero."""

    def __init__(self, base: Profile) -> None:
        self.base = base
        self.asked: list[int] = []
        self.fitted: list[int] = []

    def embed(self, profile: Profile, crops: np.ndarray, cameras: Sequence[str | None]) -> np.ndarray:
        drawn = [np.random.default_rng(crop[0, 0].tolist()).standard_normal(900) for crop in crops]
        return unit(np.array(drawn, np.float32).reshape(-1, 900) ** 2)

    def statistics(
        self, source: Profile, crops: np.ndarray, cameras: Sequence[str | None], embedded: np.ndarray
    ) -> Profile:
        self.fitted.append(len(crops))
        return Profile(source.base, {"n": source.site["n"] + 1})

    def bnta(self, crops: np.ndarray, cameras: Sequence[str | None], seed: int) -> Profile:
        self.asked.append(seed)
        return Profile(self.base.base, {"n": self.base.site["n"] + 2})

    def groups(self, crops: np.ndarray, cameras: Sequence[str | None], seed: int) -> Profile:
        self.asked.append(seed)
        return Profile(self.base.base, {"n": self.base.site["n"] + 3})


@pytest.fixture
def sample(rng: np.random.Generator) -> Sample:
    crops = rng.integers(1, 255, (40, 16, 8, 3)).astype(np.uint8)
    return Sample(crops, ["a", "b"] * 20, [None] * 40)


@pytest.fixture
def base() -> Profile:
    return Profile("base", {"n": np.ones((4, 2), np.float32)})


def _answers(monkeypatch: pytest.MonkeyPatch, accepted: dict[str, bool]) -> list[tuple[str, bool]]:
    """The gate accepts what the dictionary says; returns what it is asked, and whether before was centred."""
    asked = []

    def answer(
        tiers: str, before: Pool, after: Pool, fitted: Sequence[str | None], identities: Sequence[str | None]
    ) -> Verdict:
        asked.append((tiers, bool((before.vectors < 0).any())))
        return Verdict(accepted[tiers], "signals", 1.0, 0.0, 2.0, "said so", {})

    monkeypatch.setattr(ladder, "judge", answer)
    monkeypatch.setattr(ladder, "out_of_reach", lambda *arguments: None)
    return asked


def test_a_rung_is_judged_against_what_was_accepted_below(
    base: Profile, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _answers(monkeypatch, {"0": True, "1+0": False})
    climbed = climb("auto", True, base, sample, _Tools(base), lambda share, stage: None)
    assert asked == [("0", False), ("1+0", True)]
    assert [(r.tiers, r.below) for r in climbed.rungs] == [("0", "none"), ("1+0", "0")]
    assert climbed.tiers == "0"
    assert climbed.profile.tables_id == base.tables_id
    assert climbed.profile.centres is not None


def test_the_ladder_goes_on_from_below_a_refused_tier(
    base: Profile, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _answers(monkeypatch, {"0": False, "1+0": True})
    climbed = climb("auto", True, base, sample, _Tools(base), lambda share, stage: None)
    assert asked == [("0", False), ("1+0", False)]
    assert climbed.rungs[1].below == "none"
    assert climbed.tiers == "1+0"
    assert climbed.profile.tables_id != base.tables_id


def test_nothing_accepted_leaves_the_base(
    base: Profile, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    _answers(monkeypatch, dict.fromkeys(AUTO, False))
    climbed = climb("auto", True, base, sample, _Tools(base), lambda share, stage: None)
    assert climbed.tiers == "none"
    assert climbed.profile is base


def test_a_tier_that_only_labels_accept_is_not_tried_without_labels(base: Profile, sample: Sample) -> None:
    tools = _Tools(base)
    climbed = climb("2+0", True, base, sample, tools, lambda share, stage: None)
    assert not tools.asked
    assert climbed.tiers == "none"
    assert "only labels accept this tier" in climbed.rungs[0].verdict.reason
    identities = [str(row // 2) for row in range(40)]  # twenty people, each at both cameras
    labelled = Sample(sample.crops, sample.cameras, identities)
    tried = climb("2+0", True, base, labelled, tools, lambda share, stage: None)
    assert tools.asked == [0]
    assert tried.rungs[0].verdict.by in ("labels", "signals")


def test_without_a_gate_every_crop_is_fitted_to_and_nothing_refused(base: Profile, sample: Sample) -> None:
    tools = _Tools(base)
    climbed = climb("2", False, base, sample, tools, lambda share, stage: None, seed=7)
    assert climbed.tiers == "2"
    assert climbed.profile.centres is None
    assert climbed.rungs[0].verdict.by == "off"
    assert tools.asked == [7]
    grouped = climb("3", False, base, sample, tools, lambda share, stage: None, seed=8)
    assert grouped.profile.site["n"][0, 0] == base.site["n"][0, 0] + 3
    assert tools.asked == [7, 8]
    climb("1", False, base, sample, tools, lambda share, stage: None)
    assert tools.fitted == [40]


def test_with_a_gate_a_quarter_of_the_crops_is_held_out(
    base: Profile, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    _answers(monkeypatch, {"1": True})
    tools = _Tools(base)
    climb("1", True, base, sample, tools, lambda share, stage: None)
    assert tools.fitted == [30]
    _answers(monkeypatch, {"0": True})
    centres = climb("0", True, base, sample, tools, lambda share, stage: None).profile.centres
    fit = [row for row in range(40) if row // 2 % 4 != 3]
    assert centres is not None
    vectors = tools.embed(base, sample.crops[fit], [sample.cameras[row] for row in fit])
    np.testing.assert_allclose(centres.site, vectors.mean(0) * 30 / (30 + SITE_PRIOR), atol=1e-6)


def test_the_shipped_weights_are_those_of_the_recorded_episodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = json.loads(Path(gate.__file__).with_name("gate.json").read_text())
    monkeypatch.setattr(gate_benchmark, "WEIGHTS", tmp_path / "gate.json")
    recorded = Path(gate_benchmark.__file__).with_name("recorded") / "gate.jsonl.gz"
    gate_benchmark.fit(argparse.Namespace(rows=[recorded]))
    fitted = json.loads((tmp_path / "gate.json").read_text())
    assert fitted["error_rates"] == shipped["error_rates"]
    for tier, facts in shipped["tiers"].items():
        assert fitted["tiers"][tier]["threshold"] == facts["threshold"]
        np.testing.assert_allclose(fitted["tiers"][tier]["linear"], facts["linear"], rtol=1e-2, atol=1e-3)
    assert "| 0 | 27 | 486 | 7 | 400 | 0.8 % (1.9 %) | 97 % | 0.1 |" in capsys.readouterr().out
