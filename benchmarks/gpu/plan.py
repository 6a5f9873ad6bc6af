"""What a check is to look at, and the folder through which its processes share what they made."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.crops import drawn_jpegs
from reid.bundle import Bundle
from reid.images import decode_crop
from reid.profile import Profile

BATCHES = (1, 2, 7, 32, 128)
PROFILE = "adapted.safetensors"
_PLAN, _CROPS = "plan.json", "crops.npy"


@dataclasses.dataclass(frozen=True)
class Plan:
    """One check.

    Args:
        bundle: the .resight folder. folder: of this check, private and empty at first.
        device: cuda; cpu rehearses the check where there is no GPU.
        engines: names of `reid.engine_names.ENGINES` to try.
        crops: how many BNTA looks at. seconds: that one rate is measured for.
    """

    bundle: Path
    folder: Path
    device: Literal["cuda", "cpu"]
    engines: tuple[str, ...]
    crops: int
    seconds: float

    def write(self) -> None:
        """Puts the plan and its crops, drawn people, into the folder."""
        manifest = Bundle.load(self.bundle).manifest
        decoded = [decode_crop(data, manifest.height, manifest.width) for data in drawn_jpegs(self.crops)]
        np.save(self.folder / _CROPS, np.stack(decoded), allow_pickle=False)
        values = dataclasses.asdict(self) | {"bundle": str(self.bundle), "folder": str(self.folder)}
        (self.folder / _PLAN).write_text(json.dumps(values))

    @classmethod
    def read(cls, folder: Path) -> Plan:
        """The plan in a folder."""
        values = json.loads((folder / _PLAN).read_text())
        places = {name: Path(values[name]) for name in ("bundle", "folder")}
        return cls(**(values | places | {"engines": tuple(values["engines"])}))

    def drawn(self) -> np.ndarray:
        """uint8 [crops,H,W,3]."""
        return np.load(self.folder / _CROPS, allow_pickle=False)

    @property
    def batches(self) -> tuple[int, ...]:
        """Sizes of batches that every engine is tried with; the small ones in a rehearsal."""
        return BATCHES if self.device == "cuda" else BATCHES[:3]

    @property
    def clients(self) -> tuple[int, ...]:
        """How many clients query a server at once; few in a rehearsal, which only takes the steps."""
        return (1, 8, 32) if self.device == "cuda" else (1, 2)

    def adapted(self) -> Profile | None:
        """The profile that the section `adapt` has left; None where it has left none."""
        path = self.folder / PROFILE
        return Profile.from_bytes(path.read_bytes()) if path.exists() else None
