"""Tier 3: BatchNorm's scale and shift, learned from groups of crops that look like one person. Needs torch.

Not in the papers that Resight is made of. Crops are compared with each camera's mean taken away, so a group
may hold crops of several cameras; groups are what density clustering finds in k-reciprocal distance, as in
unsupervised re-identification. Each crop is then drawn to the means of its group at every camera, and away
from the nearest means of other groups ("Camera-aware proxies", AAAI 2021). Only gamma and beta learn: the
statistics stay the source's, and everything else is frozen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from reid.adaptation.bnta import AdaptationError
from reid.adaptation.centring import fit_centres
from reid.adaptation.moving import moving
from reid.adaptation.sampling import MIN_CROPS, camera_numbers
from reid.models.build import Embedder, PixelEmbedder
from reid.models.runner import run_crops
from reid.reranking import jaccard_distances

Progress = Callable[[float, str], None]  # share done, what is going on; may raise to stop the adaptation


@dataclasses.dataclass(frozen=True)
class Groups:
    """Settings of one adaptation; chosen at Market-1501's training part, half of whose people judged."""

    epochs: int = 5  # crops are grouped anew before each
    groups: int = 16  # of a batch
    crops: int = 4  # of each group in a batch
    rate: float = 2e-3  # of Adam
    temperature: float = 0.07
    neighbours: int = 10  # k1 of the k-reciprocal distance
    averaged: int = 3  # its k2
    reach: float = 0.5  # distance up to which crops are neighbours
    fewest: int = 3  # neighbours, itself included, that make a crop the core of a group
    negatives: int = 50  # means of other groups, the nearest ones
    momentum: float = 0.2  # by which a crop of a batch moves its mean
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class GroupsReport:
    """What an adaptation did, by epoch: groups, those of several cameras, crops in them, mean loss."""

    groups: list[int]
    across: list[int]
    grouped: list[int]
    losses: list[float]


@dataclasses.dataclass
class Means:
    """The mean of each group at each camera that saw it.

    Args:
        vectors: float32 [M,D], unit length. group: int64 [M]. of_crop: int64 [N], the mean that a crop is
            part of; -1 for a crop of no group.
    """

    vectors: Tensor
    group: Tensor
    of_crop: np.ndarray

    @classmethod
    def of(cls, compared: np.ndarray, groups: np.ndarray, cameras: np.ndarray, device: torch.device) -> Means:
        """Of crops as they are compared, float32 [N,D]; int64 [N]: the group of each, -1 for none, and its
        camera."""
        grouped = np.flatnonzero(groups >= 0)
        pairs = np.stack([groups[grouped], cameras[grouped]], axis=1)
        kinds, numbers = np.unique(pairs, axis=0, return_inverse=True)
        numbers = numbers.reshape(-1)
        sums = np.zeros((len(kinds), compared.shape[1]), np.float32)
        np.add.at(sums, numbers, compared[grouped])
        of_crop = np.full(len(groups), -1, np.int64)
        of_crop[grouped] = numbers
        vectors = nn.functional.normalize(torch.from_numpy(sums).to(device))
        return cls(vectors, torch.from_numpy(kinds[:, 0].copy()).to(device), of_crop)

    def move(self, rows: np.ndarray, vectors: Tensor, momentum: float) -> None:
        """Crops of a batch, float32 [B,D], move the means that they are part of, one after the other."""
        for row, vector in zip(rows, vectors, strict=True):
            number = int(self.of_crop[row])
            moved = (1 - momentum) * self.vectors[number] + momentum * vector
            self.vectors[number] = nn.functional.normalize(moved, dim=0)


def adapt_by_groups(
    embedder: Embedder,
    crops: np.ndarray,
    cameras: Sequence[str | None],
    settings: Groups | None = None,
    progress: Progress = lambda share, stage: None,
) -> GroupsReport:
    """Changes gamma and beta of the embedder's BatchNorm layers, in place, and nothing else.

    Args:
        embedder: holding the values to start from, on the device to compute on.
        crops: uint8 [N,H,W,3], N >= 16, of one site, unlabeled. cameras: of each.
        progress: called between batches; an exception from it leaves the adaptation there.

    Raises AdaptationError for fewer than 16 crops, and where no two groups are found.
    """
    settings = settings or Groups()
    if len(crops) < MIN_CROPS:
        raise AdaptationError(f"tier 3 needs at least {MIN_CROPS} crops, got {len(crops)}")
    learner = _Learner(embedder, crops, list(cameras), settings, progress)
    with moving(embedder, ["bn"], ["gamma", "beta"], momentum=0.0) as parameters:
        embedder.eval()  # normalises by the source's statistics, not by the batch's
        learner.optimiser = torch.optim.Adam(parameters, lr=settings.rate)
        for epoch in range(settings.epochs):
            learner.learn(epoch)
    embedder.eval()
    return learner.report


