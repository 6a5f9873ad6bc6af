"""The simulated queue of `benchmarks.sizing`, held against what is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.queueing import Rates, most_within, simulate

IDLE = Rates(loop_s=0.002, first_s=0.004, each_s=0.001, engine_cores=2, search_s=0.001, cores=8)


def test_a_query_alone_takes_what_its_stations_take_together() -> None:
    seconds = simulate(IDLE, 0.01, 50)
    assert seconds == pytest.approx(0.007)


def test_a_station_with_constant_work_makes_queries_wait_as_the_pollaczek_khinchine_formula_says() -> None:
    # nearly all work is the event loop's: a queue M/D/1, whose mean wait is u / (2 (1 - u)) of a query's work
    rates = Rates(loop_s=0.01, first_s=1e-9, each_s=0, engine_cores=1, search_s=1e-9, cores=64)
    for load in (0.3, 0.6, 0.8):
        waits = simulate(rates, load / 0.01, 40_000, seed=3) - 0.01
        assert waits.mean() == pytest.approx(0.01 * load / (2 * (1 - load)), rel=0.1)


def test_batches_let_the_engine_answer_more_than_one_crop_at_a_time_could() -> None:
    rates = Rates(loop_s=1e-6, first_s=0.01, each_s=0.001, engine_cores=1, search_s=1e-6, cores=8)
    assert np.isfinite(simulate(rates, 400, 4_000)).all()  # 100 a second one by one
    one_by_one = Rates(
        loop_s=1e-6, first_s=0.01, each_s=0.001, engine_cores=1, search_s=1e-6, cores=8, batch=1
    )
    assert not np.isfinite(simulate(one_by_one, 400, 4_000)).all()


def test_a_batch_is_never_larger_than_the_engine_takes() -> None:
    rates = Rates(loop_s=1e-6, first_s=0.01, each_s=0.001, engine_cores=1, search_s=1e-6, cores=8, batch=4)
    assert rates.most == pytest.approx(4 / 0.013)
    assert np.isfinite(simulate(rates, 0.9 * rates.most, 4_000)).all()
    assert not np.isfinite(simulate(rates, 1.3 * rates.most, 4_000)).all()


def test_stations_that_want_more_cores_than_there_are_slow_each_other_down() -> None:
    wide = Rates(loop_s=0.004, first_s=0.004, each_s=0.004, engine_cores=2, search_s=0.004, cores=8)
    narrow = Rates(loop_s=0.004, first_s=0.004, each_s=0.004, engine_cores=2, search_s=0.004, cores=2)
    assert narrow.most == pytest.approx(2 / 0.016)
    assert simulate(narrow, 80, 4_000).mean() > 1.3 * simulate(wide, 80, 4_000).mean()
    assert simulate(Rates(**{**vars(narrow), "cores": 1}), 0.01, 20) == pytest.approx(0.016)


def test_several_searches_run_at_once_and_no_more_than_may() -> None:
    for searches in (1, 4):
        rates = Rates(1e-6, 1e-6, 0, 1, search_s=0.01, cores=8, searches=searches)
        assert rates.most == pytest.approx(searches * 100)
        assert np.isfinite(simulate(rates, 0.9 * rates.most, 4_000)).all()
        assert not np.isfinite(simulate(rates, 1.5 * rates.most, 4_000)).all()


def test_what_is_within_a_limit_is_within_it_and_a_tenth_more_is_not() -> None:
    within = most_within(IDLE, 0.02)
    assert 0 < within < IDLE.most
    assert np.percentile(simulate(IDLE, within, 4_000), 99) <= 0.02
    assert np.percentile(simulate(IDLE, 1.1 * within, 4_000), 99, method="higher") > 0.02
    assert most_within(IDLE, 0.005) == 0


def test_queries_that_pile_up_without_end_are_not_waited_for() -> None:
    seconds = simulate(IDLE, 10 * IDLE.most, 4_000)
    assert np.isinf(seconds[-1])
