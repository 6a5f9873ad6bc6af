"""Files that take long are the first to run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.longest_first import LONGEST


def test_every_file_that_is_named_is_there() -> None:
    assert all((Path(__file__).parent / f"{name}.py").exists() for name in LONGEST)


def test_they_come_first_and_the_others_keep_their_order(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("from tests.longest_first import pytest_collection_modifyitems")
    for name in ("test_a", LONGEST[1], "test_b", LONGEST[0]):
        pytester.makepyfile(**{name: "def test_two(): pass\ndef test_one(): pass"})
    shown = pytester.runpytest_inprocess("--collect-only", "-q", "-p", "no:cacheprovider").outlines
    files = [line.split(".py::")[0] for line in shown if "::" in line]
    assert files == [name for name in (*LONGEST[:2], "test_a", "test_b") for _ in range(2)]
    assert [line.split("::")[1] for line in shown if "::" in line] == ["test_two", "test_one"] * 4
