"""docs/promises.md: every promise names the tests that attack it, and they exist and run."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/promises.md"
_LINK = re.compile(r"\[(?P<file>\w+\.py)::(?P<test>\w+)\]\((?P<target>[^)]+)\)")


def promises() -> Iterator[str]:
    """Every item of the page's lists, in one line each."""
    for item in re.split(r"^- ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        yield " ".join(re.split(r"^#|\n\n", item, flags=re.MULTILINE)[0].split())


PROMISES = list(promises())


@functools.cache
def parsed(path: Path) -> ast.Module:
    """A file, read once for all promises."""
    return ast.parse(path.read_text())


@functools.cache
def functions(path: Path) -> dict[str, ast.FunctionDef]:
    """The functions of a file, tests and fixtures among them."""
    nodes = parsed(path).body
    return {node.name: node for node in nodes if isinstance(node, ast.FunctionDef)}


def skips(node: ast.AST) -> bool:
    """Whether pytest.skip, importorskip, a mark skip or skipif, or xfail stands anywhere in the node."""
    names = {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
    return bool(names & {"skip", "skipif", "importorskip", "xfail"})


def obstacles(path: Path, test: str) -> list[str]:
    """What could keep a test from running by default: itself, its file, or a fixture that it needs."""
    known = functions(ROOT / "tests/conftest.py") | functions(path)
    rest = [n for n in parsed(path).body if not isinstance(n, ast.FunctionDef)]
    result = [path.name for node in rest if skips(node)]
    needed, seen = [test], set()
    while needed:
        name = needed.pop()
        if name not in known or name in seen:
            continue
        seen.add(name)
        if skips(known[name]):
            result.append(name)
        needed += [argument.arg for argument in known[name].args.args]
    return result


def test_the_page_has_promises_of_every_kind() -> None:
    assert len(PROMISES) > 40
    assert len(re.findall(r"^## ", PAGE.read_text(), re.MULTILINE)) >= 8


@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_links_to_tests_that_exist_and_run(promise: str) -> None:
    links = list(_LINK.finditer(promise))
    assert links, f"no link to a test in: {promise}"
    assert promise.count("](") == len(links), f"a link that names no test in: {promise}"
    for link in links:
        path = (PAGE.parent / link["target"]).resolve()
        assert path.is_file() and path.parent == ROOT / "tests" and path.name == link["file"], link[0]
        assert link["test"].startswith("test_") and link["test"] in functions(path), f"{link[0]} is no test"
        assert not obstacles(path, link["test"]), f"{link[0]} may be skipped"


def test_what_may_be_skipped_is_noticed() -> None:
    """The check itself: this test needs OpenGL and is skipped where there is none."""
    drawing = "test_a_world_is_rendered_looked_at_and_learned_from"
    assert obstacles(ROOT / "tests/test_command_line.py", drawing) == ["egl"]
