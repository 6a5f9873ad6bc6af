"""What would run on a GPU, held without one: fake CUDA tensors, and a stand-in for onnxruntime's session."""

from __future__ import annotations

import dataclasses
import functools
import logging
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from export import parity
from reid.adaptation import bnta
from reid.bundle import Bundle
from reid.engines import EngineError, GpuOptions, choose_with_reasons, chooser, onnx_runtime
from reid.engines.agreement import check_agreement, probe_crops
from reid.engines.fallbacks import Fallbacks
from reid.engines.onnx_runtime import PROVIDERS, OnnxRuntimeEngine, OnnxRuntimeRows
from reid.engines.pytorch import TorchEngine, torch_device
from reid.engines.running import ON_CPU, Running
from reid.models.build import build
from reid.models.spec import ModelSpec
from reid.profile import Profile
from server import worker
from server.engines import Engines
from server.gallery.indexes import Indexes
from server.gallery.store import Store
from server.settings import Settings
from server.status import Status
from server.work import WorkRequest
from tests.conftest import SMALL, make_checkpoint
from training.evaluate import open_embedder

CPU, CUDA, TENSORRT = PROVIDERS["cpu"], PROVIDERS["cuda"], PROVIDERS["tensorrt"]
ON_CUDA = [(CUDA, "Conv"), (CUDA, "Add"), (CPU, "Shape"), (CPU, "Squeeze")]


def test_adaptation_keeps_its_tensors_on_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fake tensors have a device and no values: an operation on two devices fails as on a GPU."""
    n = 16
    distance = np.random.default_rng(0).random((n, n)).astype(np.float32)
    monkeypatch.setattr(bnta, "nearest_parts", lambda parts: (distance, np.zeros((n, n), np.int64)))
    monkeypatch.setattr(torch.Tensor, "item", lambda tensor: 1.0)
    monkeypatch.setattr(torch.Tensor, "backward", lambda loss: None)  # autograd asks for a real device
    monkeypatch.setattr(torch.nn.Module, "to", _moved)
    with FakeTensorMode():
        with torch.device("cuda"):
            embedder = build(ModelSpec("resnet18", 96, 48)).eval()
        report = bnta.adapt(embedder, np.zeros((n, 96, 48, 3), np.uint8))
    assert report.steps == 1
    assert all(value.device.type == "cuda" for value in embedder.state_dict().values())


def _moved(module: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """`Module.to` for fake tensors, which torch cannot exchange; only buffers have to move here."""
    for part in module.modules():
        for name, buffer in part.named_buffers(recurse=False):
            part._buffers[name] = buffer.to(device)
    return module


class Session:
    """Stands in for onnxruntime's session on a machine with a GPU."""

    def __init__(self, runs_on: str, nodes: list[tuple[str, str]]) -> None:
        self.runs_on, self.nodes = runs_on, nodes
        self.called: list[str] = []
        self.providers: list[Any] = []
        self.options: dict[str, Any] = {}

    def __call__(self, model: bytes, options: Any, providers: list[Any], **others: Any) -> Session:
        self.called.append("session")
        self.providers, self.options = providers, others
        return self

    def get_providers(self) -> list[str]:
        return [self.runs_on, CPU]

    def get_provider_graph_assignment_info(self) -> list[Any]:
        parts = []
        for provider, operator in self.nodes:
            node = SimpleNamespace(op_type=operator, name=operator.lower(), domain="")
            parts.append(SimpleNamespace(ep_name=provider, get_nodes=lambda node=node: [node]))
        return parts

    def preload_dlls(self) -> None:
        self.called.append("preload")
        print("Failed to load libcublas.so.13: no such file\nPlease follow the installation page")


