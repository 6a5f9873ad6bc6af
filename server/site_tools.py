"""What the ladder of adaptation computes with: this server's engines, onnxruntime and a worker process."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

import numpy as np

from reid.adaptation.outputs import Outputs
from reid.adaptation.statistics import Statistics, fit_statistics
from reid.bundle import cosine
from reid.profile import Profile, ProfileError
from server.engine_memory import give_back_freed_memory
from server.engines import Engines
from server.gallery.store import Store
from server.job import Declined
from server.jobs import Handle
from server.reports import outputs_by_layer
from server.work import CROPS, WorkAnswer, WorkRequest, work_folder
from server.worker_process import WorkerError, run_worker

_AT_ONCE, _AHEAD = 64, 2  # crops given to an engine together; how many of these it has beforehand
_PROBES = 16  # crops on which engine and torch are compared
# Cosine of engine and torch with the new values; lower means that the engine does not compute with them.
_LOWEST_PARITY = 0.995


class SiteTools:
    """Implements `reid.adaptation.ladder.Tools` for one job, whose cancel ends each of them.

    Args:
        most_progress: of the job, which none of them goes beyond.

    `seconds` grows by stage: embed, statistics, load, adapt, compile.
    """

    def __init__(self, handle: Handle, store: Store, engines: Engines, most_progress: float) -> None:
        self.handle, self.store, self.engines = handle, store, engines
        self.most_progress = most_progress
        self.seconds: dict[str, float] = {}

    def embed(self, profile: Profile, crops: np.ndarray, cameras: Sequence[str | None]) -> np.ndarray:
        """uint8 [N,H,W,3] and the camera of each -> float32 [N,D], with the tables of the profile."""
        with self._stage("embed"), self.engines.lease(self._keep(profile)) as engine:
            vectors = [np.empty((0, self.engines.bundle.manifest.dim), np.float32)]
            waiting: deque[Future[np.ndarray]] = deque()  # so that the engine never waits for the next crops
            for start in range(0, len(crops), _AT_ONCE):
                self.handle.check()
                rows = slice(start, start + _AT_ONCE)
                some = np.ascontiguousarray(crops[rows])
                waiting.append(engine.submit(some, list(cameras[rows]), "bulk"))
                if len(waiting) > _AHEAD:
                    vectors.append(waiting.popleft().result())
            vectors += [future.result() for future in waiting]
        return np.concatenate(vectors)

    def statistics(
        self, source: Profile, crops: np.ndarray, cameras: Sequence[str | None], embedded: np.ndarray
    ) -> Profile:
        """Tier 1 on top of a profile, on half of the cores, so that queries go on.

        Raises Declined where the values are not finite.
        """
        self.say("taking statistics")
        with self._stage("statistics"):
            threads = max(1, (os.cpu_count() or 1) // 2)
            statistics = Statistics(self.engines.bundle.onnx_model(), source, threads=threads)
            outputs = Outputs(statistics.layers, source.site, source.eps)
            profile = fit_statistics(
                statistics,
                source,
                crops,
                cameras,
                embedded,
                progress=lambda share: self.handle.check(),
                outputs=outputs,
            )
            del statistics
            give_back_freed_memory()
        _require_finite(profile)
        self.handle.job.report.outputs = outputs_by_layer(outputs)
        return profile

    def bnta(self, crops: np.ndarray, cameras: Sequence[str | None], seed: int) -> Profile:
        """Tier 2 from the bundle's own values; see `_by_worker`."""
        return self._by_worker("2", crops, cameras, seed)

    def groups(self, crops: np.ndarray, cameras: Sequence[str | None], seed: int) -> Profile:
        """Tier 3 from the bundle's own values; see `_by_worker`."""
        return self._by_worker("3", crops, cameras, seed)

    def _by_worker(self, tier: str, crops: np.ndarray, cameras: Sequence[str | None], seed: int) -> Profile:
        """What a process of its own computes with torch, which ends with it.

        Raises WorkerError, and Declined where the values are not finite or the engine does not compute with
        them.
        """
        self.say("starting a worker")
        reached = self.handle.job.progress
        room = max(0.0, self.most_progress - reached)
        with work_folder(self.engines.settings.data) as folder:
            # not `tofile`, whose error does not say that the disk is full
            with (folder / CROPS).open("wb") as file:
                file.write(np.ascontiguousarray(crops).data)
            began = time.perf_counter()
            height, width = crops.shape[1:3]
            request = WorkRequest(
                bundle=str(self.engines.bundle.path.resolve()),
                tier=tier,
                seed=seed,
                device=self.engines.settings.device,
                shape=(len(crops), height, width, 3),
                probes=_PROBES,
                cameras=list(cameras),
            )
            answer = run_worker(
                folder,
                request,
                lambda share, stage: self.say(stage, reached + room * share),
                self.handle.check,
                self.engines.settings.adapt_silence_s,
            )
        report = self.handle.job.report
        for name, value in answer.report.items():
            if name == "notes":
                report.notes = [*(report.notes or []), *value]
            elif name != "seconds":
                setattr(report, name, value)
        computed = sum(answer.report["seconds"].values())
        self._spent(answer.report["seconds"] | {"load": time.perf_counter() - began - computed})
        profile = self._profile_of(answer)
        with self._stage("compile"):
            self.say("compiling")
            self._compare_with_torch(profile, answer, np.ascontiguousarray(crops[: len(answer.expected)]))
        return profile

    def _profile_of(self, answer: WorkAnswer) -> Profile:
        bundle = self.engines.bundle
        try:
            profile = Profile.from_bytes(answer.profile)
        except ProfileError as error:
            raise WorkerError(f"the worker's profile cannot be read: {error}") from error
        if profile.base != bundle.base_id:
            raise WorkerError(
                f"bundle {bundle.path} was changed while it was served: its base is {profile.base}, the "
                f"server's {bundle.base_id}; restart the server"
            )
        _require_finite(profile)
        return profile

    def _compare_with_torch(self, profile: Profile, answer: WorkAnswer, probes: np.ndarray) -> None:
        with self.engines.lease(self._keep(profile)) as engine:
            adapted = engine.submit(probes, [None] * len(probes)).result()
        lowest = float(cosine(adapted, answer.expected).min())
        if lowest < _LOWEST_PARITY:
            raise Declined(
                f"the engine answers differently from torch with the adapted values (cosine {lowest:.4f})"
            )
        before, report = self.engines.base.submit(probes).result(), self.handle.job.report
        report.engine_parity = round(lowest, 6)
        report.drift = round(1 - float(cosine(adapted, before).mean()), 6)

    def _keep(self, profile: Profile) -> str:
        """Keeps the tables of a profile, which engines are made of; those that no site takes are dropped when
        the job has ended."""
        return self.store.versions.save_profile(profile.with_centres(None))

    def say(self, stage: str, progress: float = 0.0) -> None:
        """Reports a stage; the job's progress never goes back."""
        self.handle.step(max(progress, self.handle.job.progress), stage)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self._spent({name: time.perf_counter() - began})

    def _spent(self, seconds: dict[str, float]) -> None:
        for name, value in seconds.items():
            self.seconds[name] = round(self.seconds.get(name, 0.0) + value, 3)


def _require_finite(profile: Profile) -> None:
    try:
        profile.require_finite()
    except ProfileError as error:
        raise Declined(f"the adapted values cannot be used: {error}") from error
