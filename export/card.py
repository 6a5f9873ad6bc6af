"""A bundle's model card: its manifest as Markdown. A person adds what the model must not be used for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reid.bundle import Manifest, Quantized

_COLUMNS = (
    "mAP",
    "rank-1",
    "rank-5",
    "mINP",
    "FNIR at FPIR 10%",
    "FNIR at FPIR 1%",
    "queries",
    "queries without a match",
)
_CALIBRATION = (
    "threshold at FPIR 10%",
    "threshold at FPIR 1%",
    "calibration slope",
    "calibration intercept",
    "calibration error",
)


def card(manifest: Manifest) -> str:
    """The page: network, training data, method, scores with their commands, thresholds and calibration."""
    heads = " with BNTA's self-supervised heads" if manifest.ssl_heads else ""
    size = f"{manifest.height}x{manifest.width} input, {manifest.dim}-d embeddings"
    engines = []
    reference = "torch" if manifest.model else "the network itself"
    for name, parity in manifest.engines.items():
        engines.append(f"{name} {parity.precision} (cosine {parity.min_cosine:.6f} to {reference})")
    rows = [
        ("network", f"{manifest.architecture}{heads}, {size}"),
        ("trained on", ", ".join(in_short(domain) for domain in manifest.training_domains) or "unknown"),
        ("method", _method(manifest.recipe)),
        ("engines", ", ".join(engines)),
        *([("int8", _int8(manifest.int8))] if manifest.int8 is not None else []),
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


def _int8(measured: Quantized) -> str:
    return (
        f"rounded between the lowest and highest activations of {measured.crops} crops of "
        f"{measured.calibrated_on}; on {measured.evaluated_on} ({measured.queries} queries) mAP "
        f"{measured.map_int8} instead of {measured.map_fp32} in float32"
    )


def _table(metrics: list[dict[str, Any]], columns: tuple[str, ...]) -> list[str]:
    shown = [name for name in columns if any(name in m for m in metrics)]
    lines = [f"| evaluated on | {' | '.join(shown)} |", "| --- " * (len(shown) + 1) + "|"]
    for measured in metrics:
        cells = [str(measured.get(name, "")) for name in shown]
        lines.append(f"| {measured['dataset']} | {' | '.join(cells)} |")
    return lines


def in_short(domain: str) -> str:
    """world:site-0+world:site-1+... -> world:site-0 to world:site-1, where the sites are consecutive."""
    parts = domain.split("+")
    if len(parts) > 2 and parts == [f"world:site-{i}" for i in range(len(parts))]:
        return f"{parts[0]} to {parts[-1]}"
    return domain


def _method(recipe: dict[str, Any]) -> str:
    if "wrapped" in recipe:
        return f"{recipe['wrapped']}, wrapped with {recipe['preprocessing']}"
    if "optimiser" not in recipe:
        return str(recipe.get("method", "unknown"))
    optimiser = recipe["optimiser"]
    teacher = recipe.get("distill", {}).get("teacher", "")
    start = recipe.get("start", "")
    batch = f"{recipe['batch_identities']} x {recipe['batch_crops']}"
    text = f"{recipe['method']}, {optimiser['epochs']} epochs of {batch} crops a batch, "
    text += f"{optimiser['kind']} at {optimiser['rate']:g}, seed {recipe['seed']}"
    text += ", also trained on query and gallery crops" if recipe.get("all_images") else ""
    if recipe["method"] == "std":
        names = " and ".join(Path(part).name for part in teacher.split("+"))
        text += f", distilled from {names} (share {recipe['distill']['weight']:g})"
    return text + (f", started from the weights of {Path(start).name}" if start else "")
