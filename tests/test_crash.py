"""kill -9: see benchmarks/crash.py, which the numbers in the README come from."""

from pathlib import Path

from benchmarks.crash import crash
from reid.bundle import Bundle


def test_nothing_acknowledged_is_lost_over_kills(bundle: Bundle, tmp_path: Path) -> None:
    result = crash(bundle.path, tmp_path, rounds=4, seed=1, crowd=150)
    assert result.clean, result
    assert result.acknowledged > 100
    assert result.swaps >= 1  # the kills came around finished adaptations or rollbacks too
