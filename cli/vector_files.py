"""Vectors out of a file: as `resight embed` writes them, as the server answered them, or an array alone."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from cli.output import fail, shown

_KINDS = "it is NAME.npz of resight embed, NAME.npy of numpy.save, or the JSON that POST /embed answered"


def read_vectors(option: str, path: Path) -> tuple[list[list[float]], str | None]:
    """Vectors, and their raw space where the file names it. Fails for anything else."""
    name = f"{option} {shown(path)}"
    if path.is_dir():
        fail(f"{name} is a folder; {_KINDS}")
    if not path.is_file():
        fail(f"{name} {'is a device or a pipe and no file' if path.exists() else 'does not exist'}")
    try:
        vectors, space = _arrays(path) if path.suffix in (".npy", ".npz") else _json(path)
    except OSError as error:
        fail(f"{name} cannot be read: {error.strerror or 'it is not whole'}")
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, RecursionError):
        fail(f"{name} holds no vectors; {_KINDS}")
    if not vectors:
        fail(f"{name} holds no vectors: it is empty")
    return vectors, space


def _arrays(path: Path) -> tuple[list[list[float]], str | None]:
    import numpy as np

    loaded = np.load(path, allow_pickle=False)
    if path.suffix == ".npy":
        return _rows(loaded), None
    with loaded:
        space = str(loaded["raw_space_id"]) if "raw_space_id" in loaded else None
        return _rows(loaded["vectors"]), space


def _json(path: Path) -> tuple[list[list[float]], str | None]:
    values = json.loads(path.read_bytes())
    space = None
    if isinstance(values, dict):
        values, space = values["vectors"], values.get("raw_space_id")
    return _rows(values), space


def _rows(values: Any) -> list[list[float]]:
    """A vector alone, or several, as lists. Raises ValueError or TypeError for anything else."""
    import numpy as np

    array = np.asarray(values, np.float32)
    if array.ndim not in (1, 2):
        raise ValueError(array.shape)
    rows: list[list[float]] = np.atleast_2d(array).tolist() if array.size else []
    return rows
