"""The device and the processes of a run."""

from __future__ import annotations

import os

import torch
from lightning_fabric import Fabric


def processes(precision: str) -> Fabric:
    """Fabric on one device, or on one for each process that `torchrun` started.

    Args:
        precision: of the recipe; `auto` is bf16 on a GPU and float32 on a CPU.
    """
    if precision == "auto":
        precision = "bf16-mixed" if torch.cuda.is_available() else "32-true"
    total = int(os.environ.get("WORLD_SIZE", "1"))
    if total == 1:
        return Fabric(devices=1, precision=precision)
    per_machine = int(os.environ.get("LOCAL_WORLD_SIZE", total))
    machines = total // per_machine
    fabric = Fabric(devices=per_machine, num_nodes=machines, strategy="ddp", precision=precision)
    fabric.launch()
    return fabric
