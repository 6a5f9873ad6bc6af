"""The training loop: batches, steps, progress, checkpoints, resume. What a step is, the method says."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reid.checkpoint import FILE, MODEL, CheckpointError
from reid.engines import Device
from reid.images import CropSize
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
from training.data.samplers import make_sampler
from training.data.selection import draw_people
from training.data.validation import cut_validation
from training.freeze import Frozen
from training.interrupts import Interrupted, StopSignals, TrainingError
from training.log import Log, Measured
from training.memory import peak_memory_mib
from training.methods import method_of
from training.mixstyle import StyleMixer
from training.processes import processes
from training.progress import Report
from training.recipe import Recipe, RecipeError, recipe_from_dict
from training.resume import require_same_recipe
from training.schedule import misfits, rate_at
from training.start import start_from, uninitialised
from training.step import Stepper
from training.validation import Validator


class Run:
    """One training run in one folder: `checkpoint.safetensors`, `recipe.json`, `log.csv`, `tensorboard/`.

    With `validation.every` also `evaluations.csv` and `best.safetensors`.

    Args:
        recipe: how to train. dataset: what to train on.
        out: the run folder. If it holds a checkpoint of the same recipe, the run resumes from there, with the
            same batches and random numbers as if it had never stopped; with more epochs it goes on.
        validation: whose query and gallery are ranked every `validation.every` epochs; None cuts a part of
            the training identities off for it.
        device: to train on.

    Raises RecipeError for a method that is unknown or does not fit the recipe, DatasetError for a dataset
    without training crops, CheckpointError for a folder that holds another run, EngineError for a device that
    is not there, and TrainingError for a file in the folder's place or logs that somebody has changed.
    """

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        out: Path,
        validation: Dataset | None = None,
        device: Device = "auto",
    ) -> None:
        make_method = method_of(recipe)
        if len(dataset.train) == 0:
            raise DatasetError(f"{dataset.name} has no training crops")
        if recipe.validation.every and validation is None:
            if recipe.validation.dataset:
                raise RecipeError(f"validation.dataset {recipe.validation.dataset!r} has not been read")
            dataset, validation = cut_validation(dataset, recipe.validation.share, recipe.seed)
        dataset = draw_people(dataset, recipe.identities, recipe.seed)
        self.recipe, self.dataset, self.out, self.validation = recipe, dataset, out, validation
        if out.exists() and not out.is_dir():
            raise TrainingError(f"{out} is a file, and a run needs a folder; choose another --out")
        for check in (Log.check, Validator.check):
            check(out)
        if recipe.threads:
            torch.set_num_threads(recipe.threads)
        torch.manual_seed(recipe.seed)
        self.fabric = processes(recipe.precision, device)
        self.report = Report(silent=not self.fabric.is_global_zero)
        for sentence in misfits(recipe.optimiser):
            self.report.say(f"warning: {sentence}")
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
        self.frozen = Frozen(embedder, recipe.freeze)
        self.method.to(memory_format=torch.channels_last)
        self.method.to(self.fabric.device)
        groups = len(self.identities) if self.method.per_domain else 1
        self.stepper = Stepper(self.method, self.fabric, recipe.shards, groups)
        self.optimisers = self.stepper.optimisers
        batch = (recipe.batch_identities * recipe.shards, recipe.batch_crops, recipe.seed)
        of_records = (labels, cameras, domains)
        self.sampler = make_sampler(
            recipe.sampler, recipe.steps_per_epoch, of_records, batch, self.method.per_domain
        )
        self.epoch, self.step = 1, 0  # the next batch to train on is `step` of `epoch`
        out.mkdir(parents=True, exist_ok=True)  # not before all is there that the recipe names
        resumed = self._resume()
        self.method.prepare(dataset.train)
        size = CropSize(recipe.model.height, recipe.model.width, recipe.model.interpolation)
        with self.report.counting("reading images", "images") as show:
            crops = load_crops(dataset.train, *size, progress=show)
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
        Raises TrainingError on a loss that is not finite, and Interrupted, with the checkpoint saved, after
        Ctrl-C or SIGTERM.
        """
        left = math.inf if max_steps is None else max_steps
        epochs, per_epoch = self.recipe.optimiser.epochs, len(self.sampler)
        first, alone = self.fabric.is_global_zero, self.fabric.world_size == 1
        done, saved, stopped = (self.epoch - 1) * per_epoch + self.step, time.monotonic(), False
        with (
            StopSignals() as signals,
            self.report.stepping(done, epochs * per_epoch, epochs) as steps,
            Log(self.out, (self.epoch, self.step), silent=not first) as log,
            self._validator() as validator,
        ):
            self._evaluate(validator, log)  # what an interrupted run had left to do
            while self.epoch <= epochs and left > 0 and not stopped:
                if self.step == 0:
                    self.stepper.begin_epoch()
                for shards, data_s in _timed(self._batches()):
                    losses, measured = self._measured_step(shards, data_s)
                    self.step, left = self.step + 1, left - 1
                    log.write(self.epoch, self.step, measured, losses)
                    steps.advance(self.epoch, f"{self.step}/{per_epoch}", measured.images_per_s, losses)
                    stopped = self._any(signals.stopped)
                    if left <= 0 or stopped:
                        break
                    if alone and time.monotonic() - saved > checkpoint_minutes * 60:
                        self.save()
                        saved = time.monotonic()
                if self.step >= per_epoch:
                    self.epoch, self.step = self.epoch + 1, 0
                self.save()
                if not stopped:
                    self._evaluate(validator, log)
        if first:
            (self.out / "recipe.json").write_text(json.dumps(self.recipe.to_dict(), indent=2) + "\n")
        if stopped:
            raise Interrupted(self._stopped_at(per_epoch))

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
        Checkpoint(tensors, self._meta()).save(self.out / FILE)

    def _meta(self) -> dict[str, Any]:
        """The header of a checkpoint."""
        recipe = self.recipe.to_dict()
        return {
            "model": recipe["model"],
            "recipe": recipe,
            "dataset": self.dataset.name,
            "epoch": self.epoch,
            "step": self.step,
            "identities": self.identities,
        }

    def _resume(self) -> bool:
        """Restores the checkpoint of the run folder; False where there is none."""
        path = self.out / FILE
        if not path.exists():
            return False
        checkpoint = load_checkpoint(path)
        # a key that this version added has its default in an older checkpoint
        trained = recipe_from_dict(checkpoint.meta["recipe"], str(path))
        epoch, step = checkpoint.meta["epoch"], checkpoint.meta["step"]
        changed = require_same_recipe(trained, self.recipe, epoch if step else epoch - 1, self.out)
        if changed:
            self.report.say(changed)
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
        self.epoch, self.step = epoch, step
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

    def _measured_step(self, shards: list[Batch], data_s: float) -> tuple[dict[str, float], Measured]:
        """The losses of one step, and what it cost."""
        rate = self._rate()
        began = time.perf_counter()
        losses = self._train_step(shards, rate)
        seconds = time.perf_counter() - began
        images = self.fabric.world_size * sum(len(shard.labels) for shard in shards)
        memory = peak_memory_mib(self.fabric.device)
        return losses, Measured(images / seconds, rate, data_s, seconds, memory)

    def _train_step(self, shards: list[Batch], rate: float) -> dict[str, float]:
        self.method.train()
        self.frozen.keep_still()
        for group in self.optimisers["network"].param_groups:
            group["lr"] = rate
        try:
            return self.stepper(shards, (self.recipe.seed, self.epoch, self.step))
        except FloatingPointError as error:
            raise TrainingError(
                f"the loss is not finite at epoch {self.epoch}, step {self.step + 1} ({error}); "
                f"the last good checkpoint in {self.out} is kept; try a lower optimiser.rate"
            ) from error

    def _rate(self) -> float:
        """The learning rate of the next step."""
        return rate_at(self.recipe.optimiser, self.epoch, self.step, len(self.sampler))

    def _validator(self) -> AbstractContextManager[Validator | None]:
        """What evaluates the network between epochs, in the first process alone."""
        if self.validation is None or not self.recipe.validation.every or not self.fabric.is_global_zero:
            return nullcontext()
        return closing(Validator(self.recipe, self.validation, self.out, self.epoch - 1))

    def _evaluate(self, validator: Validator | None, log: Log) -> None:
        """Evaluates the network behind an epoch, if it is due. Training goes on as if it had not been."""
        done = self.epoch - 1
        if validator is not None and self.step == 0 and validator.is_due(done):
            self.method.eval()
            log.evaluated(validator.evaluate(self.method.pixels, done, self._meta(), self.report))
        if self.validation is not None and self.fabric.world_size > 1:
            self.fabric.barrier()

    def _any(self, stopped: bool) -> bool:
        """Whether a process was told to stop: all end behind the same step."""
        if self.fabric.world_size == 1:
            return stopped
        flag = torch.tensor(float(stopped), device=self.fabric.device)
        added = self.fabric.all_reduce(flag, reduce_op="sum")
        assert isinstance(added, Tensor)
        return bool(added.item())

    def _stopped_at(self, per_epoch: int) -> str:
        if self.epoch > self.recipe.optimiser.epochs:
            return f"stopped behind the last epoch; {self.out} holds the whole run"
        return (
            f"stopped at epoch {self.epoch} of {self.recipe.optimiser.epochs}, step {self.step} of "
            f"{per_epoch}; {self.out / FILE} is saved, and the same command goes on from there"
        )


def _timed(batches: Iterator[list[Batch]]) -> Iterator[tuple[list[Batch], float]]:
    """The batches, each with the seconds that it was waited for."""
    began = time.perf_counter()
    for batch in batches:
        yield batch, time.perf_counter() - began
        began = time.perf_counter()
