"""Trials of engines, whose results are kept beside the gallery: they hold for this CPU, these packages and
this bundle, so only the first start pays for them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from reid.bundle import INT8, PROBE, Bundle
from reid.engine_names import INT8 as OPENVINO_INT8
from reid.engines.trial import Trial, trial_of

log = logging.getLogger("resight")
FILE = "engines.json"
_PACKAGES = ("numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "openvino", "torch", "resight")
_NO_PROBE = "the bundle records no embeddings to compare with, since an older Resight exported it"


class EngineTrials:
    """What came out for each engine that was tried, by its name.

    Args:
        folder: where the file `engines.json` lies; anything unreadable in it is as if it were not there.
    """

    def __init__(self, bundle: Bundle, folder: Path) -> None:
        self.bundle, self.path = bundle, folder / FILE
        self.valid_for = _circumstances(bundle)
        self.results: dict[str, Trial] = {}

    def __call__(self, name: str) -> Trial:
        """The kept result of an engine's trial, or that of one now."""
        recorded = INT8 if name == OPENVINO_INT8 else PROBE
        if recorded not in self.bundle.manifest.files:
            outcome = Trial(undecided=_NO_PROBE, lasting=False)
        else:
            outcome = self._kept().get(name) or self._try(name)
        self.results[name] = outcome
        return outcome

    def _try(self, name: str) -> Trial:
        outcome = trial_of(self.bundle, name)
        if outcome.undecided is not None:
            log.warning("the trial of engine %s came to no result: %s", name, outcome.undecided)
        if outcome.lasting:
            self._keep(self._kept() | {name: outcome})
        return outcome

    def _kept(self) -> dict[str, Trial]:
        try:
            values = json.loads(self.path.read_text())
            if values["valid_for"] != self.valid_for:
                return {}
            return {name: Trial(**fields) for name, fields in values["trials"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _keep(self, trials: dict[str, Trial]) -> None:
        values: dict[str, Any] = {
            "valid_for": self.valid_for,
            "trials": {name: dataclasses.asdict(trial) for name, trial in trials.items()},
        }
        partial = self.path.with_suffix(".partial")
        try:
            partial.write_text(json.dumps(values, indent=1) + "\n")
            os.replace(partial, self.path)
        except OSError as error:
            log.warning("results of trials cannot be kept in %s: %s", self.path, error.strerror)


def _circumstances(bundle: Bundle) -> str:
    """A digest of what a result depends on."""
    files = [bundle.manifest.files.get(name, "") for name in (PROBE, INT8)]
    parts = [bundle.base_id, *files, platform.machine(), cpu(), *packages()]
    engines = bundle.manifest.engines  # say in which precision an engine runs
    parts += [f"{name} {parity.precision}" for name, parity in sorted(engines.items())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def packages() -> list[str]:
    """Those that compute embeddings, with their versions."""
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found


def cpu() -> str:
    """The CPU's name and its instruction sets."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    named = dict.fromkeys(line for line in lines if line.startswith(("model name", "flags", "Features")))
    return "\n".join(named)
