"""One engine on the GPU: where it runs, whether it answers as torch on the CPU does, and how fast."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import numpy as np

from benchmarks.gpu import device
from benchmarks.gpu.findings import Findings
from benchmarks.gpu.plan import Plan
from reid.batches import in_batches
from reid.bundle import Bundle, cosine
from reid.engines import Engine, EngineError, choose_engine
from reid.engines.agreement import FLOORS, SHARE_OF_DRIFT
from reid.engines.pytorch import TorchEngine
from reid.profile import Profile

PARITY_CROPS = 128
OPTIONAL = ("tensorrt",)  # not every installation has it; what is missing is said and rejects nothing
_WARM_UP = 3
# cosines to torch may fall short of 1 by this share of what the adaptation itself changes


def check_engine(plan: Plan, name: str, findings: Findings) -> None:
    """Opens an engine, with the bundle's values and with adapted ones, and compares both with torch."""
    bundle, crops = Bundle.load(plan.bundle), plan.drawn()[:PARITY_CROPS]
    before = device.used_mib()
    began = time.perf_counter()
    try:
        engine = choose_engine(bundle, plan.device, name)
    except EngineError as error:
        findings.say(f"does not open: {error}")
        findings.require(name in OPTIONAL, str(error))
        return
    opened = time.perf_counter()
    engine.embed(crops[:1])
    findings.say(f"opened in {opened - began:.2f} s, first crop after {time.perf_counter() - opened:.2f} s")
    info = engine.describe()
    findings.say(f"{info.engine} {info.version}, {info.provider}, {info.precision}{_placement(engine)}")
    findings.require(info.device.startswith(plan.device), f"runs on {info.device} instead of {plan.device}")
    expected = TorchEngine(bundle).embed(crops)
    by_batch = _parity(engine, crops, expected, info.precision, plan.batches, findings)
    _rates(engine, crops, plan.batches, plan.seconds, findings)
    profile = plan.adapted()
    if profile is None:
        findings.require(False, "no adapted profile to compare")
    else:
        _two_profiles(engine, bundle, profile, crops, expected, by_batch, findings)
    findings.say(f"memory of the GPU: {before} MiB before, {device.used_mib()} MiB with both engines open")


def _placement(engine: Engine) -> str:
    """How many operators run with which provider, where the engine is a session of onnxruntime."""
    record = getattr(getattr(engine, "session", None), "get_provider_graph_assignment_info", None)
    if record is None:
        return ""
    operators = Counter(part.ep_name for part in record() for _ in part.get_nodes())
    return "; operators: " + ", ".join(f"{count} with {provider}" for provider, count in operators.items())


def _parity(
    engine: Engine,
    crops: np.ndarray,
    expected: np.ndarray,
    precision: str,
    batches: tuple[int, ...],
    findings: Findings,
) -> np.ndarray:
    """Says how near the engine is to float32 [N,D] of torch at every batch; returns its embeddings."""
    lowest = 1.0
    for batch in batches:
        embeddings = in_batches(len(crops), lambda rows: engine.embed(crops[rows]), batch)
        nearest = float(cosine(embeddings, expected).min())
        apart = float(np.abs(embeddings - expected).max())
        findings.say(
            f"batch {batch:>3}: lowest cosine to torch on the CPU {nearest:.7f}, values {apart:.1e} apart"
        )
        lowest = min(lowest, nearest if np.isfinite(embeddings).all() else -1.0)
    floor = FLOORS[precision]
    findings.require(
        lowest >= floor, f"cosine {lowest:.6f} to torch is below {floor}, the floor of {precision}"
    )
    return embeddings


def _rates(
    engine: Engine, crops: np.ndarray, batches: tuple[int, ...], seconds: float, findings: Findings
) -> None:
    for batch in batches:
        rate = images_per_second(engine.embed, np.resize(crops, (batch, *crops.shape[1:])), seconds)
        findings.say(f"batch {batch:>3}: {rate:9.0f} images/s, {1e3 * batch / rate:8.3f} ms a batch")


def images_per_second(embed: Callable[[np.ndarray], np.ndarray], crops: np.ndarray, seconds: float) -> float:
    """Crops a second of one thread that asks for the same batch again and again."""
    for _ in range(_WARM_UP):
        embed(crops)
    began, count, taken = time.perf_counter(), 0, 0.0
    while not count or taken < seconds:
        embed(crops)
        count += len(crops)
        taken = time.perf_counter() - began
    return count / taken


def _two_profiles(
    engine: Engine,
    bundle: Bundle,
    profile: Profile,
    crops: np.ndarray,
    expected: np.ndarray,
    base: np.ndarray,
    findings: Findings,
) -> None:
    """The adapted engine must follow torch much more closely than the adaptation moved the embeddings, and
    the engine with the bundle's values must answer as before."""
    began = time.perf_counter()
    second = engine.with_profile(profile)
    adapted = second.embed(crops)
    findings.say(f"a second profile answers after {time.perf_counter() - began:.2f} s")
    wanted = TorchEngine(bundle, profile).embed(crops)
    drift = 1 - cosine(wanted, expected)
    off = 1 - cosine(adapted, wanted)
    findings.say(
        f"adapted: cosine to torch {1 - off.max():.7f} at least, to the bundle's own {1 - drift.mean():.5f} "
        "on average"
    )
    worst = float((off / np.maximum(drift, 1e-9)).max())
    findings.require(
        worst <= SHARE_OF_DRIFT, f"adapted values are off by {worst:.3f} of what the adaptation changes"
    )
    again = float(cosine(engine.embed(crops), base).min())
    findings.require(again > 0.999999, f"the first engine changed beside the second (cosine {again:.6f})")
