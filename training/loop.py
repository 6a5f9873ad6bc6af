"""The training loop: device, precision, progress, logs, checkpoints, resume. What a step is, the method
says."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from reid.checkpoint import FILE, CheckpointError
from reid.models.build import build
from reid.models.runner import run_crops
from training.checkpoint import (
    Checkpoint,
    flatten_optimiser,
    load_checkpoint,
    model_tensors,
    restore_optimiser,
)
from training.data.loader import Batch, TrainingLoader, load_crops
from training.data.records import Dataset, DatasetError
from training.data.sampler import DomainSampler, IdentitySampler
from training.methods import METHODS
from training.methods.method import Method
from training.recipe import Recipe, RecipeError
from training.schedule import learning_rate
from training.start import start_from
from training.step import Stepper


class TrainingError(RuntimeError):
    """The run cannot go on; the last good checkpoint stays."""


class Run:
    """One training run in one folder: `checkpoint.safetensors`, `recipe.json`, `log.csv`, `tensorboard/`.

    Args:
        recipe: what to train. dataset: on what. out: the run folder; if it holds a checkpoint of the same
            recipe the run goes on from there, with the same batches and random numbers as if it had never
            stopped.
    """

    def __init__(self, recipe: Recipe, dataset: Dataset, out: Path) -> None:
        if recipe.method not in METHODS:
            raise RecipeError(f"unknown method {recipe.method!r}; known: {', '.join(METHODS)}")
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
        if recipe.start and not (out / FILE).exists():
            start_from(embedder, recipe.start)
        self.method = METHODS[recipe.method](recipe, embedder, self.identities, max(cameras) + 1).to(
            memory_format=torch.channels_last
        )
        self.method.to(self.fabric.device)
        self.stepper = Stepper(
            self.method, self.fabric, recipe.shards, len(self.identities) if self.method.per_domain else 1
        )
        self.optimisers = self.stepper.optimisers
        size = (recipe.batch_identities * recipe.shards, recipe.batch_crops, recipe.seed)
        self.sampler: IdentitySampler | DomainSampler
        if self.method.per_domain:
            self.sampler = DomainSampler(labels, cameras, domains, *size)
        else:
            self.sampler = IdentitySampler(labels, cameras, *size)
        self.epoch, self.step = 1, 0  # the next batch to train is `step` of `epoch`
        resumed = self._resume()
        self.method.prepare(dataset.train)
        crops = load_crops(dataset.train, recipe.model.height, recipe.model.width)
        self.loader = TrainingLoader(
            crops, labels, cameras, domains, recipe.augment, recipe.seed, recipe.model.mean_pixel
        )
        if not resumed:
            self.method.begin(lambda: self._embed(crops, labels))

    def fit(self, checkpoint_minutes: float = 5.0, max_steps: int | None = None) -> None:
        """Trains to the end of the recipe (or `max_steps` more steps), saving every epoch, and every few
        minutes where one process trains.

        Raises TrainingError on a loss that is not finite.
        """
        budget = math.inf if max_steps is None else max_steps
        saved, per_epoch = time.monotonic(), len(self.sampler)
        first, alone = self.fabric.is_global_zero, self.fabric.world_size == 1
        with (
            self._progress(disable=not first) as progress,
            Log(self.out, (self.epoch, self.step), silent=not first) as log,
        ):
            task = progress.add_task("", total=self.recipe.optimiser.epochs * per_epoch, rate=0.0, text="")
            while self.epoch <= self.recipe.optimiser.epochs and budget > 0:
                if self.step == 0:
                    self.stepper.begin_epoch()
                for shards in self.loader.epoch(
                    self.epoch, self.sampler.batches(self.epoch), self.stepper.slots, skip=self.step
                ):
                    began = time.perf_counter()
                    losses = self._train_step(
                        [Batch(*(t.to(self.fabric.device) for t in batch)) for batch in shards]
                    )
                    rate = (
                        self.fabric.world_size
                        * sum(len(batch.labels) for batch in shards)
                        / (time.perf_counter() - began)
                    )
                    self.step, budget = self.step + 1, budget - 1
                    log.write(self.epoch, self.step, rate, losses)
                    done = (self.epoch - 1) * per_epoch + self.step
                    text = (
                        f"epoch {self.epoch}/{self.recipe.optimiser.epochs} loss {sum(losses.values()):.3f}"
                    )
                    progress.update(task, completed=done, rate=rate, text=text)
                    if alone and time.monotonic() - saved > checkpoint_minutes * 60:
                        self.save()
                        saved = time.monotonic()
                    if budget <= 0:
                        break
                if self.step >= per_epoch:
                    self.epoch, self.step = self.epoch + 1, 0
                self.save()
        if first:
            (self.out / "recipe.json").write_text(json.dumps(self.recipe.to_dict(), indent=2) + "\n")

    def save(self) -> None:
        """Writes the checkpoint: method with optimisers, position. All processes must call it; the first one
        writes."""
        carried = self.stepper.carried()
        if not self.fabric.is_global_zero:
            return
        tensors = model_tensors(self.method.pixels.embedder)
        for name, tensor in self.method.state_dict().items():
            if not name.startswith("pixels."):
                tensors[f"method/{name}"] = tensor
        for name, optimiser in self.optimisers.items():
            tensors |= flatten_optimiser(f"optimiser.{name}", optimiser)
        tensors |= {f"carried/{name}": tensor for name, tensor in carried.items()}
        recipe = self.recipe.to_dict()
        meta = {"model": recipe["model"], "recipe": recipe, "dataset": self.dataset.name}
        meta |= {"epoch": self.epoch, "step": self.step, "identities": self.identities}
        Checkpoint(tensors, meta).save(self.out / FILE)

    def _resume(self) -> bool:
        path = self.out / FILE
        if not path.exists():
            return False
        checkpoint = load_checkpoint(path)
        differs = _first_difference(checkpoint.meta["recipe"], json.loads(json.dumps(self.recipe.to_dict())))
        if differs:
            raise CheckpointError(
                f"{self.out} was trained with another recipe: {differs}; choose another --out or the same "
                f"recipe"
            )
        if checkpoint.meta["identities"] != self.identities:
            raise CheckpointError(
                f"{self.out} was trained on {checkpoint.meta['identities']} identities, the data has "
                f"{self.identities}"
            )
        state = {
            k.removeprefix("method/"): v for k, v in checkpoint.tensors.items() if k.startswith("method/")
        }
        embedder = {
            k.removeprefix("model/"): v for k, v in checkpoint.tensors.items() if k.startswith("model/")
        }
        state |= {f"pixels.embedder.{k}": v for k, v in embedder.items()}
        self.method.load_state_dict(state, strict=True)
        for name, optimiser in self.optimisers.items():
            restore_optimiser(f"optimiser.{name}", optimiser, checkpoint.tensors)
        device = self.fabric.device
        carried = {
            k.removeprefix("carried/"): v.to(device)
            for k, v in checkpoint.tensors.items()
            if k.startswith("carried/")
        }
        self.stepper.carry(carried)
        self.epoch, self.step = checkpoint.meta["epoch"], checkpoint.meta["step"]
        return True

    def _embed(self, crops: np.ndarray, labels: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Unit embeddings [N,D] of all training crops by the network as it stands, and their labels [N]."""
        self.method.eval()
        device = self.fabric.device
        embeddings = run_crops(self.method.pixels, crops, device)
        return torch.from_numpy(embeddings).to(device), torch.tensor(labels, device=device)

    def _train_step(self, shards: list[Batch]) -> dict[str, float]:
        settings = self.recipe.optimiser
        self.method.train()
        rate = learning_rate(
            self.epoch,
            settings.rate,
            settings.milestones,
            settings.gamma,
            settings.warmup_epochs,
            settings.warmup_factor,
        )
        for group in self.optimisers["network"].param_groups:
            group["lr"] = rate
        try:
            return self.stepper(shards, (self.recipe.seed, self.epoch, self.step))
        except FloatingPointError as error:
            raise TrainingError(
                f"the loss is not finite at epoch {self.epoch}, step {self.step + 1} ({error}); "
                f"the last good checkpoint in {self.out} is kept; try a lower optimiser.rate"
            ) from error

    @staticmethod
    def _progress(disable: bool) -> Progress:
        columns = (
            TextColumn("{task.fields[text]}"),
            BarColumn(),
            TextColumn("{task.fields[rate]:.0f} images/s"),
            TimeRemainingColumn(),
        )
        return Progress(*columns, console=Console(stderr=True), refresh_per_second=1, disable=disable)


