"""A training checkpoint read without importing training: the file format is the contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors

from reid.models.build import Embedder, ModelSpec, build


class ExportError(ValueError):
    """What should be exported is not a checkpoint."""


def read_checkpoint(path: Path) -> tuple[Embedder, dict[str, Any]]:
    """The embedder of a run folder or checkpoint file, in eval mode, and the checkpoint's header."""
    path = path / "checkpoint.safetensors" if path.is_dir() else path
    if not path.is_file():
        raise ExportError(f"no checkpoint at {path}; train one with: resight train RECIPE --data ROOT --out RUN")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            meta = json.loads((file.metadata() or {})["resight"])
            names = [n for n in file.keys() if n.startswith("model/")]  # noqa: SIM118 - not a dict
            state = {n.removeprefix("model/"): file.get_tensor(n) for n in names}
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise ExportError(f"{path} is not a Resight checkpoint: {error}") from error
    embedder = build(ModelSpec.from_dict(meta["model"]))
    embedder.load_state_dict(state, strict=True)
    return embedder.eval(), meta
