"""Every way of computing a bundle on this CPU: crops a second beside the one that a server takes.

python -m benchmarks.engines --bundle deploy/starter/starter.resight

They take turns, and the best of each counts, so that other work on the machine meets them all. The cosine is
the lowest to float32 over the crops; docs/serving.md says why int8 is not judged by it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort

from benchmarks.crops import drawn_jpegs
from benchmarks.machine import say_machine
from benchmarks.serving import DEMO, ServerProcess
from reid.bundle import Bundle, cosine
from reid.engines import Engine, choose_engine
from reid.engines.int8 import int8_graph
from reid.engines.onnx_runtime import OnnxRuntimeEngine
from reid.engines.open_vino import OpenVinoEngine
from reid.images import decode_crop

BATCHES = (32, 1)
Embed = Callable[[np.ndarray], np.ndarray]


def ways_of(bundle: Bundle) -> dict[str, Embed]:
    """What computes, by name."""
    ways: dict[str, Embed] = {
        "onnxruntime fp32": OnnxRuntimeEngine(bundle).embed,
        "OpenVINO fp32": OpenVinoEngine(bundle, precision="fp32").embed,
    }
    half = OpenVinoEngine(bundle, precision="bf16")
    if half.describe().precision == "bf16":
        ways["OpenVINO bf16"] = half.embed
    int8 = bundle.int8()
    if int8 is not None:
        ways["OpenVINO int8"] = OpenVinoEngine(bundle, precision="int8").embed
        ways["onnxruntime int8"] = _rounded_by_onnxruntime(bundle)
    if bundle.manifest.model:
        ways["torch fp32"] = choose_engine(bundle, "cpu", "torch").embed
    return ways


def _rounded_by_onnxruntime(bundle: Bundle) -> Embed:
    int8 = bundle.int8()
    assert int8 is not None
    graph = int8_graph(bundle.onnx_model(), int8.ranges).SerializeToString()
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return lambda crops: np.asarray(session.run(None, {"crops": crops})[0])


def measure(ways: dict[str, Embed], crops: np.ndarray, batch: int, rounds: int) -> dict[str, float]:
    """Crops a second of each, the best of the rounds."""
    repeats = max(1, 16 // batch)
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, embed in ways.items():
            embed(crops[:batch])  # of what ran before, worker threads still spin for a while
            began = time.perf_counter()
            for _ in range(repeats):
                embed(crops[:batch])
            best[name] = min(best[name], (time.perf_counter() - began) / repeats)
    return {name: batch / seconds for name, seconds in best.items()}


def chosen(bundle: Bundle) -> tuple[str, Engine]:
    """What a server with an empty gallery takes here, by its name and as an engine."""
    with tempfile.TemporaryDirectory() as folder, ServerProcess(bundle.path, Path(folder) / "data") as server:
        engine = server.engine(bundle)
    info = engine.describe()
    return f"{'OpenVINO' if info.engine == 'openvino' else info.engine} {info.precision}", engine


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=DEMO)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    bundle = Bundle.load(arguments.bundle)
    say_machine()
    taken, _ = chosen(bundle)
    ways = ways_of(bundle)
    jpegs = drawn_jpegs(64)
    crops = np.stack([decode_crop(data, *bundle.size) for data in jpegs])
    exact = ways["onnxruntime fp32"](crops)
    rates = {batch: measure(ways, crops, batch, arguments.rounds) for batch in BATCHES}
    print(f"{bundle.manifest.name}: a server takes {taken}; rates are shares of its own\n")
    print(f"| engine | {' | '.join(f'batch {batch}' for batch in BATCHES)} | lowest cosine |")
    print("| --- " * (len(BATCHES) + 2) + "|")
    for name, embed in ways.items():
        shares = " | ".join(f"{rates[batch][name] / rates[batch][taken]:.2f}" for batch in BATCHES)
        print(f"| {name} | {shares} | {cosine(embed(crops), exact).min():.4f} |")


if __name__ == "__main__":
    main()
