"""Wrong words on the command line: one sentence before any work, and an exit status that is not zero."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from resight import app

OF = ["--dataset", "folders", "--data", "{t}"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "{t}", *OF, "--json", "{t}/no/x.json"], "there is no folder"),
        (["evaluate", "{t}", *OF, "--json", "{t}"], "is a folder"),
        (["evaluate", "{t}", *OF, "--split", "-1"], "--split"),
        (["evaluate", "{t}", *OF, "--expand", "-1"], "--expand"),
        (["evaluate", "{t}", "--dataset", "folders:a+viper", "--data", "{t}"], "names several"),
        (["evaluate", "{t}", "--dataset", "world:a-0..2", "--data", "{t}"], "names several"),
        (["evaluate", "{t}", "--dataset", "folders:a+b", "--data", "{t}"], "a+b holds neither"),
        (["evaluate", "{t}", "--dataset", "folders", "--data", "{t}/no"], "/no holds neither"),
        (["visualize", "{t}", *OF, "--out", "{t}/no/a.svg"], "there is no folder"),
        (["visualize", "{t}", *OF, "--out", "{t}/a.svg", "--seed", "9" * 40], "--seed"),
        (["visualize", "{t}", *OF, "--out", "{t}/a.png", "--what", "batchnorm", "--device", "cuda"], "CPU"),
        (["data", "check", "folders", "--data", "{t}", "--json", "{t}/no/x.json"], "there is no folder"),
        (
            ["leave-one-out", "bot", "--datasets", "folders:a", "--data", "{t}", "--out", "{t}/r"],
            "two datasets",
        ),
        (["export", "{t}", "--out", "{t}/x.resight"], "no checkpoint"),
    ],
)
def test_wrong_words_are_one_sentence(words: list[str], said: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [word.format(t=tmp_path) for word in words])
    assert isinstance(result.exception, SystemExit) and result.exit_code in (1, 2)
    assert said in result.stderr
