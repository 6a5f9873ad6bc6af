"""A recipe: every number of a training run. YAML over dataclasses; a misspelt key is an error."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any, get_type_hints

import yaml

from reid.models.spec import ModelSpec
from training.checks import at_least, one_of, within
from training.data.early_size import EarlySize
from training.data.photometric import Photometric
from training.data.samplers import KINDS
from training.data.selection import Selection
from training.data.transforms import Augmentation
from training.mixstyle import MixStyle
from training.recipe_files import RECIPES as RECIPES
from training.recipe_files import RecipeError as RecipeError
from training.recipe_files import in_one_line, read_recipe


@dataclasses.dataclass(frozen=True)
class Losses:
    """Weights and switches of the losses; 0 turns a loss off."""

    identity: float = 1.0  # cross entropy on the classifier behind the neck
    label_smoothing: float = 0.1  # paper and code 0.1
    triplet: float = 1.0  # paper and code 1
    margin: float = 0.3  # paper and code 0.3
    triplet_form: str = "hard"  # hard: batch-hard with the margin | weighted: AGW's, without one
    centre: float = 0.0005  # paper and code 5e-4; 0 for unseen targets
    centre_rate: float = 0.5  # SGD rate of the centres; code 0.5
    # cross entropy of cosines to a learned vector of each identity; used by bot, std, dcsd and ptl
    proxy: float = 0.0
    proxy_hardest: int = 50  # other identities that compete with a crop's: those most like it; 0 for all
    proxy_temperature: float = 0.05
    position: float = 0.1  # BNTA Eq. 9: 0.1; used with ssl_heads
    part_identity: float = 0.1  # BNTA Eq. 9: 0.1; used with ssl_heads
    domain: float = 1.0  # DCSD Eq. 5: 1; used by dcsd
    camera: float = 1.0  # DCSD Eq. 5: 1; used by dcsd
    detach: bool = True  # DCSD: filters send no gradient to the embeddings of domain and camera
    # SNR: of the modules behind layers 1 to 4; used where there are any
    restitution: tuple[float, ...] = (0.1, 0.1, 0.5, 0.5)

    def __post_init__(self) -> None:
        one_of(self, triplet_form=("hard", "weighted"))
        at_least(0, self, "identity", "triplet", "margin", "centre", "centre_rate", "position")
        at_least(0, self, "proxy", "proxy_hardest")
        at_least(1e-3, self, "proxy_temperature")
        at_least(0, self, "part_identity", "domain", "camera", "restitution")
        within(0, 1, self, "label_smoothing")
        if len(self.restitution) != 4:
            raise ValueError(f"restitution needs four weights, not {len(self.restitution)}")


@dataclasses.dataclass(frozen=True)
class Meta:
    """M3L's own numbers (methods A.1)."""

    enabled: bool = True  # False: the paper's baseline, memory and triplet loss of every domain together
    # full: Eq. (1) of the paper | second_order_only: the official code | first_order
    inner_grad: str = "full"
    inner_weight_decay: float = 5e-4  # code 5e-4, paper silent
    metabn: bool = True
    metabn_scale: str = "std"  # std | variance: the official code passes the variance as the deviation
    memory_momentum: float = 0.2
    memory_update: str = "mean"  # mean: Eq. (2), renormalised | sequential: the official code
    temperature: float = 0.05
    # memory | global: one linear layer | parallel: one for each domain (the paper's Table 5)
    classifier: str = "memory"

    def __post_init__(self) -> None:
        one_of(
            self, inner_grad=("full", "second_order_only", "first_order"), metabn_scale=("std", "variance")
        )
        one_of(self, classifier=("memory", "global", "parallel"), memory_update=("mean", "sequential"))
        at_least(0, self, "inner_weight_decay")
        within(0, 1, self, "memory_momentum")
        at_least(1e-3, self, "temperature")


