"""The lock of the GPU image: one CUDA for all of its packages, every one with hashes, no registry named."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / "deploy/locks/gpu.txt").read_text()
PYPROJECT = (ROOT / "pyproject.toml").read_text()


def extra(name: str) -> list[str]:
    """The packages that an extra names, on its one line of pyproject.toml."""
    line = re.search(rf"^{name} = \[(.*)\]", PYPROJECT, re.MULTILINE)
    assert line, name
    return [re.split(r"[\[<>=~]", requirement)[0] for requirement in re.findall(r'"([^"]+)"', line[1])]


# whose own version is CUDA's; cuBLAS and the like count on their own, and are held by cuda-toolkit
OF_CUDA = re.compile(r"^(?:cuda-toolkit|cuda-bindings|nvidia-cuda-[a-z]+|nvidia-nvtx|nvidia-nvjitlink)$")


def locked() -> dict[str, str]:
    """Version by package."""
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", LOCK, re.MULTILINE))


def test_the_lock_holds_one_cuda_major() -> None:
    majors = {name: version.split(".")[0] for name, version in locked().items() if OF_CUDA.match(name)}
    majors |= {name: name.rsplit("-cu", 1)[1] for name in locked() if re.search(r"-cu\d+$", name)}
    assert {"cuda-toolkit", "nvidia-cuda-runtime", "nvidia-cudnn-cu13", "libcuvs-cu13"} <= majors.keys()
    assert set(majors.values()) == {"13"}, majors


def test_the_lock_has_what_the_extra_gpu_names() -> None:
    assert set(extra("gpu")) <= locked().keys()
    assert locked()["onnxruntime-gpu"].startswith("1.31.")
    assert locked()["faiss-gpu-cuvs"] == "1.15.1"


def test_every_locked_package_has_hashes_and_no_registry_is_named() -> None:
    for entry in re.split(r"\n(?=\S)", LOCK.strip()):
        assert "--hash=sha256:" in entry, entry
    assert "://" not in LOCK


def test_tensorrt_is_an_extra_of_its_own() -> None:
    assert extra("tensorrt") == ["tensorrt-cu13"]
    assert PYPROJECT.count('"tensorrt') == 1
    assert "tensorrt" not in "".join(locked())
