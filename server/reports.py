"""What the server says about itself, its sites and its jobs: one schema for HTTP, gRPC and the store."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def _is_none(value: Any) -> bool:
    return value is None


def _fact(description: str) -> Any:
    """A field that is left out of the answer until it is known."""
    return Field(default=None, exclude_if=_is_none, description=description)


class JobReport(BaseModel):
    """What a job did; it grows while the job runs."""

    # extra: reports of other versions stay readable
    model_config = ConfigDict(extra="allow", validate_assignment=True)

    tier: str | None = _fact("the tier of adaptation: none or 2")
    crops: int | None = _fact("crops that the adaptation looked at")
    cameras: dict[str, int] | None = _fact("how many of these crops came from each camera")
    pairs: int | None = _fact("pairs of crops that BNTA matched")
    mean_pair_distance: float | None = _fact("mean distance of the nearest parts of these pairs")
    losses: list[dict[str, float | None]] | None = _fact(
        "the losses of every step; null where one was no number"
    )
    device: str | None = _fact("where the adaptation was computed: cpu or cuda")
    profile: str | None = _fact("the BatchNorm profile that came of it")
    engine_parity: float | None = _fact(
        "lowest cosine between the engine and torch, both with the new profile"
    )
    drift: float | None = _fact("1 - mean cosine of embeddings before and after")
    restores: int | None = _fact("the version whose profile a rollback restores")
    seconds: dict[str, float] | None = _fact("how long each stage took")
    reason: str | None = _fact("why the job declined")
    error: str | None = _fact("why the job failed")


class SiteReport(BaseModel):
    """A site."""

    site: str
    version: int
    space_id: str
    profile: str
    items: int
    adapted: bool = Field(description="whether it has another profile than the bundle's")
    can_roll_back: bool
    cause: str = Field(description="what made this version: created, adapt, rollback or reembed")


class BundleReport(BaseModel):
    """The bundle that is served."""

    name: str
    base: str
    architecture: str
    dim: int
    height: int
    width: int
    training_domains: list[str]
    ssl_heads: bool
    weights_licence: str
    metrics: list[dict[str, Any]]


class EngineReport(BaseModel):
    """What embeds, read back from the runtime."""

    engine: str
    version: str
    provider: str
    device: str
    precision: str


class ServerReport(BaseModel):
    """What really runs."""

    bundle: BundleReport
    engine: EngineReport
    refused_engines: dict[str, str] = Field(description="faster engines that do not work here, with reasons")
    max_batch: int
    lanes: dict[str, int] = Field(
        description="engines open beside the bundle's own: folded ones, the shared one"
    )
    keep_images: bool
    tiers: list[str] = Field(description="tiers of adaptation that this server has")
    uptime_s: float