@dataclasses.dataclass(frozen=True)
class Distill:
    """STD's own numbers (methods A.4.5)."""

    # a run folder, a checkpoint, a .resight bundle, or an OpenVINO network's .xml; several joined by + are an
    # ensemble
    teacher: str = ""
    weight: float = 0.8  # lambda: share of the teacher's loss; 0 leaves the labels alone, 1 the teacher
    # a file that keeps the teacher's features of the whole crops; "": it sees what the student sees
    cache: str = ""

    def __post_init__(self) -> None:
        within(0, 1, self, "weight")


@dataclasses.dataclass(frozen=True)
class Ptl:
    """PTL's own numbers."""

    # widths of the classifier's layers but the last, as many as the classes: three layers for people (section
    # III.B), two for images (section V), whose widths the paper does not say; []: one layer
    hidden: tuple[int, ...] = (1024, 1024)

    def __post_init__(self) -> None:
        at_least(1, self, "hidden")


@dataclasses.dataclass(frozen=True)
class Optimiser:
    """Adam or SGD with warm-up and steps."""

    kind: str = "adam"  # adam | amsgrad | sgd
    momentum: float = 0.9  # of sgd
    rate: float = 3.5e-4
    weight_decay: float = 5e-4
    epochs: int = 120
    milestones: tuple[int, ...] = (40, 70)
    gamma: float = 0.1
    schedule: str = "steps"  # steps: by gamma at the milestones | cosine: down to 0, step by step
    warmup_epochs: int = 10
    warmup_factor: float = 0.01
    # number of the first epoch in warm-up and milestones: BoT's code 1, M3L's code 0
    first_epoch: int = 1

    def __post_init__(self) -> None:
        one_of(self, kind=("adam", "amsgrad", "sgd"), schedule=("steps", "cosine"))
        at_least(0, self, "rate", "weight_decay", "warmup_epochs", "milestones")
        at_least(1, self, "epochs")
        within(0, 1, self, "momentum", "gamma", "warmup_factor", "first_epoch")
        if self.schedule == "cosine" and self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs is {self.warmup_epochs} of {self.epochs} epochs; the cosine schedule needs "
                f"fewer, or it never leaves its warm-up"
            )
        if list(self.milestones) != sorted(self.milestones):
            raise ValueError(f"milestones are {list(self.milestones)}; put the epochs in ascending order")


