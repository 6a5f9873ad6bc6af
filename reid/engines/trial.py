"""A candidate engine embeds the bundle's probe in a process of its own before it serves: on some CPUs a
runtime ends its process (illegal instruction, division fault), and on some it computes nonsense.

`python -m reid.engines.trial BUNDLE ENGINE` prints one line of JSON, a Trial.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reid.bundle import Bundle, cosine
from reid.engine_names import INT8
from reid.engines.agreement import check_agreement, probe_crops
from reid.engines.protocol import Engine, EngineError

_PROGRAM = (sys.executable, "-m", "reid.engines.trial")
_TIMEOUT_S = 300
_BATCH, _MEASURED_S = 32, 0.5
# signals that a process gets for what it computes; others come from somebody who ends it
_FAULTS = {
    int(number): number.name
    for number in (signal.SIGILL, signal.SIGFPE, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT)
}


@dataclasses.dataclass(frozen=True)
class Trial:
    """What came out.

    Args:
        refused: why the engine cannot be used; None where it can.
        undecided: why the trial came to no result, which says nothing against the engine.
        min_cosine: lowest cosine to the recorded embeddings. crops_per_second: at batch 32, beside whatever
            else the machine does. Both None where the engine came to no result.
        speed_up: of int8, times the rate of the same runtime in float, measured in turns.
        lasting: whether the same packages would come to the same result on this CPU again.
    """

    refused: str | None = None
    undecided: str | None = None
    min_cosine: float | None = None
    crops_per_second: float | None = None
    speed_up: float | None = None
    lasting: bool = True


def check_probe(bundle: Bundle, engine: Engine) -> float | None:
    """The lowest cosine of what an engine makes of the bundle's probe to what is recorded; None where the
    bundle has no probe. Raises EngineError where they differ by more than the engine's precision allows."""
    int8 = bundle.int8() if engine.describe().precision == "int8" else None
    recorded = bundle.probe() if int8 is None else int8.embeddings
    if recorded is None:
        return None
    embedded = engine.embed(probe_crops(*bundle.size, len(recorded)))
    check_agreement(embedded, recorded, engine.describe().precision)
    return float(cosine(embedded, recorded).min())


def trial_of(
    bundle: Bundle, name: str, program: Sequence[str] = _PROGRAM, timeout_s: float = _TIMEOUT_S
) -> Trial:
    """Tries an engine in a process of its own, whatever becomes of that."""
    try:
        ended = subprocess.run(
            [*program, str(bundle.path), name], capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return Trial(undecided=f"nothing came within {timeout_s:g} s", lasting=False)
    except OSError as error:
        return Trial(undecided=f"no process could be started: {error.strerror}", lasting=False)
    if -ended.returncode in _FAULTS:
        return Trial(f"it ended the process that tried it, by {_FAULTS[-ended.returncode]}")
    if ended.returncode < 0:  # somebody stopped it, or needed its memory
        return Trial(undecided=f"signal {-ended.returncode} ended the process", lasting=False)
    try:
        values: dict[str, Any] = json.loads(ended.stdout.strip().splitlines()[-1])
        return Trial(**values)
    except (IndexError, ValueError, TypeError):
        last = (ended.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        return Trial(f"its trial ended with status {ended.returncode}: {last[:300]}", lasting=False)


def tried(bundle: Bundle, name: str) -> Trial:
    """Tries an engine in this process."""
    from reid.engines.chooser import choose_engine

    try:
        engine = choose_engine(bundle, "cpu", name)
        lowest = check_probe(bundle, engine)
    except EngineError as error:
        return Trial(str(error))
    engines = [engine]
    if name == INT8:
        # Without a float engine that works, int8 has nothing to be compared with.
        with contextlib.suppress(EngineError):
            engines.append(choose_engine(bundle, "cpu", "openvino"))
    rates = _rates(bundle, engines)
    return Trial(
        min_cosine=None if lowest is None else round(lowest, 6),
        crops_per_second=round(rates[0], 1),
        speed_up=round(rates[0] / rates[1], 3) if len(rates) > 1 else None,
    )


def _rates(bundle: Bundle, engines: Sequence[Engine]) -> list[float]:
    """Crops a second of each, the best of some batches. They take turns, so that whatever else the machine
    does meets them all."""
    crops = np.resize(probe_crops(*bundle.size, 1), (_BATCH, *bundle.size, 3))
    best, until = [float("inf")] * len(engines), time.perf_counter() + _MEASURED_S * len(engines)
    while time.perf_counter() < until:
        for place, engine in enumerate(engines):
            began = time.perf_counter()
            engine.embed(crops)
            best[place] = min(best[place], time.perf_counter() - began)
    return [_BATCH / seconds for seconds in best]


if __name__ == "__main__":
    outcome = tried(Bundle.load(Path(sys.argv[1])), sys.argv[2])
    print(json.dumps(dataclasses.asdict(outcome)))
