"""The training loop: batches, steps, progress, checkpoints, resume. What a step is, the method says."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from reid.checkpoint import FILE, MODEL, CheckpointError
from reid.models.build import build
from reid.models.recompute import Trunk
from reid.models.runner import run_crops
from training.checkpoint import (
    Checkpoint,
    flatten_optimiser,
    load_checkpoint,
    model_tensors,
    restore_optimiser,
    under,
)
from training.data.loader import Batch, TrainingLoader, load_crops
from training.data.records import Dataset, DatasetError
from training.data.sampler import DomainSampler, IdentitySampler
from training.log import Log
from training.methods import method_of
from training.mixstyle import StyleMixer
from training.processes import processes
from training.recipe import Recipe, RecipeError, first_difference, recipe_from_dict
from training.schedule import cosine_rate, learning_rate
from training.start import start_from, uninitialised
from training.step import Stepper


class TrainingError(RuntimeError):
    """The run cannot go on; the last good checkpoint stays."""


class Run:
    """One training run in one folder: `checkpoint.safetensors`, `recipe.json`, `log.csv`, `tensorboard/`.

    Args:
        recipe: how to train. dataset: what to train on.
        out: the run folder. If it holds a checkpoint of the same recipe, the run resumes from there, with the
            same batches and random numbers as if it had never stopped.

    Raises RecipeError for a method that is unknown or does not fit the recipe, DatasetError for a dataset
    without training crops, and CheckpointError for a folder that holds another run.
    """

    def __init__(self, recipe: Recipe, dataset: Dataset, out: Path) -> None:
        make_method = method_of(recipe)
        if len(dataset.train) == 0:
            raise DatasetError(f"{dataset.name} has no training crops")
        self.recipe, self.dataset, self.out = recipe, dataset, out
        out.mkdir(parents=True, exist_ok=True)
        if recipe.threads:
            torch.set_num_threads(recipe.threads)
        torch.manual_seed(recipe.seed)
        self.fabric = processes(recipe.precision)
        labels = dataset.train_labels()
        cameras, domains = [r.camid for r in dataset.train], [r.domain for r in dataset.train]
        self.identities = dataset.identities()
        embedder = build(recipe.model)
        embedder.trunk.recompute = recipe.gradient_checkpointing
        self._mix_styles(embedder.trunk)
        if recipe.start and not (out / FILE).exists():
            left = uninitialised(start_from(embedder, recipe.start), recipe.start)
            if left:
                self.fabric.print(left)
        self.method = make_method(recipe, embedder, self.identities, max(cameras) + 1)
        self.method.to(memory_format=torch.channels_last)
        self.method.to(self.fabric.device)
        groups = len(self.identities) if self.method.per_domain else 1
        self.stepper = Stepper(self.method, self.fabric, recipe.shards, groups)
        self.optimisers = self.stepper.optimisers
        size = (recipe.batch_identities * recipe.shards, recipe.batch_crops, recipe.seed)
        self.sampler: IdentitySampler | DomainSampler
        if self.method.per_domain:
            self.sampler = DomainSampler(labels, cameras, domains, *size)
        else:
            self.sampler = IdentitySampler(labels, cameras, *size)
        self.epoch, self.step = 1, 0  # the next batch to train on is `step` of `epoch`
        resumed = self._resume()
        self.method.prepare(dataset.train)
        crops = load_crops(dataset.train, recipe.model.height, recipe.model.width)
        self.loader = TrainingLoader(
            crops,
            labels,
            cameras,
            domains,
            recipe.augment,
            recipe.seed,
            recipe.model.mean_pixel,
            recipe.photometric,
            self.fabric.device,
            recipe.early_size,
        )
        if not resumed:
            self.method.begin(lambda: self._embed(crops, labels))

    def fit(self, checkpoint_minutes: float = 5.0, max_steps: int | None = None) -> None:
        """Trains to the end of the recipe, or `max_steps` more steps.

        Saves a checkpoint after every epoch, and every `checkpoint_minutes` where a single process trains.
        Raises TrainingError on a loss that is not finite.
        """
        left = math.inf if max_steps is None else max_steps
        epochs, per_epoch = self.recipe.optimiser.epochs, len(self.sampler)
        first, alone = self.fabric.is_global_zero, self.fabric.world_size == 1
        saved = time.monotonic()
        with (
            _progress_bar(disable=not first) as bar,
            Log(self.out, (self.epoch, self.step), silent=not first) as log,
        ):
            task = bar.add_task("", total=epochs * per_epoch, rate=0.0, text="")
            while self.epoch <= epochs and left > 0:
                if self.step == 0:
                    self.stepper.begin_epoch()
                for shards in self._batches():
                    losses, rate = self._timed_step(shards)
                    self.step, left = self.step + 1, left - 1
                    log.write(self.epoch, self.step, rate, losses)
                    done = (self.epoch - 1) * per_epoch + self.step
                    text = f"epoch {self.epoch}/{epochs} loss {sum(losses.values()):.3f}"
                    bar.update(task, completed=done, rate=rate, text=text)
                    if alone and time.monotonic() - saved > checkpoint_minutes * 60:
                        self.save()
                        saved = time.monotonic()
                    if left <= 0:
                        break
                if self.step >= per_epoch:
                    self.epoch, self.step = self.epoch + 1, 0
                self.save()
        if first:
            (self.out / "recipe.json").write_text(json.dumps(self.recipe.to_dict(), indent=2) + "\n")

    def save(self) -> None:
        """Writes the checkpoint: method, optimisers and position.

        All processes must call it; the first one writes.
        """
        carried = self.stepper.carried()
        if not self.fabric.is_global_zero:
            return
        tensors = model_tensors(self.method.pixels.embedder)
        for name, tensor in self.method.state_dict().items():
            if not name.startswith("pixels."):
                tensors[f"method/{name}"] = tensor
        for name, optimiser in self.optimisers.items():
            tensors |= flatten_optimiser(f"optimiser.{name}", optimiser)
        for name, tensor in carried.items():
            tensors[f"carried/{name}"] = tensor
        recipe = self.recipe.to_dict()
        meta = {
            "model": recipe["model"],
            "recipe": recipe,
            "dataset": self.dataset.name,
            "epoch": self.epoch,
            "step": self.step,
            "identities": self.identities,
        }
        Checkpoint(tensors, meta).save(self.out / FILE)

    def _resume(self) -> bool:
        """Restores the checkpoint of the run folder; False where there is none."""
        path = self.out / FILE
        if not path.exists():
            return False
        checkpoint = load_checkpoint(path)
        # a key that this version added has its default in an older checkpoint
        trained = recipe_from_dict(checkpoint.meta["recipe"], str(path)).to_dict()
        difference = first_difference(trained, self.recipe.to_dict())
        if difference:
            raise CheckpointError(
                f"{self.out} was trained with another recipe: {difference}; choose another --out or the same "
                f"recipe"
            )
        if checkpoint.meta["identities"] != self.identities:
            raise CheckpointError(
                f"{self.out} was trained on {checkpoint.meta['identities']} identities, the data has "
                f"{self.identities}"
            )
        state = under("method/", checkpoint.tensors)
        for name, tensor in under(MODEL, checkpoint.tensors).items():
            state[f"pixels.embedder.{name}"] = tensor
        self.method.load_state_dict(state, strict=True)
        for name, optimiser in self.optimisers.items():
            restore_optimiser(f"optimiser.{name}", optimiser, checkpoint.tensors)
        carried = under("carried/", checkpoint.tensors)
        self.stepper.carry({name: tensor.to(self.fabric.device) for name, tensor in carried.items()})
        self.epoch, self.step = checkpoint.meta["epoch"], checkpoint.meta["step"]
        return True

    def _mix_styles(self, trunk: Trunk) -> None:
        """Gives the trunk MixStyle, if the recipe has it. RecipeError for a trunk without a place for it."""
        if not self.recipe.mixstyle.chance:
            return
        if not trunk.mixed_stages:
            raise RecipeError(
                f"{self.recipe.model.arch} has no stages for MixStyle: set mixstyle.chance to 0, or choose a "
                f"ResNet or an EfficientNet-Lite"
            )
        trunk.mixer = StyleMixer(self.recipe.mixstyle)

    def _embed(self, crops: np.ndarray, labels: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Unit embeddings [N,D] of all training crops by the network as it stands, and their labels [N]."""
        self.method.eval()
        device = self.fabric.device
        embeddings = run_crops(self.method.pixels, crops, device)
        return torch.from_numpy(embeddings).to(device), torch.tensor(labels, device=device)

    def _batches(self) -> Iterator[list[Batch]]:
        """The remaining batches of the epoch, each as this process's shards, on the device."""
        batches = self.sampler.batches(self.epoch)
        return self.loader.epoch(self.epoch, batches, self.stepper.slots, skip=self.step)

    def _timed_step(self, shards: list[Batch]) -> tuple[dict[str, float], float]:
        """The losses of one step, and images a second of all processes together."""
        began = time.perf_counter()
        losses = self._train_step(shards)
        seconds = time.perf_counter() - began
        return losses, self.fabric.world_size * sum(len(shard.labels) for shard in shards) / seconds

    def _train_step(self, shards: list[Batch]) -> dict[str, float]:
        self.method.train()
        for group in self.optimisers["network"].param_groups:
            group["lr"] = self._rate()
        try:
            return self.stepper(shards, (self.recipe.seed, self.epoch, self.step))
        except FloatingPointError as error:
            raise TrainingError(
                f"the loss is not finite at epoch {self.epoch}, step {self.step + 1} ({error}); "
                f"the last good checkpoint in {self.out} is kept; try a lower optimiser.rate"
            ) from error

    def _rate(self) -> float:
        """The learning rate of the next step."""
        settings = self.recipe.optimiser
        warmup = (settings.warmup_epochs, settings.warmup_factor)
        if settings.schedule == "cosine":
            passed = self.epoch - 1 + self.step / len(self.sampler)
            return cosine_rate(passed, settings.rate, settings.epochs, *warmup)
        return learning_rate(self.epoch, settings.rate, settings.milestones, settings.gamma, *warmup)


def _progress_bar(disable: bool) -> Progress:
    columns = (
        TextColumn("{task.fields[text]}"),
        BarColumn(),
        TextColumn("{task.fields[rate]:.0f} images/s"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), refresh_per_second=1, disable=disable)
