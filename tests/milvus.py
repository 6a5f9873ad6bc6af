"""Milvus for tests: milvus-lite, a file in this process, and a real server, from the package `milvus`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from benchmarks.milvus import MilvusProcess


def _require(*packages: str) -> None:
    """Skips where a package lacks, unless RESIGHT_REQUIRE_MILVUS says that it must not."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        sentence = f"not installed: {', '.join(missing)} (pip install pymilvus milvus-lite milvus==2.3.5)"
        if os.environ.get("RESIGHT_REQUIRE_MILVUS"):
            raise RuntimeError(sentence)
        pytest.skip(sentence)


@pytest.fixture(scope="session")
def pymilvus() -> None:
    """Milvus's client."""
    _require("pymilvus")


@pytest.fixture(scope="session")
def milvus() -> Iterator[MilvusProcess]:
    """One Milvus server for all tests."""
    _require("pymilvus", "milvus")
    with MilvusProcess() as running:
        yield running


@pytest.fixture(scope="module")
def milvus_lite(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where milvus-lite keeps its file; one process has it."""
    _require("pymilvus", "milvus_lite")
    return str(tmp_path_factory.mktemp("milvus") / "lite.db")


@pytest.fixture(scope="module", params=["lite", "server"])
def milvus_uri(request: pytest.FixtureRequest) -> str:
    """Where Milvus is: milvus-lite, then a real server."""
    if request.param == "lite":
        return request.getfixturevalue("milvus_lite")
    running: MilvusProcess = request.getfixturevalue("milvus")
    return running.uri
