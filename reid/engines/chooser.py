"""Chooses the engine: TensorRT, CUDA, OpenVINO, onnxruntime on the CPU or torch; never a silent fallback."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from reid.bundle import Bundle
from reid.engine_names import ENGINES, INT8, KINDS, ON_CPU, ON_GPU
from reid.engines.protocol import Device, Engine, EngineError
from reid.engines.providers import GpuOptions
from reid.engines.trial import Trial, check_probe
from reid.profile import Profile

log = logging.getLogger("resight")
# A smaller gain is not worth the precision, and a trial on a busy machine may be wrong by as much.
_WORTH_INT8 = 1.15


class Choice(NamedTuple):
    """An engine, and why each of those before it was refused."""

    engine: Engine
    refused: dict[str, str]  # engine's name -> reason


def choose_engine(
    bundle: Bundle, device: Device = "auto", name: str = "auto", profile: Profile | None = None
) -> Engine:
    """The first engine of `ENGINES` that works here, or the one that is named. See `choose_with_reasons`."""
    return choose_with_reasons(bundle, device, name, profile).engine


def choose_with_reasons(
    bundle: Bundle,
    device: Device = "auto",
    name: str = "auto",
    profile: Profile | None = None,
    gpu: GpuOptions = GpuOptions(),
    trial: Callable[[str], Trial] | None = None,
    stored: str | None = None,
) -> Choice:
    """The first engine of `ENGINES` that works here, or the one that is named. Each refusal is logged.
    With the bundle's own values an engine must also embed the bundle's probe as it is recorded.

    int8 is taken without being named only where its trial was faster than that of OpenVINO in float.

    Args:
        device: `cuda` forbids the CPU, `cpu` forbids the GPU, `auto` takes the GPU if there is one and logs
            a warning if it cannot be used.
        name: `auto`, or one of `ENGINES`: then exactly this one. gpu: how a GPU is used.
        trial: what came out for an engine in a process of its own; those of the CPU have one before they are
            opened here. stored: in which precision (`Bundle.precision_id`) the gallery was embedded that the
            engine is for; None where there is none, or where it is going to be embedded again.

    Raises EngineError when no such engine works; the message says why for each.
    """
    if name != "auto":
        if name not in ENGINES:
            raise EngineError(f"unknown engine {name!r}; known: {', '.join(ENGINES)}")
        return Choice(_tried(name, bundle, profile, device, gpu, trial), {})
    refused: dict[str, str] = {}
    for candidate in _candidates(device):
        if candidate == INT8:
            reason = _why_not_int8(bundle, trial, stored)
            if reason is not None:
                log.info("engine %s is not used: %s", candidate, reason)
                refused |= {candidate: reason} if trial is not None else {}
                continue
        try:
            engine = _tried(candidate, bundle, profile, device, gpu, trial)
        except EngineError as error:
            log.warning("engine %s is not used: %s", candidate, error)
            refused[candidate] = str(error)
            continue
        if device == "auto" and gpu_present() and engine.describe().device == "cpu":
            log.warning("a GPU is present but not used: %s", _in_one_line(refused))
        return Choice(engine, refused)
    raise EngineError(f"no engine works for device {device!r}. {_in_one_line(refused)}")


def installed_engines(device: Device = "cpu") -> list[str]:
    """Engines whose packages are importable here and that may run on the device with every bundle."""
    return [
        name for name in _candidates(device) if name != INT8 and find_spec(KINDS[name].module) is not None
    ]


def require_installed(name: str) -> None:
    """Raises EngineError with what to install, unless the packages of an engine are importable."""
    if name == "tensorrt" and find_spec("tensorrt_libs") is None:
        raise EngineError("TensorRT is not installed; install it with: pip install -e '.[gpu,tensorrt]'")
    if find_spec(KINDS[name].module) is None:
        raise EngineError(
            f"{KINDS[name].module} is not installed; install it with: pip install {KINDS[name].module}"
        )


def gpu_present() -> bool:
    """True when the system shows an NVIDIA GPU, whether or not any package can use it."""
    return Path("/proc/driver/nvidia/gpus").is_dir() or any(Path("/dev").glob("nvidia[0-9]*"))


def _in_one_line(refused: dict[str, str]) -> str:
    return "; ".join(f"{candidate}: {reason}" for candidate, reason in refused.items())


def _candidates(device: Device) -> list[str]:
    if device == "cuda":
        return [*ON_GPU, "torch"]
    return list(ON_CPU if device == "cpu" or not gpu_present() else ENGINES)


def _why_not_int8(bundle: Bundle, trial: Callable[[str], Trial] | None, stored: str | None) -> str | None:
    """Why int8 is not taken without being named; None where it is."""
    if bundle.manifest.int8 is None:
        return "the bundle does not say how to round; see: resight bundle quantize --help"
    if stored is not None:
        if stored == bundle.precision_id("int8"):
            return None
        return f"the gallery was embedded in {stored}; resight serve --reembed embeds it again"
    if find_spec(KINDS[INT8].module) is None:
        return "openvino is not installed; install it with: pip install openvino"
    if trial is None:
        return "nothing was measured"
    outcome = trial(INT8)
    if outcome.refused is not None:
        return outcome.refused
    if outcome.speed_up is None:
        return outcome.undecided or "its trial did not say how fast it is"
    if outcome.speed_up < _WORTH_INT8:
        return (
            f"it embeds {outcome.speed_up:.2f} times as many crops a second as float; needed: {_WORTH_INT8}"
        )
    return None


def _tried(
    name: str,
    bundle: Bundle,
    profile: Profile | None,
    device: Device,
    gpu: GpuOptions,
    trial: Callable[[str], Trial] | None,
) -> Engine:
    """An engine that may serve. Raises EngineError."""
    if trial is not None and name in ON_CPU and find_spec(KINDS[name].module) is not None:
        outcome = trial(name)
        if outcome.refused is not None:
            raise EngineError(f"{name}: {outcome.refused}")
    engine = _make(name, bundle, profile, device, gpu)
    if profile is None:
        check_probe(bundle, engine)
    return engine


def _make(name: str, bundle: Bundle, profile: Profile | None, device: Device, gpu: GpuOptions) -> Engine:
    require_installed(name)
    kind = KINDS[name]
    if kind.module == "openvino":
        return _openvino(bundle, profile, kind.variant or None)
    if kind.module == "torch":
        return _torch(bundle, profile, device)
    return _onnxruntime(bundle, profile, kind.variant, gpu)


def _onnxruntime(bundle: Bundle, profile: Profile | None, provider: str, gpu: GpuOptions) -> Engine:
    """On a GPU in half precision where that agrees with the CPU, in float32 otherwise."""
    from reid.engines.onnx_runtime import OnnxRuntimeEngine

    recorded = bundle.manifest.engines.get(provider)
    if provider == "cpu" or (recorded is not None and recorded.precision == "fp32"):
        return OnnxRuntimeEngine(bundle, profile, provider, gpu).verify()
    try:
        return OnnxRuntimeEngine(bundle, profile, provider, gpu, "fp16").verify()
    except EngineError as error:
        log.warning("engine %s is not used in fp16: %s", provider, error)
        gpu.fallbacks.note(f"{provider} in float32 instead of fp16", str(error))
    return OnnxRuntimeEngine(bundle, profile, provider, gpu).verify()


def _openvino(bundle: Bundle, profile: Profile | None, precision: str | None = None) -> Engine:
    from reid.engines.open_vino import OpenVinoEngine

    return OpenVinoEngine(bundle, profile, precision)


def _torch(bundle: Bundle, profile: Profile | None, device: Device) -> Engine:
    from reid.engines.pytorch import TorchEngine, torch_device

    if not bundle.manifest.model:
        raise EngineError("torch cannot run a foreign network that was wrapped; only its graph is there")
    return TorchEngine(bundle, profile, torch_device(device))
