"""The process that computes a profile with torch and ends: `python -m server.worker FOLDER`.

It reads the request in the folder, reports progress on its standard output, a JSON object a line
(`{"share": 0.5, "stage": "pairing"}`, or `{"error": "...", "disk_full": false}` before it ends with status
1), and writes the answer into the folder. It ends when its standard input ends, which the server holds open.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import errno
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from server.work import CROPS, Progress, WorkAnswer, WorkRequest

_NICENESS = 5  # a third of the share of a process that is not niced
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """The process."""
    folder = Path(sys.argv[1])
    _end_with_parent()
    _stand_back()
    # The pipe belongs to progress alone: whatever a library prints goes to the log.
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        request = WorkRequest.read(folder)
        crops = np.memmap(folder / CROPS, np.uint8, "c", shape=request.shape)
        compute(request, crops, lambda share, stage: _say(channel, share=share, stage=stage)).write(folder)
    except Exception as error:  # the server wants a sentence, the log the rest
        traceback.print_exc()
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        _say(channel, error=f"{type(error).__name__}: {error}", disk_full=full)
        os._exit(1)
    os._exit(0)  # the answer is written; what runtimes do while they unload can only take time or crash


def compute(request: WorkRequest, crops: np.ndarray, progress: Progress) -> WorkAnswer:
    """One of the tiers that need torch, from the bundle's own values: adapting an adaptation drifts."""
    progress(0.0, "loading torch")
    import torch

    from reid.engines.fallbacks import lacks_memory
    from reid.engines.pytorch import compute_in_float32

    compute_in_float32()
    if request.device == "cpu" or not torch.cuda.is_available():
        return _compute_on("cpu", request, crops, progress)
    try:
        return _compute_on("cuda", request, crops, progress)
    except RuntimeError as error:  # torch.OutOfMemoryError is one, and so is a GPU that others have filled
        if not lacks_memory(error):
            raise
        reason = " ".join(str(error).split())
    # outside the handler: the error's traceback holds the tensors that filled the GPU
    torch.cuda.empty_cache()
    progress(0.0, "starting again on the CPU: the GPU has too little memory")
    answer = _compute_on("cpu", request, crops, progress)
    answer.report["notes"] = [
        f"The CPU computed tier {request.tier}, because the GPU had no memory: {reason}"
    ]
    return answer


def _compute_on(device: str, request: WorkRequest, crops: np.ndarray, progress: Progress) -> WorkAnswer:
    """All of it on one device. Raises RuntimeError where a GPU has too little memory."""
    from reid.batchnorm import profile_from_model
    from reid.bundle import Bundle
    from reid.engines.pytorch import load_embedder
    from reid.models.runner import CropRunner

    bundle = Bundle.load(request.bundle)
    embedder = load_embedder(bundle).to(device)
    began = time.perf_counter()
    report = COMPUTED[request.tier](embedder, crops, request, progress)
    seconds = time.perf_counter() - began
    expected = CropRunner(embedder, device).embed(crops[: request.probes])
    report |= {"device": device, "seconds": {"adapt": round(seconds, 3)}}
    return WorkAnswer(profile_from_model(bundle.base_id, embedder).to_bytes(), expected, report)


def _bnta(embedder: Any, crops: np.ndarray, request: WorkRequest, progress: Progress) -> dict[str, Any]:
    """Tier 2, in place. Returns fields of JobReport."""
    from reid.adaptation.bnta import Bnta, adapt

    result = adapt(embedder, crops, Bnta(seed=request.seed), progress)
    return {
        "pairs": result.pairs,
        "mean_pair_distance": round(result.mean_pair_distance, 4),
        "losses": result.losses,
    }


def _groups(embedder: Any, crops: np.ndarray, request: WorkRequest, progress: Progress) -> dict[str, Any]:
    """Tier 3, in place. Returns fields of JobReport."""
    from reid.adaptation.groups import Groups, adapt_by_groups

    result = adapt_by_groups(embedder, crops, request.cameras, Groups(seed=request.seed), progress)
    return {"groups": dataclasses.asdict(result)}


# the tiers of `reid.adaptation.ladder` that need torch
COMPUTED: dict[str, Callable[[Any, np.ndarray, WorkRequest, Progress], dict[str, Any]]] = {
    "2": _bnta,
    "3": _groups,
}


def _say(channel: TextIO, **values: Any) -> None:
    channel.write(json.dumps(values) + "\n")
    channel.flush()


def _end_with_parent() -> None:
    """The kernel kills this process with the thread that started it, even when nothing of it runs; the pipe
    also covers other systems, and a parent that was gone before the kernel had been asked."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def wait() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _stand_back() -> None:
    """Queries go first, and the system that runs out of memory takes this process instead of the server."""
    os.nice(_NICENESS)
    with contextlib.suppress(OSError):  # systems without it
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    main()
