"""Sites to adapt to, in memory, and a bundle that is adapted to them: what `ladder` and `gate` measure on."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reid.adaptation.bnta import Bnta, adapt
from reid.adaptation.centring import fit_centres
from reid.adaptation.groups import Groups, adapt_by_groups
from reid.adaptation.sampling import balanced_order
from reid.adaptation.statistics import Statistics, fit_statistics
from reid.batchnorm import profile_from_model, write_into_model
from reid.bundle import Bundle
from reid.engines.chooser import choose_engine
from reid.engines.pytorch import compute_in_float32, load_embedder
from reid.engines.rows import pack
from reid.models.runner import CropRunner
from reid.profile import Profile
from reid.ranking import RankingScores, rank_embeddings
from training.data import read_dataset
from training.data.loader import load_crops
from training.data.records import Dataset, Record

_BATCH = 32  # crops that an engine embeds at once
# tier 2 as the paper has it, and variants of it
BNTA = {
    "2": Bnta(),
    "2 across": Bnta(across_cameras=True),
    "2 x5": Bnta(epochs=5),
    "2 across x5": Bnta(across_cameras=True, epochs=5),
}


@dataclasses.dataclass(frozen=True)
class Crops:
    """Crops with what is known of each.

    Args:
        pixels: uint8 [N,H,W,3]. cameras: str [N]. pids: int64 [N].
    """

    pixels: np.ndarray
    cameras: np.ndarray
    pids: np.ndarray

    def __len__(self) -> int:
        """How many."""
        return len(self.pids)

    def take(self, rows: np.ndarray) -> Crops:
        """Those in `rows`, in that order."""
        return Crops(self.pixels[rows], self.cameras[rows], self.pids[rows])

    @classmethod
    def read(cls, records: list[Record], size: tuple[int, int]) -> Crops:
        """The crops of a dataset's records."""
        cameras = np.array([f"c{record.camid + 1}" for record in records])
        pids = np.array([record.pid for record in records], np.int64)
        return cls(load_crops(records, *size, threads=16), cameras, pids)


@dataclasses.dataclass(frozen=True)
class TestSite:
    """A site: crops to adapt to, and queries and gallery of other people to judge by."""

    name: str
    train: Crops
    query: Crops
    gallery: Crops

    @classmethod
    def read(
        cls,
        name: str,
        dataset: Dataset,
        size: tuple[int, int],
        most_gallery: int = 5000,
        most_queries: int = 5000,
        seed: int = 0,
    ) -> TestSite:
        """A dataset as a site, with at most so many random gallery crops and queries."""
        rng = np.random.default_rng(seed)
        gallery = _some([record for record in dataset.gallery if record.pid != -1], most_gallery, rng)
        parts = (dataset.train, _some(list(dataset.query), most_queries, rng), gallery)
        return cls(name, *(Crops.read(list(part), size) for part in parts))

    def only(self, cameras: Collection[str]) -> TestSite:
        """The same site with some of its cameras."""
        parts = []
        for part in (self.train, self.query, self.gallery):
            parts.append(part.take(np.flatnonzero(np.isin(part.cameras, list(cameras)))))
        return TestSite(f"{self.name} {'+'.join(sorted(cameras))}", *parts)

    def sample(self, crops_a_camera: int, seed: int) -> Crops:
        """Random crops of each camera to adapt to, cameras in turn."""
        rows = []
        seen: dict[str, int] = {}
        for row in balanced_order(list(self.train.cameras), seed):
            camera = str(self.train.cameras[row])
            seen[camera] = seen.get(camera, 0) + 1
            if seen[camera] <= crops_a_camera:
                rows.append(row)
        return self.train.take(np.array(rows))


def rendered_sites(folders: Iterable[Path], size: tuple[int, int]) -> Iterator[TestSite]:
    """Every site of some worlds."""
    for folder in folders:
        for path in sorted(folder.glob("site-*")):
            dataset = read_dataset(f"world:{path.name}", folder)
            yield TestSite.read(f"{folder.name}/{path.name}", dataset, size)