@dataclasses.dataclass(frozen=True)
class Validation:
    """Evaluation while a run goes on; the best epoch by mAP is kept as `best.safetensors`."""

    every: int = 0  # epochs; 0: never
    # whose query and gallery are evaluated; "": a part of the training identities, which is not trained on
    dataset: str = ""
    share: float = 0.1  # of the training identities that make this part

    def __post_init__(self) -> None:
        at_least(0, self, "every")
        within(0.001, 0.9, self, "share")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One training run."""

    # the table that this recipe's values come from, "BoT Table 1, + BNNeck"; "": a recipe of ours
    paper: str = ""
    method: str = "bot"
    # or several: joined, market1501:A+folders:B or world:site-0..6, or one after the other,
    # msmt17:A>market1501:B
    dataset: str = "market1501"
    split: int = 0
    # also train on query and gallery: for targets that are none of these datasets (DualNorm, BNTA)
    all_images: bool = False
    # with all_images: whoever is called alike in train and in query or gallery is one person
    same_people: bool = False
    pattern: str = ""  # how the dataset `pattern` reads its paths, docs/datasets.md
    leave_out_singles: bool = False  # do not train on people with one image
    skip_unreadable: bool = False  # do not train on images that cannot be decoded
    # weights to start from: a run, a checkpoint, a bundle, or torchvision's ImageNet weights as .safetensors
    start: str = ""
    # layers that keep their weights and BatchNorm statistics, as [trunk.layer1.*, "trunk.bn?"]
    freeze: tuple[str, ...] = ()
    seed: int = 0
    batch_identities: int = 16  # P
    batch_crops: int = 4  # K
    # chunks: P identities with chunks of K of their crops, until the chunks are used (BoT's code)
    # identities: every identity once, positives from other cameras (M3L's code)
    # identities-any-camera: every identity once, any K of its crops (PTL's code)
    # shuffle: all crops in random order, P*K in a batch
    sampler: str = "chunks"
    steps_per_epoch: int = 0  # 0: as many as the sampler has
    identities: int = 0  # train on so many, drawn by the seed, of each domain equally many; 0: on all
    # batches of P x K in a step, each with its own statistics and losses; torchrun's processes share them
    shards: int = 1
    gradient_checkpointing: bool = False  # less memory, more time, the same numbers
    # bf16-mixed | 32-true | auto: bf16 on a GPU, float32 on a CPU, most of which emulate bf16
    precision: str = "auto"
    threads: int = 0  # CPU threads of torch; 0 leaves torch's choice
    model: ModelSpec = dataclasses.field(default_factory=ModelSpec)
    augment: Augmentation = dataclasses.field(default_factory=Augmentation)
    photometric: Photometric = dataclasses.field(default_factory=Photometric)
    early_size: EarlySize = dataclasses.field(default_factory=EarlySize)
    mixstyle: MixStyle = dataclasses.field(default_factory=MixStyle)
    losses: Losses = dataclasses.field(default_factory=Losses)
    meta: Meta = dataclasses.field(default_factory=Meta)
    distill: Distill = dataclasses.field(default_factory=Distill)
    ptl: Ptl = dataclasses.field(default_factory=Ptl)
    optimiser: Optimiser = dataclasses.field(default_factory=Optimiser)
    validation: Validation = dataclasses.field(default_factory=Validation)

    def __post_init__(self) -> None:
        one_of(self, precision=("auto", "bf16-mixed", "32-true"), sampler=KINDS)
        at_least(0, self, "steps_per_epoch", "identities")
        at_least(0, self, "split")
        within(0, 4096, self, "threads")
        within(0, 2**32 - 1, self, "seed")
        at_least(1, self, "batch_identities", "batch_crops", "shards")
        self._check_batch()
        if 0 < self.optimiser.epochs <= self.early_size.epochs:
            raise ValueError(
                f"early_size.epochs is {self.early_size.epochs} of {self.optimiser.epochs} epochs, which "
                f"leaves none at the model's size; set it lower"
            )

    def _check_batch(self) -> None:
        """A batch must have what its losses compare, and more than one crop for BatchNorm's statistics."""
        batch = f"{self.batch_identities} x {self.batch_crops}"
        losses = {"triplet": bool(self.losses.triplet)}
        losses["restitution"] = self.model.arch == "resnet50-snr" and any(self.losses.restitution)
        for name, used in losses.items():
            if used and min(self.batch_identities, self.batch_crops) < 2:
                off = "0" if name == "triplet" else "[0, 0, 0, 0]"
                raise ValueError(
                    f"a {name} loss needs two identities of two crops a batch, not {batch}; set "
                    f"batch_identities and batch_crops to 2 or more, or losses.{name} to {off}"
                )
        if self.batch_identities * self.batch_crops < 2:
            raise ValueError(
                f"a batch of {batch} is one crop, of which BatchNorm has no statistics; set batch_identities "
                f"or batch_crops to 2 or more"
            )

    def selection(self) -> Selection:
        """What of each dataset is trained on."""
        return Selection(self.all_images, self.same_people, self.leave_out_singles, self.skip_unreadable)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they stand in a checkpoint."""
        return dataclasses.asdict(self)

    def value(self, key: str) -> Any:
        """The value of a key like `distill.teacher`."""
        value: Any = self
        for name in key.split("."):
            value = getattr(value, name)
        return value

    def changed(self, key: str, value: Any) -> Recipe:
        """A copy with another value of a key like `distill.teacher`. Raises RecipeError as `load_recipe`."""
        values = self.to_dict()
        _set(values, key, value)
        return recipe_from_dict(values)


def load_recipe(name: str, settings: list[str] | None = None) -> Recipe:
    """A recipe by name (a file of `recipes/`) or by path, over its `base`, with `key=value` settings on top.

    Raises RecipeError for an unknown recipe, key or type.
    """
    read = read_recipe(name)
    values, path = read.values, str(read.path)
    changes = [_parsed(setting) for setting in settings or []]
    try:
        return _with(values, changes, path)
    except RecipeError:
        _with(values, [], path)  # raises where the file is wrong by itself
        raise RecipeError(_blame(values, changes)) from None


def _parsed(setting: str) -> tuple[str, str, Any]:
    """A setting `key=value` as it stands, its key, and the value as YAML reads it."""
    key, equals, text = setting.partition("=")
    if not equals or not all(key.split(".")):
        raise RecipeError(f"--set {setting}: a setting must look like optimiser.epochs=60")
    try:
        return setting, key, yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {setting}: {text} is no YAML: {in_one_line(error)}") from error


def _with(values: dict[Any, Any], changes: Sequence[tuple[str, str, Any]], where: str) -> Recipe:
    """The recipe of a file's values and of settings over them."""
    changed = copy.deepcopy(values)
    for _, key, value in changes:
        _set(changed, key, value)
    return recipe_from_dict(changed, where)


