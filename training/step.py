"""One step of training, on a batch of several shards that one process computes or several share.

Every shard is a P x K batch with BatchNorm statistics, losses and random numbers of its own (for M3L: a
meta-task with an inner step of its own). Gradients and running statistics are the mean over shards; shards
write to different places of a memory, and their changes are added. So the trained model depends on the number
of shards and not on the number of processes: the result of four processes matches single-process training
with shards=4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from training.checkpoint import under
from training.data.loader import Batch
from training.methods.method import Method
from training.recipe import RecipeError


class Stepper:
    """The steps of a method, on this process's share of the shards.

    Args:
        shards: of every batch, on all processes together; a multiple of their number, else RecipeError.
        groups: contiguous blocks of a batch that are sharded separately: one for each domain, where a batch
            holds several.
    """

    def __init__(self, method: Method, fabric: Fabric, shards: int = 1, groups: int = 1) -> None:
        if shards % fabric.world_size:
            raise RecipeError(
                f"{fabric.world_size} processes cannot share {shards} shards: set shards to a multiple of "
                f"{fabric.world_size}"
            )
        each = shards // fabric.world_size
        self.method, self.fabric, self.shards, self.groups = method, fabric, shards, groups
        self.local = range(fabric.global_rank * each, (fabric.global_rank + 1) * each)
        self.optimisers = method.optimisers()
        # what the method's `carried` returned, for each shard of this process
        self.states: list[dict[str, Tensor]] = [{} for _ in self.local]

    def slots(self, size: int) -> list[list[int]]:
        """Places in a batch of `size` crops that each shard of this process takes."""
        places = np.arange(size).reshape(self.groups, self.shards, -1)
        return [places[:, shard].ravel().tolist() for shard in self.local]

    def begin_epoch(self) -> None:
        """Called before the first step of an epoch."""
        self.method.begin_epoch()
        self.states = [{} for _ in self.local]

    def __call__(self, batches: Sequence[Batch], seed: tuple[int, ...] = (0,)) -> dict[str, float]:
        """One step with the method in train mode; returns its losses, the mean over all shards.

        Args:
            batches: one for each shard of this process.
            seed: of this step's random numbers; the shard's number is mixed in.

        Raises FloatingPointError naming the losses when they are not finite, before any weight changes.
        """
        for optimiser in self.optimisers.values():
            optimiser.zero_grad(set_to_none=True)
        shard_losses: list[dict[str, Tensor]] = []

        def backward(place: int) -> None:
            torch.manual_seed(int(np.random.SeedSequence((*seed, self.local[place])).generate_state(1)[0]))
            with self.fabric.autocast():
                losses = self.method(batches[place])
            (torch.stack(list(losses.values())).sum() / self.shards).backward()
            shard_losses.append({name: loss.detach() for name, loss in losses.items()})

        self._together(backward)
        names = list(shard_losses[0])
        sums = [torch.stack([losses[name].float() for losses in shard_losses]).sum() for name in names]
        means = torch.stack(sums) / self.shards
        self._sum([means])
        if not torch.isfinite(means).all():
            values = zip(names, means.tolist(), strict=True)
            raise FloatingPointError(", ".join(f"{name} {value:g}" for name, value in values))
        self._sum([p.grad for p in self.method.parameters() if p.grad is not None])
        self.method.before_step()
        for optimiser in self.optimisers.values():
            optimiser.step()
        if type(self.method).after_step is not Method.after_step:

            def after(place: int) -> None:
                with self.fabric.autocast():
                    self.method.after_step(batches[place])

            self._together(after)
        return dict(zip(names, means.tolist(), strict=True))

    def carried(self) -> dict[str, Tensor]:
        """What every shard of every process carries over between steps, by `SHARD/NAME`.

        All processes must call it together.
        """
        carried: dict[str, Tensor] = {}
        for place, state in enumerate(self.states):
            for name, tensor in state.items():
                ranks = self.fabric.all_gather(tensor) if self.fabric.world_size > 1 else tensor[None]
                for rank, of_rank in enumerate(ranks):
                    carried[f"{rank * len(self.local) + place}/{name}"] = of_rank
        return carried

    def carry(self, tensors: dict[str, Tensor]) -> None:
        """Restores what `carried` returned."""
        for place, shard in enumerate(self.local):
            self.states[place] = under(f"{shard}/", tensors)

    def _together(self, work: Callable[[int], None]) -> None:
        """Runs `work` for each shard of this process from the same buffers, then merges the buffers.

        Afterwards all processes hold the same ones.
        """
        buffers: dict[str, Tensor] = {}
        if self.shards > 1:  # a single shard has nothing to merge
            persistent = self.method.state_dict().keys()
            buffers = {name: buffer for name, buffer in self.method.named_buffers() if name in persistent}
        before = {name: buffer.clone() for name, buffer in buffers.items()}
        change: dict[str, Tensor] = {}
        for name, buffer in before.items():
            if buffer.is_floating_point():  # counters need no merging: each shard counts the same steps
                change[name] = torch.zeros_like(buffer)
        for place in range(len(self.local)):
            for name, old in before.items():
                buffers[name].copy_(old)
            self.method.carry(self.states[place])
            work(place)
            self.states[place] = self.method.carried()
            for name, total in change.items():
                total += buffers[name] - before[name]
        self._sum(list(change.values()))
        for name, total in change.items():
            share = 1 if name in self.method.disjoint else 1 / self.shards
            buffers[name].copy_(before[name] + share * total)

    def _sum(self, tensors: list[Tensor]) -> None:
        """Adds the tensors of all processes, in place."""
        if self.fabric.world_size == 1 or not tensors:
            return
        flat = torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors])
        added = self.fabric.all_reduce(flat, reduce_op="sum")
        assert isinstance(added, Tensor)
        for tensor, part in zip(tensors, added.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.detach().copy_(part.view_as(tensor))