def processes(precision: str) -> Fabric:
    """Fabric on one device, or on all those that `torchrun` started processes for."""
    if precision == "auto":
        precision = "bf16-mixed" if torch.cuda.is_available() else "32-true"
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Fabric(devices=1, precision=precision)
    here = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    fabric = Fabric(devices=here, num_nodes=world // here, strategy="ddp", precision=precision)
    fabric.launch()
    return fabric


class Log:
    """`log.csv` and TensorBoard, one row a step. Rows behind the point a run resumes from are dropped
    first."""

    FIELDS = ("epoch", "step", "images_per_s", "loss")

    def __init__(self, out: Path, resume: tuple[int, int], silent: bool = False) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.silent = silent
        if silent:
            return

        path = out / "log.csv"
        kept = []
        if path.exists():
            with path.open(newline="") as file:
                kept = [
                    row for row in csv.DictReader(file) if (int(row["epoch"]), int(row["step"])) <= resume
                ]
        self.file = path.open("w", newline="")
        self.writer: csv.DictWriter[str] | None = None
        self.kept = kept
        self.board = SummaryWriter(str(out / "tensorboard"))
        self.total = len(kept)

    def write(self, epoch: int, step: int, rate: float, losses: dict[str, float]) -> None:
        """One row; the first one writes the header."""
        if self.silent:
            return
        if self.writer is None:
            self.writer = csv.DictWriter(self.file, [*self.FIELDS, *losses])
            self.writer.writeheader()
            self.writer.writerows(self.kept)
        total = sum(losses.values())
        row = {"epoch": epoch, "step": step, "images_per_s": round(rate, 1), "loss": f"{total:.5f}"}
        self.writer.writerow(row | {k: f"{v:.5f}" for k, v in losses.items()})
        self.file.flush()
        self.total += 1
        for name, value in {"total": total, **losses}.items():
            self.board.add_scalar(f"loss/{name}", value, self.total)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.silent:
            self.file.close()
            self.board.close()


def _first_difference(old: dict, new: dict, prefix: str = "") -> str:
    """'optimiser.rate was 1, is 2' for the first differing key, '' for equal recipes; `threads` may
    differ."""
    for key in old.keys() | new.keys():
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found = _first_difference(a, b, f"{prefix}{key}.")
            if found:
                return found
        elif a != b and key != "threads":
            return f"{prefix}{key} was {a}, is {b}"
    return ""


def smoke(recipe: Recipe, out: Path) -> Method:
    """Two steps of a recipe on generated crops: shows in seconds that it runs. A teacher or a start that it
    lacks is made the same way."""
    from training.data.records import join
    from training.synthetic.drawn import draw_sites

    if recipe.method == "std" and not recipe.distill.teacher:
        smoke(dataclasses.replace(recipe, method="bot"), out / "teacher")
        recipe = dataclasses.replace(
            recipe, distill=dataclasses.replace(recipe.distill, teacher=str(out / "teacher"))
        )
    if recipe.method == "heads" and not recipe.start:
        smoke(dataclasses.replace(recipe, method="bot"), out / "start")
        recipe = dataclasses.replace(recipe, start=str(out / "start"))
    small = dataclasses.replace(recipe, batch_identities=4, batch_crops=2)
    sites = draw_sites(out / "crops", recipe.dataset.count("+") + 1, identities=8, cameras=2, images=2)
    dataset = join(sites) if len(sites) > 1 else sites[0]
    run = Run(small, dataset, out)
    run.fit(max_steps=2)
    return run.method
