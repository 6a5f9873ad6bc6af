"""A bundle's model card: its manifest as a page of Markdown. What the model must not be used for, a person
has to add."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reid.bundle import Manifest

_COLUMNS = ("mAP", "rank-1", "rank-5", "mINP", "FNIR at FPIR 10%", "FNIR at FPIR 1%")
_CALIBRATION = (
    "threshold at FPIR 10%",
    "threshold at FPIR 1%",
    "calibration slope",
    "calibration intercept",
    "calibration error",
)


def card(manifest: Manifest) -> str:
    """The page: what it is, what it learned from, how, its scores with their commands, thresholds and
    calibration."""
    heads = " with BNTA's self-supervised heads" if manifest.ssl_heads else ""
    rows = [
        (
            "network",
            f"{manifest.architecture}{heads}, {manifest.height}x{manifest.width} input, {manifest.dim}-d "
            f"embeddings",
        ),
        ("trained on", ", ".join(in_short(domain) for domain in manifest.training_domains)),
        ("method", _method(manifest.recipe)),
        (
            "engines",
            ", ".join(
                f"{name} {p.precision} (cosine {p.min_cosine:.6f} to torch)"
                for name, p in manifest.engines.items()
            ),
        ),
        ("terms", manifest.weights_licence),
    ]
    lines = [
        f"# Model card: `{manifest.name}.resight`",
        "",
        "| | |",
        "| --- | --- |",
        *(f"| {name} | {text} |" for name, text in rows),
    ]
    if manifest.metrics:
        lines += ["", "Scores in percent:", "", *_table(manifest.metrics, _COLUMNS)]
    calibrated = [m for m in manifest.metrics if "calibration slope" in m]
    if calibrated:
        lines += [
            "",
            "With half of the people not enrolled: cosine thresholds, and P(the best match is right) = 1 / "
            "(1 + exp(-(slope * cosine +",
            "intercept))), fitted on half of the people; its error in percent is the other half's. They "
            "hold there and nowhere else.",
            "",
            *_table(calibrated, _CALIBRATION),
        ]
    return "\n".join([*lines, "", *(f"    {m['command']}" for m in manifest.metrics), ""])


def _table(metrics: list[dict[str, Any]], columns: tuple[str, ...]) -> list[str]:
    shown = [name for name in columns if any(name in m for m in metrics)]
    lines = [f"| judged by | {' | '.join(shown)} |", "| --- " * (len(shown) + 1) + "|"]
    return [
        *lines,
        *(f"| {m['dataset']} | {' | '.join(str(m.get(name, '')) for name in shown)} |" for m in metrics),
    ]


def in_short(domain: str) -> str:
    """world:site-0+world:site-1+... -> world:site-0 to world:site-1, where they follow each other."""
    parts = domain.split("+")
    return (
        f"{parts[0]} to {parts[-1]}"
        if len(parts) > 2 and parts == [f"world:site-{i}" for i in range(len(parts))]
        else domain
    )


def _method(recipe: dict[str, Any]) -> str:
    if "optimiser" not in recipe:
        return str(recipe.get("method", "unknown"))
    optimiser = recipe["optimiser"]
    teacher = recipe.get("distill", {}).get("teacher", "")
    start = recipe.get("start", "")
    batch = f"{recipe['batch_identities']} x {recipe['batch_crops']}"
    text = f"{recipe['method']}, {optimiser['epochs']} epochs of {batch} crops a batch, "
    text += f"{optimiser['kind']} at {optimiser['rate']:g}, seed {recipe['seed']}"
    text += ", query and gallery crops learned too" if recipe.get("all_images") else ""
    if recipe["method"] == "std":
        text += f", taught by {Path(teacher).name} (share {recipe['distill']['weight']:g})"
    return text + (f", begun with the weights of {Path(start).name}" if start else "")
