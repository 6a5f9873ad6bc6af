"""What would run on a GPU, held without one: fake CUDA tensors, and a stand-in for onnxruntime's session."""

from __future__ import annotations

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

from reid.adaptation import bnta
from reid.bundle import Bundle
from reid.engines import EngineError, choose_with_reasons, chooser, onnx_runtime
from reid.engines.onnx_runtime import PROVIDERS, OnnxRuntimeEngine
from reid.engines.pytorch import TorchEngine, torch_device
from reid.models.build import build
from reid.models.spec import ModelSpec
from server import worker
from server.engines import Engines
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
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = stand_in(monkeypatch, TENSORRT, [(TENSORRT, "Conv"), (CUDA, "Transpose"), (CPU, "Shape")])
    OnnxRuntimeEngine(bundle, provider="tensorrt", cache="here")
    name, options = session.providers[0]
    assert name == TENSORRT
    assert options == {"trt_engine_cache_enable": "True", "trt_engine_cache_path": "here"}


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
        assert Status(settings, bundle, store, engines).server().refused_engines == choice.refused
    finally:
        engines.close()
        store.close()


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
        with pytest.raises(EngineError, match=f"engine {engine} .* resight export"):
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
    worker.bnta(request, crops, lambda share, stage: None)
    assert not torch.backends.cudnn.allow_tf32