def stand_in(
    monkeypatch: pytest.MonkeyPatch, runs_on: str = CUDA, nodes: list[tuple[str, str]] = ON_CUDA
) -> Session:
    """Puts a session in the place of onnxruntime's."""
    session = Session(runs_on, nodes)
    monkeypatch.setattr(onnx_runtime, "_preloaded", functools.cache(onnx_runtime._preloaded.__wrapped__))
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "preload_dlls", session.preload_dlls, raising=False)
    return session


def test_cuda_libraries_are_loaded_before_a_session_that_needs_them(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = stand_in(monkeypatch)
    assert OnnxRuntimeEngine(bundle, provider="cuda").describe().device == "cuda:0"
    assert session.called == ["preload", "session"]
    assert session.options == {"enable_fallback": 0}
    on_cpu = stand_in(monkeypatch, CPU, [(CPU, "Conv")])
    OnnxRuntimeEngine(bundle)
    assert on_cpu.called == ["session"]


def test_engines_compiled_at_once_load_the_libraries_once_and_leave_the_output_alone(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two loads that overlap would each put the other's text in the place of the process's output."""
    session = stand_in(monkeypatch, CPU)
    second, outcomes, output = threading.Event(), [], sys.stdout

    def compile_engine() -> None:
        with pytest.raises(EngineError) as caught:
            OnnxRuntimeEngine(bundle, provider="cuda")
        outcomes.append("Failed to load libcublas.so.13" in str(caught.value))

    threads = [threading.Thread(target=compile_engine) for _ in range(2)]

    def preload() -> None:
        session.preload_dlls()
        if session.called.count("preload") == 1:
            second.wait(0.5)
        else:
            second.set()
            threads[0].join(5)

    monkeypatch.setattr(onnxruntime, "preload_dlls", preload, raising=False)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert sys.stdout is output
    finally:
        sys.stdout = output
    assert session.called.count("preload") == 1
    assert outcomes == [True, True]


def test_an_onnxruntime_without_preloading_is_used_as_it_is(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = stand_in(monkeypatch)
    monkeypatch.delattr(onnxruntime, "preload_dlls")
    OnnxRuntimeEngine(bundle, provider="cuda")
    assert session.called == ["session"]


def test_tensorrt_gets_its_options_in_words_that_it_takes(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = stand_in(monkeypatch, TENSORRT, [(TENSORRT, "Conv"), (CUDA, "Transpose"), (CPU, "Shape")])
    OnnxRuntimeEngine(
        bundle, provider="tensorrt", gpu=GpuOptions(tmp_path / "built", 4 << 30), precision="fp16"
    )
    (name, options), (second, cuda), last = session.providers
    assert (name, second, last) == (TENSORRT, CUDA, CPU)
    height, width = bundle.size
    assert options == {
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(tmp_path / "built"),
        "trt_engine_cache_prefix": f"{bundle.base_id}-{bundle.base_id}-fp16",
        "trt_fp16_enable": "True",
        "trt_max_workspace_size": str(1 << 30),
        "trt_profile_min_shapes": f"crops:1x{height}x{width}x3",
        "trt_profile_opt_shapes": f"crops:32x{height}x{width}x3",
        "trt_profile_max_shapes": f"crops:128x{height}x{width}x3",
    }
    assert cuda["gpu_mem_limit"] == str(4 << 30) and cuda["use_tf32"] == "0"
    assert (tmp_path / "built").is_dir()


def test_tensorrt_gets_a_range_for_every_input_of_the_shared_graph(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = stand_in(monkeypatch, TENSORRT, [(TENSORRT, "Conv")])
    rows = OnnxRuntimeRows(bundle, "tensorrt")
    height, width = bundle.size
    largest = f"crops:128x{height}x{width}x3,rows:128,tables:128x2x{rows.channels}"
    assert session.providers[0][1]["trt_profile_max_shapes"] == largest


def test_profiles_and_precisions_never_share_a_built_engine(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, prefixes = stand_in(monkeypatch, TENSORRT, [(TENSORRT, "Conv")]), set()
    for profile in (None, moved(bundle)):
        for precision in ("fp16", "fp32"):
            OnnxRuntimeEngine(bundle, profile, "tensorrt", GpuOptions(tmp_path), precision)
            prefixes.add(session.providers[0][1]["trt_engine_cache_prefix"])
    OnnxRuntimeRows(bundle, "tensorrt", GpuOptions(tmp_path))
    prefixes.add(session.providers[0][1]["trt_engine_cache_prefix"])
    assert len(prefixes) == 5


def test_tensorrt_libraries_are_loaded_by_their_package(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, CPU)
    with pytest.raises(EngineError, match=r"tensorrt_libs.*\[gpu,tensorrt\]"):
        OnnxRuntimeEngine(bundle, provider="tensorrt")
    imported: list[str] = []
    monkeypatch.setattr(onnx_runtime.importlib, "import_module", imported.append)
    session = stand_in(monkeypatch, TENSORRT, [(TENSORRT, "Conv")])
    OnnxRuntimeEngine(bundle, provider="tensorrt")
    assert imported == ["tensorrt_libs"] and session.called == ["preload", "session"]


def moved(bundle: Bundle) -> Profile:
    """A profile that changes little, as adaptation does."""
    profile = bundle.profile()
    return Profile(bundle.base_id, {name: rows * np.float32(1.05) for name, rows in profile.site.items()})


def test_the_engine_of_the_base_is_refused_as_that_of_a_profile(bundle: Bundle) -> None:
    """TensorRT's cache would offer it, and a fixed floor of 0.995 would take it."""
    crops, profile = probe_crops(*bundle.size, 16), moved(bundle)
    base = OnnxRuntimeEngine(bundle).embed(crops)
    expected = OnnxRuntimeEngine(bundle, profile).embed(crops)
    blend = 0.03 * base + 0.97 * expected
    blend /= np.linalg.norm(blend, axis=1, keepdims=True)
    check_agreement(expected, expected, "fp32", base)
    check_agreement(blend, expected, "fp16", base)
    with pytest.raises(EngineError):
        check_agreement(base, expected, "fp16", base)
    little = 0.95 * base + 0.05 * expected  # a profile that moves so little that the base is above the floor
    little /= np.linalg.norm(little, axis=1, keepdims=True)
    with pytest.raises(EngineError, match="the tables of another profile"):
        check_agreement(base, little, "fp16", base)


def test_a_full_gpu_lets_the_cpu_compute_and_says_so(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    on_cpu, crops = OnnxRuntimeEngine(bundle), probe_crops(*bundle.size, 2)
    engine = OnnxRuntimeEngine(bundle)
    problems = ["CUDA failure 2: out of memory", "Failed to allocate memory for requested buffer"]

    class Full:
        def run(self, *arguments: Any) -> Any:
            raise RuntimeError(problem)

    fallbacks = Fallbacks()
    engine.running = Running(Full(), engine._on_cpu, fallbacks)
    for problem in problems:
        assert np.array_equal(engine.embed(crops), on_cpu.embed(crops))
        assert problem in caplog.text
    (seen,) = fallbacks.all()
    assert (seen.what, seen.reason, seen.times) == (ON_CPU, problems[1], 2)
    problem = "CUDA failure 700: an illegal memory access"
    with pytest.raises(RuntimeError, match="illegal"):
        engine.embed(crops)


def test_no_batch_is_larger_than_an_engine_was_built_for() -> None:
    sizes = []

    class Counting:
        def run(self, outputs: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            sizes.append(len(inputs["crops"]))
            return [inputs["crops"].astype(np.float32)]

    crops = np.arange(300).reshape(300, 1)
    answers = Running(Counting(), Counting, Fallbacks()).run({"crops": crops})
    assert sizes == [128, 128, 44] and np.array_equal(answers, crops)


def test_exports_compare_cuda_and_tensorrt_where_there_is_a_gpu(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[str] = []

    def variants(name: str, bundle: Bundle) -> Any:
        tried.append(name)
        if name == "tensorrt":
            raise EngineError("no libnvinfer")
        yield OnnxRuntimeEngine(bundle)

    monkeypatch.setattr(parity, "_variants", variants)
    monkeypatch.setattr(chooser, "gpu_present", lambda: True)
    monkeypatch.setattr(chooser, "installed_engines", lambda device: [])
    crops = probe_crops(*bundle.size, 2)
    passed = parity.run_gate(bundle, OnnxRuntimeEngine(bundle).embed(crops), crops)
    assert tried == ["tensorrt", "cuda"] and [each.engine for each in passed] == ["cuda"]
    assert "no libnvinfer" in caplog.text
    monkeypatch.setattr(chooser, "gpu_present", lambda: False)
    assert parity.run_gate(bundle, np.empty((0, 1)), crops) == []


def test_a_session_that_fell_back_is_refused_with_the_library_that_is_missing(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, CPU)
    with pytest.raises(EngineError, match=r"instead of CUDAExecutionProvider.*libcublas\.so\.13") as caught:
        OnnxRuntimeEngine(bundle, provider="cuda")
    assert "Please follow" not in str(caught.value)


@pytest.mark.parametrize(
    ("provider", "nodes", "named"),
    [
        ("cuda", [(CUDA, "Conv"), (CPU, "MaxPool")], "MaxPool on CPUExecutionProvider"),
        ("cuda", [(CPU, "Conv")], "Conv on CPUExecutionProvider"),
        ("tensorrt", [(TENSORRT, "Relu"), (CUDA, "Conv")], "Conv on CUDAExecutionProvider"),
    ],
)
def test_a_network_that_is_not_where_it_was_asked_to_be_is_refused(
    bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    provider: str,
    nodes: list[tuple[str, str]],
    named: str,
) -> None:
    stand_in(monkeypatch, PROVIDERS[provider], nodes)
    with pytest.raises(EngineError, match=named):
        OnnxRuntimeEngine(bundle, provider=provider)


@pytest.mark.parametrize(
    ("error", "is_refusal"),
    [
        (onnx_runtime.RUNTIME_ERRORS[0]("no memory"), True),
        (RuntimeError("no CUDA device"), True),
        (ValueError("an option of the provider"), True),
        (TypeError("our own mistake"), False),
    ],
)
def test_only_an_error_of_onnxruntime_lets_another_engine_take_its_place(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, error: Exception, is_refusal: bool
) -> None:
    def fail(*args: Any, **others: Any) -> None:
        raise error

    stand_in(monkeypatch)
    monkeypatch.setattr(onnxruntime, "InferenceSession", fail)
    with pytest.raises(EngineError if is_refusal else TypeError, match=str(error)):
        OnnxRuntimeEngine(bundle, provider="cuda")


def test_the_error_of_a_graph_that_is_broken_is_one_of_onnxruntime() -> None:
    with pytest.raises(onnx_runtime.RUNTIME_ERRORS):
        onnxruntime.InferenceSession(b"no graph", providers=[CPU])
    assert all(issubclass(error, Exception) for error in onnx_runtime.RUNTIME_ERRORS)
    assert not issubclass(TypeError, onnx_runtime.RUNTIME_ERRORS)


def test_the_real_session_says_where_its_operators_are(bundle: Bundle) -> None:
    engine = OnnxRuntimeEngine(bundle)
    assert "Conv on CPUExecutionProvider" in onnx_runtime._misplaced(engine.session, CUDA)


def test_every_refusal_is_logged_and_reported(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(chooser, "gpu_present", lambda: True)
    with caplog.at_level(logging.WARNING, "resight"):
        choice = choose_with_reasons(bundle)
    assert choice.engine.describe().device == "cpu"
    assert list(choice.refused) == ["tensorrt", "cuda"]
    for name, reason in choice.refused.items():
        assert f"engine {name} is not used: {reason}" in caplog.text
    reasons = "; ".join(f"{name}: {reason}" for name, reason in choice.refused.items())
    assert f"a GPU is present but not used: {reasons}" in caplog.text

    settings, store = Settings(bundle=bundle.path, data=tmp_path), Store(tmp_path)
    engines = Engines(bundle, settings, store)
    try:
        refused = Status(settings, bundle, store, engines, Indexes()).server().refused_engines
        assert "does not say how to round" in refused.pop(chooser.INT8)
        assert refused == choice.refused
    finally:
        engines.close()
        store.close()


def test_info_says_what_did_not_run_as_wished(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_float32(*arguments: Any) -> Any:
        if arguments[-1] == "fp16":
            raise EngineError("cosine 0.9 to the CPU\nis below 0.999")
        return OnnxRuntimeEngine(bundle)

    monkeypatch.setattr(onnx_runtime, "OnnxRuntimeEngine", only_float32)
    settings, store = Settings(bundle=bundle.path, data=tmp_path, engine="cuda"), Store(tmp_path)
    engines = Engines(bundle, settings, store)
    try:
        engines.fallbacks.note(ON_CPU, "CUDA failure 2: out of memory")
        reports = Status(settings, bundle, store, engines, Indexes()).server().fallbacks
    finally:
        engines.close()
        store.close()
    assert [(each.what, each.reason, each.times) for each in reports] == [
        ("cuda in float32 instead of fp16", "cosine 0.9 to the CPU is below 0.999", 1),
        (ON_CPU, "CUDA failure 2: out of memory", 1),
    ]


def test_a_wanted_gpu_that_is_not_there_is_an_error_for_a_checkpoint_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run = make_checkpoint(tmp_path / "run", SMALL)
    with pytest.raises(EngineError, match="no CUDA device"):
        open_embedder(run, "cuda")
    assert open_embedder(run, "auto")[2] == "torch cpu fp32"
    assert open_embedder(run, "cpu", "torch")[2] == "torch cpu fp32"
    for engine in ("openvino", "xx"):
        with pytest.raises(EngineError, match=f"not the engine .{engine}.; export it first"):
            open_embedder(run, "cpu", engine)
    assert torch_device("cpu") == "cpu"


def test_torch_promises_float32_and_keeps_it(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert TorchEngine(bundle).describe().precision == "fp32"
    assert not torch.backends.cudnn.allow_tf32
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    manifest = bundle.manifest
    crops = np.zeros((16, manifest.height, manifest.width, 3), np.uint8)
    request = WorkRequest(str(bundle.path), "2", 0, "cpu", crops.shape, 1)
    worker.compute(request, crops, lambda share, stage: None)
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, RuntimeError])
def test_an_adaptation_for_which_the_gpu_has_no_memory_is_computed_by_the_cpu_and_says_so(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, kind: type[RuntimeError]
) -> None:
    crops = probe_crops(bundle.manifest.height, bundle.manifest.width, 16)
    request = WorkRequest(str(bundle.path), "2", 0, "auto", crops.shape, 4)
    expected = worker.compute(dataclasses.replace(request, device="cpu"), crops, lambda *step: None)
    on_cpu = worker._compute_on

    def small_gpu(device: str, *others: Any) -> Any:
        if device == "cuda":
            monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # torch itself asks, too
            raise kind("CUDA out of memory.\nTried to allocate 2 GiB")
        return on_cpu(device, *others)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(worker, "_compute_on", small_gpu)
    stages: list[str] = []
    answer = worker.compute(request, crops, lambda share, stage: stages.append(stage))
    assert answer.profile == expected.profile
    assert answer.report["device"] == "cpu"
    assert "no memory: CUDA out of memory. Tried to allocate 2 GiB" in answer.report["notes"][0]
    assert any("starting again on the CPU" in stage for stage in stages)
