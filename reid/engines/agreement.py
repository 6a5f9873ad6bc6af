"""Whether an engine computes what it should, before it serves anybody.

Two profiles of one network lie as near as 0.996 in cosine, so a fixed floor accepts one for the other. What
is compared is therefore also how far the profile itself moves each crop.
"""

from __future__ import annotations

import numpy as np

from reid.engines.protocol import EngineError
from reid.images import resize

# int8: of two ways of computing the same rounded values, whose differences in the last place round apart
FLOORS = {"fp32": 0.9999, "bf16": 0.999, "fp16": 0.999, "int8": 0.99}
PROBE_CROPS = 8  # whose embeddings a bundle records
SHARE_OF_DRIFT = 0.1  # of what a profile changes: how far an engine may be off


def probe_crops(height: int, width: int, count: int, seed: int = 0) -> np.ndarray:
    """uint8 [count,H,W,3]: smooth random images, closer to crops than white noise is."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 8, 4, 3), np.uint8)
    fine = np.stack([resize(c, height, width) for c in coarse]).astype(np.int16)
    return np.clip(fine + rng.integers(-12, 13, fine.shape), 0, 255).astype(np.uint8)


def check_agreement(
    embeddings: np.ndarray, expected: np.ndarray, precision: str, base: np.ndarray | None = None
) -> None:
    """Raises EngineError unless the embeddings are those that are expected.

    Args:
        embeddings: float32 [N,D], of the engine. expected: float32 [N,D], of the CPU in float32, or recorded.
        precision: in which the engine computes; each has its floor.
        base: float32 [N,D], of the CPU with the bundle's own tables, where the engine has others.
    """
    if embeddings.shape != expected.shape or not np.isfinite(embeddings + expected).all():
        raise EngineError("it answers with values that are not finite, or in another shape")
    off = 1 - (embeddings * expected).sum(1)
    floor = FLOORS[precision]
    if 1 - off.max() < floor:
        raise EngineError(
            f"cosine {1 - off.max():.6f} to what it should answer is below {floor}, the floor of {precision}"
        )
    if base is None:
        return
    drift = 1 - (base * expected).sum(1)
    share = float(off.mean() / max(float(drift.mean()), 1e-9))
    # a profile that hardly differs from the base cannot be told from it, and need not be
    if off.mean() > 1e-6 and share > SHARE_OF_DRIFT:
        raise EngineError(
            f"its answers are off by {share:.2f} of what the profile changes (allowed: {SHARE_OF_DRIFT}), as "
            "if it computed with the tables of another profile"
        )