class _Learner:
    """One adaptation while it goes on."""

    optimiser: torch.optim.Optimizer

    def __init__(
        self,
        embedder: Embedder,
        crops: np.ndarray,
        cameras: list[str | None],
        settings: Groups,
        progress: Progress,
    ) -> None:
        self.device = next(embedder.parameters()).device
        self.pixels = PixelEmbedder(embedder).to(self.device)
        self.crops, self.cameras, self.settings, self.progress = crops, cameras, settings, progress
        self.numbers = camera_numbers(cameras)
        self.rng = np.random.default_rng(settings.seed)
        self.report = GroupsReport([], [], [], [])

    def learn(self, epoch: int) -> None:
        """Groups the crops as the network embeds them now, then takes a step for each batch of them."""
        s = self.settings
        began, share = epoch / s.epochs, 1 / s.epochs

        def say(done: int, total: int) -> None:
            """While crops are embedded."""
            self.progress(began + 0.3 * share * done / total, "grouping")

        embedded = run_crops(self.pixels, self.crops, self.device, progress=say)
        centres = fit_centres(embedded, self.cameras)
        compared = centres.compare(embedded, self.cameras)
        groups = groups_of(compared, s)
        if groups.max() < 1:
            raise AdaptationError(
                "tier 3 found no two people who were seen often enough to learn from: no two groups of "
                f"{s.fewest} crops that look alike"
            )
        means = Means.of(compared, groups, self.numbers, self.device)
        subtracted = np.stack([centres.of(camera) for camera in self.cameras])  # float32 [N,D]
        losses = []
        batches = list(_batches(groups, s, self.rng))
        for number, rows in enumerate(batches):
            self.progress(began + share * (0.3 + 0.7 * number / len(batches)), "learning from groups")
            losses.append(self._step(rows, groups, means, torch.from_numpy(subtracted[rows])))
        _note(self.report, groups, self.numbers, losses)

    def _step(self, rows: np.ndarray, groups: np.ndarray, means: Means, subtracted: Tensor) -> float:
        """One update by a batch of crops, of which some are mirrored."""
        mirrored = self.rng.random(len(rows)) < 0.5
        some = self.crops[rows]
        some = np.where(mirrored[:, None, None, None], some[:, :, ::-1], some)
        embedded = self.pixels(torch.from_numpy(some).to(self.device))
        vectors = nn.functional.normalize(embedded - subtracted.to(self.device))
        of_rows = torch.from_numpy(groups[rows]).to(self.device)
        loss = proxy_loss(vectors, of_rows, means.vectors, means.group, self.settings)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        means.move(rows, vectors.detach(), self.settings.momentum)
        return loss.item()


def groups_of(compared: np.ndarray, settings: Groups) -> np.ndarray:
    """int64 [N]: the group of each crop, or -1. `compared`: float32 [N,D], unit length."""
    from sklearn.cluster import DBSCAN

    neighbours = min(settings.neighbours, len(compared) - 1)
    distances = jaccard_distances(compared, neighbours, min(settings.averaged, neighbours))
    clustering = DBSCAN(eps=settings.reach, min_samples=settings.fewest, metric="precomputed")
    groups: np.ndarray = clustering.fit_predict(np.maximum(distances, 0)).astype(np.int64)
    return groups


def proxy_loss(vectors: Tensor, groups: Tensor, means: Tensor, of_group: Tensor, settings: Groups) -> Tensor:
    """Cross entropy of each mean of a crop's own group against the nearest means of other groups, averaged
    over these means, then over crops.

    Args:
        vectors: float32 [B,D], unit length. groups: int64 [B].
        means: float32 [M,D], unit length. of_group: int64 [M].
    """
    similar = vectors @ means.T / settings.temperature  # [B,M]
    same = of_group[None] == groups[:, None]
    others = similar.masked_fill(same, -torch.inf)
    nearest = others.topk(min(settings.negatives, others.shape[1]), dim=1).values
    against = torch.logsumexp(nearest, dim=1, keepdim=True)
    losses = torch.logaddexp(similar, against) - similar
    return (losses.masked_fill(~same, 0).sum(1) / same.sum(1)).mean()


def _batches(groups: np.ndarray, settings: Groups, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Rows of some crops of some groups, as often as all grouped crops make batches."""
    rows_of = [np.flatnonzero(groups == number) for number in range(groups.max() + 1)]
    size = settings.groups * settings.crops
    for _ in range(max(1, int((groups >= 0).sum()) // size)):
        chosen = []
        for number in rng.permutation(len(rows_of))[: settings.groups]:
            rows = rows_of[number]
            chosen.append(rng.choice(rows, settings.crops, replace=len(rows) < settings.crops))
        yield np.concatenate(chosen)


def _note(report: GroupsReport, groups: np.ndarray, cameras: np.ndarray, losses: list[float]) -> None:
    across = 0
    for number in range(groups.max() + 1):
        across += len(np.unique(cameras[groups == number])) > 1
    report.groups.append(int(groups.max()) + 1)
    report.across.append(across)
    report.grouped.append(int((groups >= 0).sum()))
    report.losses.append(round(float(np.mean(losses)), 4))
