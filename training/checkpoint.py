"""Checkpoints: one safetensors file with weights and optimiser state, the recipe as JSON in its header."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from reid.checkpoint import FILE, MODEL, SCHEMA, CheckpointError, require_schema
from reid.files import sync_folder, usual_mode


@dataclasses.dataclass
class Checkpoint:
    """Where a run stands: `tensors` by flat name, `meta` as JSON values."""

    tensors: dict[str, Tensor]
    meta: dict[str, Any]

    def save(self, path: Path) -> None:
        """Writes atomically: a crash leaves the file before or the file after, never a mixture.

        Raises CheckpointError when the disk does not take it.
        """
        partial = path.with_suffix(".partial")
        tensors = {k: v.detach().contiguous().cpu() for k, v in self.tensors.items()}
        try:
            with usual_mode(partial):
                save_file(tensors, partial, metadata={"resight": json.dumps({"schema": SCHEMA, **self.meta})})
            with open(partial, "rb") as file:
                os.fsync(file.fileno())
        except (safetensors.SafetensorError, OSError) as error:  # the first is how a full disk looks
            partial.unlink(missing_ok=True)
            hint = ""
            if path.exists():
                hint = "; the one before it is untouched, and the same command resumes from there"
            raise CheckpointError(f"cannot write {path}: {error}{hint}") from error
        os.replace(partial, path)
        sync_folder(path.parent)


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint file, or `checkpoint.safetensors` of a run folder."""
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; train one with: resight train RECIPE --out RUN")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            meta = json.loads((file.metadata() or {}).get("resight", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (safetensors.SafetensorError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    require_schema(path, meta)
    return Checkpoint(tensors, meta)


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with the prefix, without it."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The model's state under the names a checkpoint uses."""
    return {MODEL + name: tensor for name, tensor in model.state_dict().items()}


def flatten_optimiser(name: str, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's per-parameter tensors under flat names; rates and decays come from the recipe."""
    state = optimiser.state_dict()["state"]
    return {
        f"{name}/{index}/{key}": torch.as_tensor(value)
        for index, values in state.items()
        for key, value in values.items()
        if value is not None
    }


def restore_optimiser(name: str, optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Puts the tensors of `flatten_optimiser` back."""
    state: dict[int, dict[str, Tensor]] = {}
    for flat, tensor in tensors.items():
        if flat.startswith(f"{name}/"):
            _, index, key = flat.split("/", 2)
            state.setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
