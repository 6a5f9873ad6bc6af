"""The device and the processes of a run."""

from __future__ import annotations

import os

from lightning_fabric import Fabric

from reid.engines import Device
from reid.engines.pytorch import torch_device


def processes(precision: str, device: Device = "auto") -> Fabric:
    """Fabric on one device, or on one for each process that `torchrun` started.

    Args:
        precision: of the recipe; `auto` is bf16 on a GPU and float32 on a CPU.
        device: `auto` takes a GPU where there is one.

    Raises EngineError for `cuda` where torch finds none.
    """
    on_gpu = torch_device(device) != "cpu"
    if precision == "auto":
        precision = "bf16-mixed" if on_gpu else "32-true"
    total = int(os.environ.get("WORLD_SIZE", "1"))
    if total == 1:
        return Fabric(accelerator=device, devices=1, precision=precision)
    per_machine = int(os.environ.get("LOCAL_WORLD_SIZE", total))
    machines = total // per_machine
    fabric = Fabric(
        accelerator=device, devices=per_machine, num_nodes=machines, strategy="ddp", precision=precision
    )
    fabric.launch()
    return fabric
