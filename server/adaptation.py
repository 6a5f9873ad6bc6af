"""One adaptation: crops of a site -> BNTA -> profile -> engine -> re-embedding -> swap.

Torch is imported in here, by the job.
"""

from __future__ import annotations

import time
from collections import Counter
from importlib.util import find_spec
from typing import Literal, get_args

import numpy as np

from reid.adaptation.sampling import MIN_CROPS, Thumbnails, balanced_order
from reid.batchnorm import BatchNormProfile
from reid.bundle import cosine
from server.engines import Engines
from server.errors import Conflict, Unprocessable
from server.gallery.store import Store
from server.jobs import Declined, Handle
from server.rebuild import Rebuilder
from server.reports import JobReport
from server.sites import Site

Tier = Literal["auto", "none", "2"]
TIERS: tuple[Tier, ...] = get_args(Tier)
# Cosine of engine and torch with the new values; lower means that the engine does not compute with them.
_LOWEST_PARITY = 0.995


class Adaptation:
    """One adaptation of one site.

    Args:
        tier: `2` is BNTA, `none` returns the site to the bundle's own profile, `auto` takes 2 where it can
        and declines otherwise.
        max_samples: crops that BNTA looks at. seed: of the choice of crops and the order of pairs.
    """

    def __init__(
        self,
        site: Site,
        tier: Tier,
        max_samples: int,
        seed: int,
        store: Store,
        engines: Engines,
        rebuilder: Rebuilder,
    ) -> None:
        self.site, self.tier, self.max_samples, self.seed = site, tier, max_samples, seed
        self.store, self.engines, self.rebuilder = store, engines, rebuilder

    def check(self) -> str | None:
        """What stands in the way. Raises where the site can never be adapted as asked; under `auto`, returns
        the reason."""
        count = self.store.items.count(self.site.name)
        if count == 0:
            raise Unprocessable(f"site {self.site.name!r} has no items to adapt to; enroll some first")
        if self.tier == "none":
            return None
        obstacle: str | None = None
        manifest = self.engines.bundle.manifest
        if not manifest.ssl_heads:
            obstacle = f"bundle {manifest.name!r} has no self-supervised heads, so BNTA cannot adapt it"
        elif count < MIN_CROPS:
            obstacle = f"site {self.site.name!r} has {count} items; BNTA needs at least {MIN_CROPS}"
        elif find_spec("torch") is None:
            obstacle = "adaptation needs torch; install it with: pip install -e '.[train]'"
        elif not len(self.store.items.cameras(self.site.name)[0]):
            raise Conflict(f"the images of site {self.site.name!r} are not kept, so it cannot be adapted")
        if obstacle and self.tier == "2":
            raise Unprocessable(obstacle)
        return obstacle

    def run(self, handle: Handle) -> None:
        """The job's work; the report grows as it goes."""
        report = handle.job.report
        report.tier = self.tier
        if self.tier == "none":
            profile_id = self.engines.base_id
        else:
            obstacle = self.check()
            if obstacle:
                raise Declined(f"{obstacle}; the site keeps version {self.site.state.version.version}")
            report.tier = "2"
            profile_id = self._bnta(handle, report)
        began = time.perf_counter()
        live = self.site.state.version
        version = self.rebuilder.run(
            self.site,
            profile_id,
            "adapt",
            live.version,
            handle.job.id,
            lambda share: handle.step(0.5 + share / 2, "re-embedding"),
        )
        report.seconds = (report.seconds or {}) | {"re-embed": round(time.perf_counter() - began, 3)}
        handle.job.version = version.version

    def _bnta(self, handle: Handle, report: JobReport) -> str:
        seconds: dict[str, float] = {}
        began = time.perf_counter()
        crops, cameras = self._sample(handle)
        seconds["sample"] = round(time.perf_counter() - began, 3)
        report.crops, report.cameras = len(crops), cameras

        began = time.perf_counter()
        handle.step(0.1, "loading torch")
        import torch

        from reid.adaptation.bnta import Bnta, adapt
        from reid.batchnorm import profile_from_model
        from reid.engines.pytorch import load_embedder
        from reid.models.build import PixelEmbedder

        on_gpu = torch.cuda.is_available() and self.engines.settings.device != "cpu"
        # Always from the bundle's own values: adapting an adaptation drifts.
        embedder = load_embedder(self.engines.bundle, self.engines.base_profile).to(
            "cuda" if on_gpu else "cpu"
        )
        seconds["load"] = round(time.perf_counter() - began, 3)

        began = time.perf_counter()
        result = adapt(
            embedder, crops, Bnta(seed=self.seed), lambda share, stage: handle.step(0.1 + 0.35 * share, stage)
        )
        seconds["adapt"] = round(time.perf_counter() - began, 3)
        report.device = "cuda" if on_gpu else "cpu"
        report.pairs, report.mean_pair_distance = result.pairs, round(result.mean_pair_distance, 4)
        report.losses = [dict(step) for step in result.losses]
        profile = profile_from_model(self.engines.bundle.base_id, embedder)

        began = time.perf_counter()
        handle.step(0.45, "compiling")
        probe = np.ascontiguousarray(crops[:16])
        with torch.inference_mode():
            pixels = torch.from_numpy(probe).to("cuda" if on_gpu else "cpu")
            expected = PixelEmbedder(embedder)(pixels).cpu().numpy()
        self._install(profile, probe, expected, report)
        seconds["compile"] = round(time.perf_counter() - began, 3)
        report.seconds = seconds
        return profile.id

    def _install(
        self, profile: BatchNormProfile, probe: np.ndarray, expected: np.ndarray, report: JobReport
    ) -> None:
        """Keeps the profile and compiles its engine, unless its values or the engine's answers are wrong."""
        if not all(np.isfinite(values).all() for values in profile.site.values()):
            raise Declined("the adapted values are not finite")
        self.store.versions.save_profile(profile)
        adapted = self.engines.add(profile).submit(probe).result()
        lowest = float(cosine(adapted, expected).min())
        if lowest < _LOWEST_PARITY:
            raise Declined(
                f"the engine answers differently from torch with the adapted values (cosine {lowest:.4f})"
            )
        before = self.engines.base.submit(probe).result()
        report.profile, report.engine_parity = profile.id, round(lowest, 6)
        report.drift = round(1 - float(cosine(adapted, before).mean()), 6)

    def _sample(self, handle: Handle) -> tuple[np.ndarray, dict[str, int]]:
        """uint8 [N,H,W,3], cameras taking turns, near-duplicates dropped; and how many came from each
        camera."""
        seqs, cameras = self.store.items.cameras(self.site.name)
        seen, counts = Thumbnails(), Counter[str]()
        crops: list[np.ndarray] = []
        order = balanced_order(cameras, self.seed)
        for start in range(0, len(order), 64):
            handle.step(0.1 * start / len(order), "choosing crops")
            chunk = order[start : start + 64]
            images = self.store.items.images([int(seqs[i]) for i in chunk])
            for i in chunk:
                if int(seqs[i]) not in images or len(crops) == self.max_samples:
                    continue
                crop = self.rebuilder.embedding.decode_stored(images[int(seqs[i])], f"number {seqs[i]}")
                if seen.is_new(crop, cameras[i]):
                    crops.append(crop)
                    counts[cameras[i] or ""] += 1
        if len(crops) < MIN_CROPS:
            raise Declined(
                f"only {len(crops)} of {len(order)} crops differ from each other; BNTA needs {MIN_CROPS}"
            )
        return np.stack(crops), dict(sorted(counts.items()))
