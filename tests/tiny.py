"""A whole bundle whose network is small enough to compute by hand: block means, one BatchNorm, unit length.

The product runs it like any other, in milliseconds, and `embedding_of` says in numpy what it must answer.
"""

from __future__ import annotations

import functools
import io
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from benchmarks.serving import ServerProcess
from reid.bundle import Bundle, Manifest, write_bundle
from reid.profile import Profile
from server.main import open_service
from server.service import Service
from server.settings import Settings

HEIGHT, WIDTH, BLOCK = 16, 8, 4
ROWS, COLUMNS = HEIGHT // BLOCK, WIDTH // BLOCK
DIM = 3 * ROWS * COLUMNS
SPREAD = 70.0  # of its values before the BatchNorm, a standard deviation


def make_tiny_bundle(folder: Path, name: str = "tiny", spread: float = SPREAD) -> Bundle:
    """Writes the bundle below a folder: uint8 [B,16,8,3] -> float32 [B,24]. With another spread of the values
    it is another model."""
    nodes = [
        helper.make_node("Cast", ["crops"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["channels"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "AveragePool", ["channels"], ["means"], kernel_shape=[BLOCK, BLOCK], strides=[BLOCK, BLOCK]
        ),
        helper.make_node("Flatten", ["means"], ["flat"], axis=1),
        helper.make_node("BatchNormalization", ["flat", *TABLE], ["normal"], epsilon=1e-5),
        helper.make_node("LpNormalization", ["normal"], ["embeddings"], axis=1, p=2),
    ]
    weights = dict(zip(TABLE, own_values(spread), strict=True))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["batch", HEIGHT, WIDTH, 3])],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["batch", DIM])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    manifest = Manifest(
        name=name,
        architecture="block means",
        model={},
        height=HEIGHT,
        width=WIDTH,
        dim=DIM,
        ssl_heads=False,
        training_domains=[],
        recipe={},
        weights_licence="test",
    )
    path = folder / f"{name}.resight"
    shutil.rmtree(path, ignore_errors=True)  # of a server that the same test has started before
    return write_bundle(path, manifest, model, weights)


TABLE = ("neck.weight", "neck.bias", "neck.running_mean", "neck.running_var")


def own_values(spread: float = SPREAD) -> np.ndarray:
    """float32 [4,24]: the bundle's BatchNorm values. Colours around grey become vectors around zero."""
    return np.stack([np.ones(DIM), np.zeros(DIM), np.full(DIM, 127.5), np.full(DIM, spread**2)]).astype(
        np.float32
    )


def site_profile(bundle: Bundle, seed: int) -> Profile:
    """Other BatchNorm values for the same network, as an adaptation would leave them."""
    rng = np.random.default_rng(seed)
    values = own_values()
    values[0] = rng.uniform(0.2, 3.0, DIM)
    values[2] += rng.uniform(-30, 30, DIM)
    return Profile(bundle.base_id, {"neck": values})


@functools.cache
def picture(seed: int) -> bytes:
    """A PNG of the network's own size: one random colour a block, so that nothing is lost on its way."""
    colours = np.random.default_rng(seed).integers(0, 256, (ROWS, COLUMNS, 3), np.uint8)
    return png_of(colours)


def negative(seed: int) -> bytes:
    """The same picture with every colour inverted, so that its embedding is the opposite vector."""
    return png_of(255 - np.random.default_rng(seed).integers(0, 256, (ROWS, COLUMNS, 3), np.uint8))


def png_of(colours: np.ndarray) -> bytes:
    """uint8 [4,2,3] -> a PNG of 16x8 pixels."""
    buffer = io.BytesIO()
    Image.fromarray(colours.repeat(BLOCK, 0).repeat(BLOCK, 1)).save(buffer, "PNG")
    return buffer.getvalue()


def embedding_of(data: bytes, profile: Profile | None = None, camera: str | None = None) -> np.ndarray:
    """float64 [24], unit length: what the network makes of a picture with a camera's table, in numpy."""
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.float64)
    means = pixels.reshape(ROWS, BLOCK, COLUMNS, BLOCK, 3).mean(axis=(1, 3))  # [4,2,3]
    flat = means.transpose(2, 0, 1).ravel()
    gamma, beta, mean, variance = own_values() if profile is None else profile.table(camera)["neck"]
    normal = (flat - mean) / np.sqrt(variance + 1e-5) * gamma + beta
    return normal / np.linalg.norm(normal)


def tiny_server(folder: Path, **settings: object) -> ServerProcess:
    """A real server over such a bundle, with its data in `folder / "data"`: it starts in half the time of one
    with a network that people are told apart by."""
    return ServerProcess(make_tiny_bundle(folder).path, folder / "data", engine="onnxruntime", **settings)


def open_tiny(bundle: Bundle, data: Path, **settings: object) -> Service:
    """The real service over this bundle, in this process."""
    values = {"bundle": bundle.path, "data": data, "device": "cpu", "engine": "onnxruntime"} | settings
    return open_service(Settings.model_validate(values))
