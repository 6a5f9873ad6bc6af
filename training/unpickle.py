"""The child process that reads a pickled file of weights, and the only place where anything is unpickled.

torch's weights-only reader builds tensors, numbers and plain containers and refuses everything else. Besides,
this process has no network and may start no other one.

    python -m training.unpickle FILE OUT       (tensors by their joined names, as safetensors)
"""

from __future__ import annotations

import collections
import ctypes
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_FORBIDDEN = (
    "socket.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "pty.",
)


def shut_off() -> None:
    """Takes this process's network away where the kernel allows that, and refuses network and child processes
    in Python everywhere. To be called before a thread is started: the kernel refuses a process with threads.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).unshare(_CLONE_NEWUSER | _CLONE_NEWNET)

    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        if event.startswith(_FORBIDDEN):
            raise PermissionError(f"{event} is not allowed while a file of weights is read")

    sys.addaudithook(refuse)


def read(source: Path) -> dict[str, Any]:
    """Every tensor of a file, by its names joined with dots: {"model": {"conv1.weight": t}} is
    model.conv1.weight. What is no tensor under a name is left out."""
    import numpy as np
    import torch

    # numbers of numpy that torchreid keeps beside its weights, under numpy's old and new names
    harmless: list[Any] = [collections.Counter, collections.defaultdict, np.dtype, type(np.dtype(np.float64))]
    harmless += [type(np.dtype(kind)) for kind in (np.float32, np.int64)]
    scalar = np.float64(0).__reduce__()[0]
    harmless += [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    with torch.serialization.safe_globals(harmless):
        loaded = torch.load(source, map_location="cpu", weights_only=True)
    return dict(_tensors(loaded, ""))


def _tensors(value: object, name: str) -> Iterator[tuple[str, Any]]:
    import torch

    if isinstance(value, torch.Tensor):
        yield name, value.detach()
    elif isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(key, str):  # an optimiser's state is numbered
                yield from _tensors(inner, f"{name}.{key}" if name else key)


def _reason(error: Exception) -> str:
    """What the reader says, in one line."""
    refused = re.search(r"GLOBAL ([\w.]+)", str(error))
    if refused is not None:
        return f"it holds more than tensors ({refused[1]}); save model.state_dict() instead of the model"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:300]


def main() -> None:
    """Reads the first argument's file and writes the second's; on an error, one line and status 1."""
    shut_off()
    from safetensors.torch import save_file

    source, out = sys.argv[1:]
    try:
        tensors = read(Path(source))
    except Exception as error:  # whatever a broken or hostile file makes of the reader is one line
        print(_reason(error), file=sys.stderr)
        sys.exit(1)
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, out)


if __name__ == "__main__":
    main()
