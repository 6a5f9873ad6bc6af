"""What the server asks of a worker process, what it gets back, and the folder in which both lie.

crops.u8              uint8 [N,H,W,3], written by the server
request.json          WorkRequest
profile.safetensors   the profile that came of it, written by the worker
expected.npy          float32 [n,D]: torch's embeddings of the first n crops with that profile
report.json           what the worker has to say about it
worker.log            what it printed
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

Progress = Callable[[float, str], None]  # the share that is done, and the name of the stage
CROPS, REQUEST, LOG = "crops.u8", "request.json", "worker.log"
PROFILE, EXPECTED, REPORT = "profile.safetensors", "expected.npy", "report.json"


@dataclasses.dataclass(frozen=True)
class WorkRequest:
    """One profile to compute from the crops of a site."""

    bundle: str  # absolute path
    tier: str  # of adaptation
    seed: int
    device: str  # auto | cpu | cuda
    shape: tuple[int, int, int, int]  # of the crops: N, H, W, 3
    probes: int  # the first crops, whose embeddings the answer holds
    cameras: list[str | None] = dataclasses.field(default_factory=list)  # of each crop; for tier 3

    def write(self, folder: Path) -> None:
        """Puts the request into a work folder."""
        (folder / REQUEST).write_text(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> WorkRequest:
        """The request in a work folder."""
        values = json.loads((folder / REQUEST).read_text())
        return cls(**(values | {"shape": tuple(values["shape"])}))


@dataclasses.dataclass(frozen=True)
class WorkAnswer:
    """A profile and how it came about."""

    profile: bytes  # Profile.to_bytes
    expected: np.ndarray  # float32 [n,D]
    report: dict[str, Any]  # fields of JobReport

    def write(self, folder: Path) -> None:
        """Puts the answer into a work folder."""
        (folder / PROFILE).write_bytes(self.profile)
        array = io.BytesIO()  # numpy's own writing does not say that a disk is full
        np.save(array, self.expected, allow_pickle=False)
        (folder / EXPECTED).write_bytes(array.getvalue())
        (folder / REPORT).write_text(json.dumps(self.report))

    @classmethod
    def read(cls, folder: Path) -> WorkAnswer:
        """The answer in a work folder. Raises OSError or ValueError where it is missing or damaged."""
        expected = np.load(folder / EXPECTED, allow_pickle=False)
        report = json.loads((folder / REPORT).read_text())
        return cls((folder / PROFILE).read_bytes(), expected, report)


@contextmanager
def work_folder(data: Path) -> Iterator[Path]:
    """A new folder below the data folder, which only this user can read; gone when the block has ended."""
    folder = _root(data) / uuid.uuid4().hex
    folder.mkdir(parents=True, mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def work_folders(data: Path) -> set[Path]:
    """The work folders that there are; they hold crops of the items that were there when they were made."""
    root = _root(data)
    return set(root.iterdir()) if root.is_dir() else set()


def clear_work_folders(data: Path) -> None:
    """Removes what a killed server has left; called at start, when nothing can be at work."""
    shutil.rmtree(_root(data), ignore_errors=True)


def _root(data: Path) -> Path:
    return Path(os.path.abspath(data)) / "work"
