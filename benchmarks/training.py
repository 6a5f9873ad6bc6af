"""A training step of every method beside plain BoT: speed and peak memory, each in a process of its own.

python -m benchmarks.training

MGN's height is a multiple of 96: `--recipes bot mgn mgn-ptl --set model.height=192`. The others are compared
with the first recipe.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time

import numpy as np
import torch
from lightning_fabric import Fabric

from benchmarks.serving import DEMO, ROOT
from reid.models.build import build
from training.data.loader import Batch
from training.methods import METHODS
from training.recipe import load_recipe
from training.step import Stepper

RECIPES = ("bot", "m3l", "m3l-baseline", "dcsd", "ptl", "std", "bnta", "agw", "snr", "ptl-densenet161")
_DOMAINS, _IDENTITIES, _CAMERAS = 3, 100, 4


def measure(name: str, crops: int, steps: int, settings: list[str]) -> tuple[float, float]:
    """Images a second (median step) and MiB at the peak.

    The peak is this process's, which should not have measured anything before.
    """
    recipe = load_recipe(name, [*settings, f"distill.teacher={DEMO}"])
    method = METHODS[recipe.method](recipe, build(recipe.model), [_IDENTITIES] * _DOMAINS, _CAMERAS).to(
        memory_format=torch.channels_last
    )
    stepper = Stepper(method, Fabric(devices=1, accelerator="cpu", precision=recipe.precision))
    rng = np.random.default_rng(0)
    domains = np.repeat(np.arange(_DOMAINS), crops // _DOMAINS)
    within = np.arange(len(domains)) % (crops // _DOMAINS) // 4
    shape = (len(domains), recipe.model.height, recipe.model.width, 3)
    columns = (domains * _IDENTITIES + within, domains % _CAMERAS, domains, np.arange(len(domains)))
    batch = Batch(
        torch.from_numpy(rng.integers(0, 255, shape, np.uint8)),
        *(torch.from_numpy(c.astype(np.int64)) for c in columns),
    )
    method.train()
    times = []
    for _ in range(steps + 1):
        began = time.perf_counter()
        stepper([batch])
        times.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return len(domains) / statistics.median(times[1:]), peak


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--crops", type=int, default=48, help="crops in a batch; a multiple of 12")
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    parser.add_argument("--steps", type=int, default=3)
    small = ["model.height=128", "model.width=64", "precision=32-true"]
    parser.add_argument("--set", action="append", default=small, help="key=value over the recipes")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(*measure(options.one, options.crops, options.steps, options.set))
        return
    print(f"ResNet-50, {options.crops} crops a batch, {' '.join(options.set)}")
    print(f"{'recipe':14} {'images/s':>9} {'ratio':>7} {'MiB':>7} {'ratio':>7}")
    first: tuple[float, float] | None = None
    for name in options.recipes:
        command = [
            sys.executable,
            "-m",
            "benchmarks.training",
            "--one",
            name,
            "--crops",
            str(options.crops),
            "--steps",
            str(options.steps),
        ]
        command += [word for setting in options.set for word in ("--set", setting)]
        answer = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
        rate, memory = float(answer[-2]), float(answer[-1])
        first = first or (rate, memory)
        print(
            f"{name:14} {rate:9.1f} {rate / first[0]:7.2f} {memory:7.0f} {memory / first[1]:7.2f}", flush=True
        )


if __name__ == "__main__":
    main()