def market_site(root: Path, size: tuple[int, int], most_gallery: int, most_queries: int = 5000) -> TestSite:
    """Market-1501 as one site."""
    return TestSite.read("market1501", read_dataset("market1501", root), size, most_gallery, most_queries)


def _some(records: list[Record], most: int, rng: np.random.Generator) -> list[Record]:
    if len(records) <= most:
        return records
    return [records[row] for row in np.sort(rng.permutation(len(records))[:most])]


def measured(out: Path, *names: str) -> set[tuple[Any, ...]]:
    """What a run that is resumed need not measure again: these values of each row of its file."""
    rows = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    return {tuple(row[name] for name in names) for row in rows}


def add_options(parser: argparse.ArgumentParser, most_gallery: int) -> None:
    """What every measurement over sites takes: bundle, sites, output, and its share of the work."""
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--worlds", type=Path, nargs="*", default=[])
    parser.add_argument("--market1501", type=Path)
    parser.add_argument("--most-gallery", type=int, default=most_gallery)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shard", default="0/1")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; 0 for one a core")


class Subject:
    """A bundle that is adapted and evaluated."""

    def __init__(self, bundle: Bundle, device: str = "cpu", threads: int = 0) -> None:
        compute_in_float32()
        if threads:
            torch.set_num_threads(threads)
        self.threads = threads
        self.bundle, self.device, self.base = bundle, device, bundle.profile()
        self.network = load_embedder(bundle).to(device)
        self.engine = choose_engine(bundle, "cpu") if device == "cpu" else None
        self.rows = self.engine.with_rows() if self.engine is not None else None
        self.size = (bundle.manifest.height, bundle.manifest.width)
        self.base_statistics = Statistics(bundle.onnx_model(), self.base, threads=threads)

    def embed(self, profile: Profile, crops: Crops) -> np.ndarray:
        """float32 [N,D] as embedded, each crop with its camera's table; on a CPU by the engines that the
        server would take."""
        if self.engine is not None and profile.tables_id == self.base.tables_id:
            return np.concatenate([self.engine.embed(crops.pixels[rows]) for rows in _batches(len(crops))])
        names = ["", *profile.cameras]  # of the tables, the site's first
        numbers = {name: number for number, name in enumerate(names)}
        tables = np.array([numbers.get(camera, 0) for camera in crops.cameras], np.int32)
        if self.rows is not None:
            packed = np.stack([pack(profile, self.rows.layers, name or None) for name in names])
            batches = [
                self.rows.embed(crops.pixels[rows], tables[rows], packed) for rows in _batches(len(crops))
            ]
            return np.concatenate(batches)
        vectors = np.empty((len(crops), self.bundle.manifest.dim), np.float32)
        for number in np.unique(tables):
            chosen = np.flatnonzero(tables == number)
            write_into_model(profile, self.network, names[number] or None)
            vectors[chosen] = CropRunner(self.network, self.device).embed(crops.pixels[chosen])
        return vectors

    def bnta(self, crops: Crops, settings: Bnta | None = None) -> Profile:
        """Tier 2 of the crops."""
        write_into_model(self.base, self.network)
        network = copy.deepcopy(self.network)
        adapt(network, crops.pixels, settings, cameras=list(crops.cameras))
        return profile_from_model(self.base.base, network)

    def groups(self, crops: Crops, settings: Groups | None = None) -> Profile:
        """Tier 3 of the crops."""
        write_into_model(self.base, self.network)
        network = copy.deepcopy(self.network)
        adapt_by_groups(network, crops.pixels, list(crops.cameras), settings)
        return profile_from_model(self.base.base, network)

    def pooled(self, crops: Crops) -> Profile:
        """Tier 1 of all crops as those of one camera."""
        embedded = self.embed(self.base, crops)
        return fit_statistics(self.base_statistics, self.base, crops.pixels, [None] * len(crops), embedded)

    def statistics(self, source: Profile, crops: Crops, embedded: np.ndarray) -> Profile:
        """Tier 1 on top of a profile; `embedded` are the crops with the bundle's own values."""
        statistics = self.base_statistics
        if source is not self.base:
            statistics = Statistics(self.bundle.onnx_model(), source, threads=self.threads)
        return fit_statistics(statistics, source, crops.pixels, list(crops.cameras), embedded)

    def centred(self, profile: Profile, crops: Crops) -> Profile:
        """Tier 0 on top of a profile."""
        return profile.with_centres(fit_centres(self.embed(profile, crops), list(crops.cameras)))

    def adapted(self, tiers: str, crops: Crops) -> Profile:
        """The profile of a combination like "1+0": 3, or 2 (or another key of BNTA), then 1, then 0, as far
        as they are named."""
        named = set(tiers.split("+")) - {"none"}
        if "pooled" in named:
            profile = self.pooled(crops)
        else:
            profile = self.base
            for name in named & set(BNTA):
                profile = self.bnta(crops, BNTA[name])
            if "3" in named:
                profile = self.groups(crops)
            if "1" in named:
                profile = self.statistics(profile, crops, self.embed(self.base, crops))
        return self.centred(profile, crops) if "0" in named else profile


