"""Reads the network out of a training checkpoint: a safetensors file with JSON in its header, no pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors

from reid.models.build import Embedder, build
from reid.models.spec import ModelSpec

SCHEMA = 1
FILE = "checkpoint.safetensors"
MODEL = "model/"  # prefix of the embedder's tensors


class CheckpointError(ValueError):
    """A file that is not a checkpoint of this version, or does not fit the run that resumes from it."""


def read_embedder(path: Path) -> tuple[Embedder, dict[str, Any]]:
    """The embedder of a run folder or checkpoint file, in eval mode, and the checkpoint's header.

    Raises CheckpointError when there is none, it is damaged or of another schema, or its network is one that
    this version cannot build.
    """
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        raise CheckpointError(
            f"no checkpoint at {path}; train one with: resight train RECIPE --data ROOT --out RUN"
        )
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            meta = json.loads((file.metadata() or {}).get("resight", "null"))
            names = [n for n in file.keys() if n.startswith(MODEL)]  # noqa: SIM118 - not a dict
            state = {n.removeprefix(MODEL): file.get_tensor(n) for n in names}
    except (safetensors.SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    require_schema(path, meta)
    try:
        spec = ModelSpec.from_dict(meta["model"])
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    embedder = build(spec)
    embedder.load_state_dict(state, strict=True)
    return embedder.eval(), meta


def require_schema(path: Path, meta: object) -> None:
    """Raises CheckpointError unless the header is one of this schema."""
    if not isinstance(meta, dict) or meta.get("schema") != SCHEMA:
        raise CheckpointError(
            f"{path} is not a Resight checkpoint of schema {SCHEMA}; train it again with this version"
        )
