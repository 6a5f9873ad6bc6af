"""Checkpoint -> bundle: graph, weights stored once, manifest, parity gate."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from export.graph import to_onnx
from export.parity import Parity, run_gate
from export.replace import check_replaceable, replacing
from reid.bundle import Bundle, EngineParity, Manifest, write_bundle, write_manifest, write_probe
from reid.checkpoint import CheckpointError, read_embedder
from reid.engines import EngineError
from reid.engines.agreement import PROBE_CROPS, probe_crops
from reid.engines.chooser import require_installed
from reid.models.runner import CropRunner

PROBES = 64


def export_bundle(
    run: Path,
    out: Path,
    licence: str = "unknown: ask whoever trained it",
    half: bool = False,
    tensorrt: bool = False,
    metrics: list[dict[str, Any]] | None = None,
    force: bool = False,
) -> tuple[Bundle, list[Parity]]:
    """Writes `out` (a `.resight` directory) and runs the parity gate over every installed engine.

    Args:
        run: run folder or checkpoint file. licence: terms of the weights.
        half: store convolution and linear weights in fp16 (half the size; they are widened on loading).
        tensorrt: fail where TensorRT cannot be compared; it is compared wherever it works.
        metrics: numbers for the manifest, each with the command that measured it.
        force: replace a bundle that has other files in its folder, which are deleted with it.

    Raises ParityError beyond the gate and BundleError where `out` is anything else than free or a bundle
    (`out` is as before then), and EngineError where TensorRT is requested and not installed.
    """
    check_replaceable(out, force)
    if tensorrt:
        require_installed("tensorrt")
    embedder, meta = read_embedder(run)
    spec = embedder.spec
    if spec.interpolation != "bilinear":
        raise CheckpointError(
            f"{run} was trained on crops resized by {spec.interpolation} interpolation, and a server resizes "
            f"bilinearly: train it with model.interpolation=bilinear to deploy it"
        )
    manifest = Manifest(
        name=out.name.removesuffix(".resight"),
        architecture=spec.arch,
        model=dataclasses.asdict(spec),
        height=spec.height,
        width=spec.width,
        dim=spec.dim,
        ssl_heads=spec.ssl_heads,
        training_domains=[meta["dataset"]],
        recipe=_without_folders(meta["recipe"]),
        metrics=metrics or [],
        weights_licence=licence,
    )
    weights = {name: _stored(tensor.numpy(), half) for name, tensor in embedder.state_dict().items()}
    with replacing(out, force) as staging:
        bundle = write_bundle(staging, manifest, to_onnx(embedder), weights)
        crops = probe_crops(spec.height, spec.width, PROBES)
        expected = CropRunner(embedder).embed(crops)
        results = run_gate(bundle, expected, crops)
        if tensorrt and all(parity.engine != "tensorrt" for parity in results):
            raise EngineError("TensorRT cannot use a GPU here; the log says why")
        engines = {}
        for parity in results:
            values = {"precision": parity.precision, "min_cosine": parity.min_cosine}
            engines[parity.engine] = EngineParity.model_validate(values)
        probe = probe_crops(spec.height, spec.width, PROBE_CROPS)
        bundle = write_probe(bundle, CropRunner(embedder).embed(probe))
        write_manifest(bundle, bundle.manifest.model_copy(update={"engines": engines}))
    return Bundle.load(out), results


def _without_folders(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe with the names of its teacher and first weights, without their folders."""
    cleaned: dict[str, Any] = {}
    for key, value in recipe.items():
        if isinstance(value, dict):
            cleaned[key] = _without_folders(value)
        else:
            cleaned[key] = Path(value).name if key in ("start", "cache") else value
            if key == "teacher":
                cleaned[key] = "+".join(Path(path).name for path in value.split("+"))
    return cleaned


def _stored(array: np.ndarray, half: bool) -> np.ndarray:
    """The array as it is stored. BN tensors are vectors and stay float32: a profile must not lose digits."""
    return array.astype(np.float16) if half and array.dtype == np.float32 and array.ndim >= 2 else array