def _blame(values: dict[Any, Any], changes: Sequence[tuple[str, str, Any]]) -> str:
    """The sentence on the setting with which a recipe that is right by itself goes wrong, or on all."""

    def fault(chosen: Sequence[tuple[str, str, Any]]) -> str:
        try:
            _with(values, chosen, "")
        except RecipeError as error:
            return str(error)
        return ""

    together = fault(changes)
    blamed = next(([change] for change in changes if fault([change]) == together), changes)
    return " ".join(f"--set {setting}" for setting, _, _ in blamed) + together


def recipe_from_dict(values: dict[str, Any], where: str = "recipe") -> Recipe:
    """Builds the typed recipe; `where` stands in the error messages."""
    return typed(Recipe, values, where)


def first_difference(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> str:
    """'optimiser.rate was 1, is 2' for the first key in which two recipes differ, '' for equal ones.

    `threads` may differ: it belongs to the machine.
    """
    for key in [*old, *(key for key in new if key not in old)]:
        before, now = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(now, dict):
            difference = first_difference(before, now, f"{prefix}{key}.")
            if difference:
                return difference
        elif before != now and key != "threads":
            return f"{prefix}{key} was {before}, is {now}"
    return ""


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    """Sets `distill.teacher` or the like in nested sections."""
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise RecipeError(f": unknown key {key!r}, as {section} is no section of keys")
    values[last] = value


def typed(cls: Any, values: Any, where: str) -> Any:
    """A dataclass of YAML values; `where` stands in the messages of a RecipeError."""
    if not isinstance(values, dict):
        raise RecipeError(f"{where}: expected a section of keys, got {values!r}")
    hints = get_type_hints(cls)
    unknown = sorted(str(key) for key in values if key not in hints)
    if unknown:
        raise RecipeError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(hints)}")
    try:
        return cls(**{key: _value(hints[key], value, f"{where}: {key}") for key, value in values.items()})
    except RecipeError:
        raise
    except ValueError as error:
        raise RecipeError(f"{where}: {error}") from error


def _value(kind: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return typed(kind, value, where)
    if kind is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 5e-4 as text
        except (ValueError, OverflowError):
            pass
    elif getattr(kind, "__origin__", None) is tuple and isinstance(value, (list, tuple)):
        kinds = kind.__args__[:1] * len(value) if kind.__args__[-1] is Ellipsis else kind.__args__
        if len(kinds) == len(value):
            return tuple(_value(k, v, where) for k, v in zip(kinds, value, strict=True))
    elif isinstance(kind, type) and isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise RecipeError(f"{where}: {value!r} is not a {getattr(kind, '__name__', kind)}")
