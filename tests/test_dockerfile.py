"""What the Dockerfile promises, read from it; scripts/image_check.sh builds it and holds the rest."""

from __future__ import annotations

import re

import pytest

from tests.test_gpu_lock import ROOT, extra

TEXT = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
_STAGE = re.compile(r"^FROM \S+ AS (\w+)\n(.*?)(?=^FROM |\Z)", re.MULTILINE | re.DOTALL)
STAGES: dict[str, str] = dict(_STAGE.findall(TEXT))
TARGETS = ("gpu", "serve", "cpu")


def test_the_last_target_is_the_full_one_on_the_cpu() -> None:
    assert list(STAGES) == ["base", *TARGETS]


@pytest.mark.parametrize("target", TARGETS)
def test_an_ordinary_user_serves_and_nothing_is_installed_then(target: str) -> None:
    assert STAGES[target].rstrip().endswith('USER resight\nCMD ["resight", "serve"]')


@pytest.mark.parametrize("target", TARGETS)
def test_its_extras_exist(target: str) -> None:
    installed = re.search(r"scripts/install.sh /venv/bin/python (\S+)", STAGES[target])
    assert installed
    assert all(extra(name) for name in installed[1].split(","))
    assert ("train" in installed[1].split(",")) == (target != "serve")


def test_the_gpu_target_installs_the_lock_and_wants_cuda_13() -> None:
    lock = re.search(r"scripts/install.sh \S+ \S+ (\S+)", STAGES["gpu"])
    assert lock
    assert (ROOT / lock[1]).is_file()
    assert "NVIDIA_REQUIRE_CUDA=cuda>=13.0" in STAGES["gpu"]


def test_the_start_period_is_longer_than_an_engine_is_built() -> None:
    check = re.search(r'--start-period=(\d+)m CMD \["(.+?)"\]', STAGES["base"])
    assert check
    assert int(check[1]) >= 15
    assert (ROOT / check[2]).stat().st_mode & 0o111


def test_caches_lie_in_the_volume() -> None:
    assert "VOLUME /data" in STAGES["base"]
    caches = re.findall(r"(\w+CACHE\w+|MPLCONFIGDIR)=(/\S+)", STAGES["base"])
    assert len(caches) >= 6
    assert all(folder.startswith("/data/cache") for _, folder in caches)