class SubjectTools:
    """What `reid.adaptation.ladder` computes with, over a Subject."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    def embed(self, profile: Profile, crops: np.ndarray, cameras: Sequence[str | None]) -> np.ndarray:
        """See Tools."""
        return self.subject.embed(profile, _crops(crops, cameras))

    def statistics(
        self, source: Profile, crops: np.ndarray, cameras: Sequence[str | None], embedded: np.ndarray
    ) -> Profile:
        """See Tools."""
        return self.subject.statistics(source, _crops(crops, cameras), embedded)

    def bnta(self, crops: np.ndarray, cameras: Sequence[str | None], seed: int) -> Profile:
        """See Tools."""
        return self.subject.bnta(_crops(crops, cameras), Bnta(seed=seed))

    def groups(self, crops: np.ndarray, cameras: Sequence[str | None], seed: int) -> Profile:
        """See Tools."""
        return self.subject.groups(_crops(crops, cameras), Groups(seed=seed))


def _batches(count: int) -> list[slice]:
    return [slice(start, start + _BATCH) for start in range(0, count, _BATCH)]


def _crops(pixels: np.ndarray, cameras: Sequence[str | None]) -> Crops:
    names = np.array([camera or "" for camera in cameras])
    return Crops(pixels, names, np.zeros(len(names), np.int64))


class Judge:
    """Scores profiles on a site; embeddings with the bundle's own tables and with the last ones are kept."""

    def __init__(self, subject: Subject, site: TestSite) -> None:
        self.subject, self.site = subject, site
        self.kept: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # of query and gallery, by tables

    def score(self, profile: Profile, query_cameras: bool = True) -> RankingScores:
        """How well the site's queries find their people.

        Args:
            query_cameras: False asks as if nobody knew the camera of the queries.
        """
        site = self.site
        if profile.tables_id not in self.kept:
            base = self.subject.base.tables_id
            self.kept = {name: pair for name, pair in self.kept.items() if name == base}
            embed = self.subject.embed
            self.kept[profile.tables_id] = (embed(profile, site.query), embed(profile, site.gallery))
        query, gallery = self.kept[profile.tables_id]
        cameras: list[str | None] = list(site.query.cameras)
        if not query_cameras:
            cameras = [None] * len(site.query)
            if profile.cameras:
                unknown = dataclasses.replace(site.query, cameras=np.full(len(site.query), ""))
                query = self.subject.embed(profile, unknown)
        query = profile.compare(query, cameras)
        gallery = profile.compare(gallery, list(site.gallery.cameras))
        return rank_embeddings(query, gallery, site.query.pids, site.gallery.pids, *_numbers(site))


def _numbers(site: TestSite) -> tuple[np.ndarray, np.ndarray]:
    """int64: the cameras of query and gallery, as numbers."""
    _, numbers = np.unique(np.concatenate([site.query.cameras, site.gallery.cameras]), return_inverse=True)
    return numbers[: len(site.query)], numbers[len(site.query) :]


def device() -> str:
    """Where torch computes: the GPU where there is one."""
    return "cuda:0" if torch.cuda.is_available() else "cpu"
