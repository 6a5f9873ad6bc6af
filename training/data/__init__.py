"""Datasets by name. Each reader takes the unpacked folder of a release and checks its counts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from training.data.classes import read_classes
from training.data.cuhk01 import read_cuhk01
from training.data.cuhk02 import read_cuhk02
from training.data.cuhk03 import read_cuhk03, read_cuhk03_old
from training.data.cuhksysu import read_cuhksysu
from training.data.dukemtmc import read_dukemtmc
from training.data.folders import read_folders
from training.data.grid import read_grid
from training.data.ilids import read_ilids
from training.data.listed import read_list
from training.data.market1501 import read_market1501
from training.data.market_style import read_own_market_style
from training.data.msmt17 import read_msmt17
from training.data.pattern import read_pattern
from training.data.prid import read_prid
from training.data.records import Dataset, DatasetError, join
from training.data.selection import Selection
from training.data.tracklets import read_tracklets
from training.data.unlabeled import read_unlabeled
from training.data.viper import read_viper
from training.data.world import read_world

_RANGE = re.compile(r"(?P<folder>.+?)(?P<first>\d+)\.\.(?P<last>\d+)")

READERS: dict[str, Callable[..., Dataset]] = {
    "market1501": read_market1501,
    "dukemtmc": read_dukemtmc,
    "msmt17": read_msmt17,
    "cuhk01": read_cuhk01,
    "cuhk02": read_cuhk02,
    "cuhk03": read_cuhk03,
    "cuhk03-old": read_cuhk03_old,
    "cuhksysu": read_cuhksysu,
    "viper": read_viper,
    "grid": read_grid,
    "ilids": read_ilids,
    "prid": read_prid,
    "folders": read_folders,
    "market-style": read_own_market_style,
    "list": read_list,
    "tracklets": read_tracklets,
    "world": read_world,
    "classes": read_classes,
    "unlabeled": read_unlabeled,
}
_JOINT = re.compile(rf"\+(?=(?:{'|'.join(map(re.escape, [*READERS, 'pattern']))})(?:@\d+)?(?:[:+]|$))")


def read_dataset(name: str, root: Path, split: int = 0, pattern: str = "") -> Dataset:
    """Reads a dataset by name, or several joined to train on.

    `market1501:market+folders:site-0` joins two folders of `root`, `world:site-0..6` seven sites of a world,
    and `cuhk03@1:cuhk03+msmt17:msmt` takes split 1 of the first.

    Args:
        root: the dataset's folder; `NAME:FOLDER` takes a folder inside it.
        split: one of a dataset's published splits where it has several; `NAME@SPLIT` has its own.
        pattern: how the dataset `pattern` reads its paths.

    Raises DatasetError for an unknown name, a missing folder or a wrong count.
    """
    sources = _read_sources(name, root, split, pattern)
    return sources[0] if len(sources) == 1 else join(sources)


def read_training(
    name: str, root: Path, split: int = 0, pattern: str = "", selection: Selection | None = None
) -> Dataset:
    """As `read_dataset`, with of each source what is trained on."""
    chosen = selection or Selection()
    sources = [chosen.of(source) for source in _read_sources(name, root, split, pattern)]
    return sources[0] if len(sources) == 1 else join(sources)


def sources_of(name: str) -> list[str]:
    """The datasets that are joined: `world:site-0..1+viper` -> world:site-0, world:site-1, viper.

    A + joins where a dataset's name follows it; elsewhere it is part of a folder's name, as in `folders:a+b`.

    Raises DatasetError for a range that counts down.
    """
    sources: list[str] = []
    for source in _JOINT.split(name):
        numbers = _RANGE.fullmatch(source)
        if numbers is None:
            sources.append(source)
            continue
        first, last = int(numbers["first"]), int(numbers["last"])
        if first > last:
            raise DatasetError(f"{source}: put the smaller number first, like {numbers['folder']}0..6")
        sources += [f"{numbers['folder']}{number}" for number in range(first, last + 1)]
    return sources


def _read_sources(name: str, root: Path, split: int, pattern: str) -> list[Dataset]:
    names = sources_of(name)
    if pattern and not any(source.partition(":")[0] == "pattern" for source in names):
        raise DatasetError(f"--pattern is for the dataset pattern or pattern:FOLDER, not for {name}")
    return [_read(source, Path(root), split, pattern) for source in names]


def _own_split(source: str, own: str, split: int) -> int:
    """The split that a source names behind an @. DatasetError for none, and beside another one for all."""
    if not (own.isascii() and own.isdecimal()):
        raise DatasetError(
            f"{source}: {own!r} is no split; a dataset with its split looks like cuhk03@1:FOLDER"
        )
    if split and split != int(own):
        raise DatasetError(f"{source} has a split of its own, but split {split} is asked for; leave one out")
    return int(own)


def _read(source: str, root: Path, split: int, pattern: str) -> Dataset:
    name, _, folder = source.partition(":")
    name, at, own = name.partition("@")
    if at:
        split = _own_split(source, own, split)
    if name == "pattern":
        return read_pattern(root / folder, pattern, split)
    if name not in READERS:
        raise DatasetError(f"unknown dataset {name!r}; known: {', '.join([*READERS, 'pattern'])}")
    return READERS[name](root / folder, split)
