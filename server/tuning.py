"""How this server shares the CPU's cores out between queries and bulk work: as `resight tune` measured it,
or a default. What was measured lies beside the gallery and holds for this CPU, these packages, this bundle.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from reid.bundle import Bundle
from reid.engines import EngineInfo
from server.engine_trials import cpu, packages

FILE = "tuning.json"
AGAIN = "run resight tune again"
_MOST_STREAMS = 16  # without a measurement; each costs a thread and room for a batch
_MOST_CROPS = 1024  # in a batch that was measured
_BATCH = 8  # likewise: a smaller one delays a query less, a larger one is hardly faster


@dataclasses.dataclass(frozen=True)
class Tuning:
    """What an engine that shares cores is opened with.

    Args:
        query_threads: of the engine for queries; 0: what the runtime thinks best.
        streams: batches of bulk work at once while no queries come; 0: none, the engine for queries does all.
        batch: crops in each of these.
        measured: whether `resight tune` says so. note: why what it once measured is not used; None: nothing
            was measured, or it is used.
    """

    query_threads: int
    streams: int
    batch: int
    measured: bool = False
    note: str | None = None


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_tuning(note: str | None = None) -> Tuning:
    """One stream a core. On a single core there is nothing to share out."""
    available = cores()
    return Tuning(0, min(available, _MOST_STREAMS) if available > 1 else 0, _BATCH, note=note)


def kept_tuning(bundle: Bundle, engine: EngineInfo, folder: Path) -> Tuning:
    """What was measured for these circumstances, the default otherwise."""
    try:
        text = (folder / FILE).read_text()
    except FileNotFoundError:
        return default_tuning()
    except (OSError, ValueError) as error:
        return default_tuning(f"{FILE} cannot be read ({error}); {AGAIN}")
    try:
        values = json.loads(text)
        valid_for, chosen = dict(values["valid_for"]), values["tuning"]
        threads, streams, batch = (chosen[name] for name in ("query_threads", "streams", "batch"))
        if any(type(number) is not int or number < 0 for number in (threads, streams, batch)) or not batch:
            raise ValueError
        if max(threads, streams) > cores() or batch > _MOST_CROPS:
            raise ValueError  # no measurement writes that, and there might be no memory for it
    except (ValueError, KeyError, TypeError, RecursionError):
        return default_tuning(f"{FILE} is damaged; {AGAIN}")
    changed = [name for name, value in _circumstances(bundle, engine).items() if valid_for.get(name) != value]
    if changed:
        return default_tuning(f"{FILE} was measured with another {' and another '.join(changed)}; {AGAIN}")
    return Tuning(threads, streams, batch, measured=True)


def keep_tuning(tuning: Tuning, bundle: Bundle, engine: EngineInfo, folder: Path) -> None:
    """Writes what was measured, atomically. Raises OSError."""
    values: dict[str, Any] = {
        "valid_for": _circumstances(bundle, engine),
        "tuning": {name: getattr(tuning, name) for name in ("query_threads", "streams", "batch")},
    }
    partial = (folder / FILE).with_suffix(".partial")
    partial.write_text(json.dumps(values, indent=1) + "\n")
    os.replace(partial, folder / FILE)


def _circumstances(bundle: Bundle, engine: EngineInfo) -> dict[str, str]:
    """What a measurement depends on, by the words in which a person is told that it has changed."""
    return {
        "bundle": bundle.base_id,
        "engine": f"{engine.engine} {bundle.precision_id(engine.precision)}",
        "CPU": hashlib.sha256(cpu().encode()).hexdigest()[:16],
        "number of cores": str(cores()),
        "set of packages": ", ".join(packages()),
    }
