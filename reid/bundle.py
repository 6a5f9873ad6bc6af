"""The deployable model: a directory `<name>.resight/` without pickle, every byte of it checked.

manifest.json         what it is, what it was trained on, what it scored, the sha256 of every other file
model.onnx            the graph: uint8 crops in, unit embeddings out; its tensors are in weights.safetensors
weights.safetensors   the whole model with its self-supervised heads, stored once
probe.safetensors     what the network made of a few generated crops at its export; older bundles have none
int8.safetensors      between which values activations are rounded to eight bits, where `resight bundle
                      quantize` measured that the ranking stays; and what it makes of the same crops then
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import onnx
from onnx import external_data_helper
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save, save_file

from reid.batchnorm import batchnorm_layers_of, profile_from_weights
from reid.files import usual_mode
from reid.graph_input import cast_first
from reid.profile import Profile

SCHEMA = 1
MANIFEST, GRAPH, WEIGHTS = "manifest.json", "model.onnx", "weights.safetensors"
PROBE, _EMBEDDINGS = "probe.safetensors", "embeddings"
INT8, _RANGE = "int8.safetensors", "range of "  # before the name of a tensor
_HALF = ".half"  # behind the name of a weight that is stored in half precision
PREPROCESSING = "exif-upright, RGB, antialiased bilinear, v1"


class BundleError(ValueError):
    """A bundle that is incomplete, damaged or made by a newer version; the message says what to do."""


class EngineParity(BaseModel):
    """What the parity gate of the export measured for one engine."""

    precision: Literal["fp32", "bf16", "fp16"]
    min_cosine: float


class Quantized(BaseModel):
    """What `resight bundle quantize` measured before it let convolutions be computed in integers."""

    calibrated_on: str = Field(description="the dataset whose training crops gave the ranges")
    crops: int
    evaluated_on: str
    queries: int
    map_fp32: float = Field(description="mAP in percent, as float32 ranks")
    map_int8: float


class Int8(NamedTuple):
    """The file `int8.safetensors`."""

    ranges: dict[str, tuple[float, float]]  # a tensor's name -> its lowest and highest value
    embeddings: np.ndarray  # float32 [N,D] of `probe_crops(H, W, N)`, rounded but computed in float32


class Manifest(BaseModel):
    """`manifest.json`. Facts about the model stand here and nowhere else."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA
    name: str
    architecture: str
    model: dict[str, Any] = Field(description="reid.models.spec.ModelSpec; empty for a wrapped foreign model")
    height: int
    width: int
    dim: int
    preprocessing: str = PREPROCESSING
    metric: Literal["cosine"] = "cosine"
    ssl_heads: bool
    training_domains: list[str]
    recipe: dict[str, Any]
    metrics: list[dict[str, Any]] = Field(
        default_factory=list, description="numbers with the command that measured them"
    )
    weights_licence: str
    engines: dict[str, EngineParity] = Field(
        default_factory=dict, description="precision that passed the parity gate"
    )
    int8: Quantized | None = None
    files: dict[str, str] = Field(default_factory=dict, description="sha256 of every other file")


class Bundle:
    """A verified bundle on disk. Make one with `Bundle.load`."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path, self.manifest = path, manifest

    @classmethod
    def load(cls, path: Path | str) -> Bundle:
        """Reads and verifies a bundle. Raises BundleError naming the file, number or key that is wrong."""
        path = Path(path)
        if not (path / MANIFEST).is_file():
            raise BundleError(f"no bundle at {path}: {_what_is_there(path)}")
        try:
            values = json.loads((path / MANIFEST).read_text())
        except ValueError as error:
            raise BundleError(f"bundle {path}: {MANIFEST} is not JSON: {error}") from error
        if isinstance(values, dict) and values.get("schema_version", 0) != SCHEMA:
            raise BundleError(
                f"bundle {path} has schema {values.get('schema_version')}, this Resight reads {SCHEMA}; "
                f"update Resight or export again"
            )
        try:
            manifest = Manifest.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            if first["type"] == "extra_forbidden":
                key = ".".join(map(str, first["loc"]))
                raise BundleError(
                    f"bundle {path}: {MANIFEST} has a key {key} which this Resight does not know; update it"
                ) from error
            raise BundleError(
                f"bundle {path}: {MANIFEST}, key {'.'.join(map(str, first['loc']))}: {first['msg']}"
            ) from error
        for name in (GRAPH, WEIGHTS):
            if name not in manifest.files:
                raise BundleError(f"bundle {path}: {MANIFEST} lists no checksum for {name}")
        if (manifest.int8 is None) != (INT8 not in manifest.files):
            raise BundleError(
                f"bundle {path}: {MANIFEST} and its list of files disagree about {INT8}; quantize it again"
            )
        for name, expected in manifest.files.items():
            _verify(path, name, expected)
        bundle = cls(path, manifest)
        bundle._check_shapes()
        return bundle

    @property
    def base_id(self) -> str:
        """Names the network's weights and graph: 16 hex digits."""
        files = self.manifest.files
        return hashlib.sha256(f"{files[GRAPH]}{files[WEIGHTS]}".encode()).hexdigest()[:16]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a crop, in pixels."""
        return self.manifest.height, self.manifest.width

    def weights(self) -> dict[str, np.ndarray]:
        """Every tensor by torch's state-dict name; floating ones as float32 whatever they are stored in."""
        arrays = self._tensors_of(WEIGHTS)
        return {k: v.astype(np.float32) if v.dtype.kind == "f" else v for k, v in arrays.items()}

    def probe(self) -> np.ndarray | None:
        """float32 [N,D]: how the network itself embedded `probe_crops(H, W, N)` of `reid.engines.agreement`
        at its export; None where the bundle does not say. Raises BundleError."""
        if PROBE not in self.manifest.files:
            return None
        return self._embeddings_of(PROBE, self._tensors_of(PROBE))

    def int8(self) -> Int8 | None:
        """How activations are rounded; None where the bundle does not say. Raises BundleError."""
        if INT8 not in self.manifest.files:
            return None
        tensors = self._tensors_of(INT8)
        ranges = {}
        for name, values in tensors.items():
            if name.startswith(_RANGE):
                if values.shape != (2,) or not np.isfinite(values).all():
                    raise BundleError(f"bundle {self.path}: {INT8}: {name!r} is not two finite numbers")
                ranges[name.removeprefix(_RANGE)] = (float(values[0]), float(values[1]))
        return Int8(ranges, self._embeddings_of(INT8, tensors))

    def precision_id(self, precision: str) -> str:
        """Names how embeddings are computed: a precision, and for int8 with which ranges too."""
        return f"int8-{self.manifest.files[INT8][:8]}" if precision == "int8" else precision

    def _tensors_of(self, name: str) -> dict[str, np.ndarray]:
        """A file's tensors. Raises BundleError."""
        try:
            return load(self._bytes_of(name))
        except SafetensorError as error:
            raise BundleError(f"bundle {self.path}: {name} is damaged: {error}") from error

    def _bytes_of(self, name: str) -> bytes:
        """A file. It is read whenever an engine is compiled, so what was verified when the bundle was loaded
        is verified again, on the very bytes that are used: another process may have exported or quantized
        the bundle meanwhile. Raises BundleError."""
        try:
            data = (self.path / name).read_bytes()
        except OSError as error:
            raise BundleError(f"bundle {self.path}: {name} cannot be read: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != self.manifest.files[name]:
            raise BundleError(
                f"bundle {self.path}: {name} was changed since the bundle was loaded; start again with it"
            )
        return data

    def _embeddings_of(self, name: str, tensors: dict[str, np.ndarray]) -> np.ndarray:
        embeddings = tensors.get(_EMBEDDINGS, np.empty(0))
        if embeddings.ndim != 2 or embeddings.shape[1] != self.manifest.dim or not len(embeddings):
            raise BundleError(
                f"bundle {self.path}: {name} holds {list(embeddings.shape)} values, and the manifest says "
                f"[N, {self.manifest.dim}]; export it again"
            )
        if not np.isfinite(embeddings).all():
            raise BundleError(f"bundle {self.path}: {name} holds embeddings that are not finite")
        return embeddings

    def profile(self) -> Profile:
        """The bundle's own BN values: the profile of a site that has not been adapted."""
        return profile_from_weights(self.base_id, self.weights())

    def onnx_model(self) -> onnx.ModelProto:
        """The graph with every tensor inside it, for a profile to be written into and a runtime to read.
        Raises BundleError."""
        model, weights = onnx.load_from_string(self._bytes_of(GRAPH)), self._bytes_of(WEIGHTS)
        for tensor in model.graph.initializer:
            if external_data_helper.uses_external_data(tensor):
                self._fill_in(tensor, weights)
        _widen(model)
        cast_first(model)
        return model

    def _fill_in(self, tensor: onnx.TensorProto, weights: bytes) -> None:
        """Puts the values of a tensor into it that stand in the bundle's weights."""
        where = external_data_helper.ExternalDataInfo(tensor)
        start, length = where.offset or 0, where.length or 0
        if where.location != WEIGHTS or start + length > len(weights):
            raise BundleError(
                f"bundle {self.path}: the graph looks for {tensor.name} where it is not: {length} bytes at "
                f"{start} of {where.location}; export it again"
            )
        tensor.raw_data = weights[start : start + length]
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]

    def _check_shapes(self) -> None:
        graph = onnx.load_from_string(self._bytes_of(GRAPH)).graph
        shape_in = [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim][1:]
        shape_out = [d.dim_value for d in graph.output[0].type.tensor_type.shape.dim][1:]
        manifest = self.manifest
        if shape_in != [manifest.height, manifest.width, 3] or shape_out != [manifest.dim]:
            raise BundleError(
                f"bundle {self.path}: the graph maps {shape_in} to {shape_out}, the manifest says "
                f"[{manifest.height}, {manifest.width}, 3] to [{manifest.dim}]; export it again"
            )


def _what_is_there(path: Path) -> str:
    """Why there is no bundle at a path, and what to do."""
    make = "make one with: resight export RUN --out NAME.resight"
    if not path.exists():
        return f"there is nothing at that path; look at its spelling, or {make}"
    if not path.is_dir():
        return f"that is a file, and a bundle is a folder; name the folder, or {make}"
    within = sorted(inner.parent.name for inner in path.glob(f"*/{MANIFEST}"))
    if within:
        return f"that folder is no bundle itself but holds {', '.join(within[:5])}; name one of these"
    return f"that folder is no bundle, since it has no {MANIFEST}; name another, or {make}"


def write_bundle(
    path: Path, manifest: Manifest, graph: onnx.ModelProto, weights: dict[str, np.ndarray]
) -> Bundle:
    """Writes a bundle as a new folder and verifies it.

    Initializers of the graph that carry a name in `weights` are stored in weights.safetensors only;
    model.onnx points at them. A Cast follows every half-precision weight, so that every engine computes in
    the precision of the manifest.

    Raises FileExistsError where there is something at `path`: nothing is replaced here.
    """
    path.mkdir(parents=True)
    offsets = _write_safetensors(path / WEIGHTS, weights)
    _point_at(graph, weights, offsets)
    (path / GRAPH).write_bytes(graph.SerializeToString())
    files = {name: _sha256(path / name) for name in (GRAPH, WEIGHTS)}
    manifest = manifest.model_copy(update={"files": files})
    (path / MANIFEST).write_text(_text(manifest))
    return Bundle.load(path)


def write_probe(bundle: Bundle, embeddings: np.ndarray) -> Bundle:
    """Adds what the network makes of `probe_crops(H, W, N)`, float32 [N,D], to a bundle."""
    with usual_mode(bundle.path / PROBE):
        save_file({_EMBEDDINGS: np.ascontiguousarray(embeddings, np.float32)}, bundle.path / PROBE)
    files = bundle.manifest.files | {PROBE: _sha256(bundle.path / PROBE)}
    return write_manifest(bundle, bundle.manifest.model_copy(update={"files": files}))


def write_int8(bundle: Bundle, int8: Int8, measured: Quantized) -> Bundle:
    """Adds how activations are rounded to a bundle, or replaces it. Where the new file cannot be written the
    bundle stays as it is; ended behind that, it has none.

    Raises OSError, and BundleError where another process has changed the network meanwhile.
    """
    tensors = {_RANGE + name: np.array(limits, np.float32) for name, limits in int8.ranges.items()}
    tensors[_EMBEDDINGS] = np.ascontiguousarray(int8.embeddings, np.float32)
    data = save(tensors)
    partial = bundle.path / (INT8 + ".partial")
    try:
        with usual_mode(partial):
            partial.write_bytes(data)
        now = Bundle.load(bundle.path)
        if now.base_id != bundle.base_id:
            raise BundleError(f"bundle {bundle.path} was exported again meanwhile; quantize it again")
        files = {name: digest for name, digest in now.manifest.files.items() if name != INT8}
        now = write_manifest(now, now.manifest.model_copy(update={"files": files, "int8": None}))
        os.replace(partial, bundle.path / INT8)
    finally:
        if partial.is_file():
            partial.unlink()
    files |= {INT8: hashlib.sha256(data).hexdigest()}
    return write_manifest(now, now.manifest.model_copy(update={"files": files, "int8": measured}))


def write_manifest(bundle: Bundle, manifest: Manifest) -> Bundle:
    """Replaces the manifest of a bundle, atomically; the files it lists stay."""
    partial = bundle.path / (MANIFEST + ".partial")
    partial.write_text(_text(manifest))
    os.replace(partial, bundle.path / MANIFEST)
    return Bundle.load(bundle.path)


def _text(manifest: Manifest) -> str:
    """The manifest as it is stored. Of a bundle without int8 the key is left out, so that an older Resight
    can read it."""
    return manifest.model_dump_json(indent=2, exclude={"int8"} if manifest.int8 is None else None) + "\n"


def _write_safetensors(path: Path, weights: dict[str, np.ndarray]) -> dict[str, int]:
    """Writes the file and returns the byte offset of every tensor in it."""
    with usual_mode(path):
        save_file({k: np.ascontiguousarray(v) for k, v in weights.items()}, path)
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    return {
        name: 8 + size + entry["data_offsets"][0] for name, entry in header.items() if name != "__metadata__"
    }


def _point_at(graph: onnx.ModelProto, weights: dict[str, np.ndarray], offsets: dict[str, int]) -> None:
    """Lets the graph's initializers refer to the weights file instead of holding their values."""
    casts = []
    for tensor in graph.graph.initializer:
        if tensor.name not in weights:
            continue
        original = name = tensor.name
        array = weights[original]
        if array.dtype == np.float16:
            name = original + _HALF
            casts.append(onnx.helper.make_node("Cast", [name], [original], to=onnx.TensorProto.FLOAT))
        replaced = onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        external_data_helper.set_external_data(
            replaced, WEIGHTS, offset=offsets[original], length=array.nbytes
        )
        replaced.ClearField("raw_data")
        replaced.data_location = onnx.TensorProto.EXTERNAL
        tensor.CopyFrom(replaced)
    nodes = casts + list(graph.graph.node)
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def _widen(model: onnx.ModelProto) -> None:
    """Replaces half-precision weights and their Casts by float32 ones, into which runtimes fold BatchNorm."""
    halves = {t.name: t for t in model.graph.initializer if t.name.endswith(_HALF)}
    for node in [n for n in model.graph.node if n.op_type == "Cast" and n.input[0] in halves]:
        array = onnx.numpy_helper.to_array(halves[node.input[0]]).astype(np.float32)
        halves[node.input[0]].CopyFrom(onnx.numpy_helper.from_array(array, node.output[0]))
        model.graph.node.remove(node)


def _verify(path: Path, name: str, expected: str) -> None:
    if Path(name).name != name:
        raise BundleError(f"bundle {path}: file name {name!r} leaves the bundle")
    if not (path / name).is_file():
        raise BundleError(f"bundle {path}: file {name} is missing")
    actual = _sha256(path / name)
    if actual != expected:
        raise BundleError(
            f"bundle {path}: {name} is damaged (sha256 {actual[:12]}..., the manifest says "
            f"{expected[:12]}...); copy or export it again"
        )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def assert_batchnorm_count(graph: onnx.ModelProto, expected: int) -> None:
    """Raises BundleError unless the graph has `expected` BN nodes: folded ones cannot be adapted."""
    count = len(batchnorm_layers_of(graph))
    if count != expected:
        raise BundleError(
            f"the exported graph has {count} BatchNorm nodes, the model {expected}: the exporter folded them"
        )


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Row-wise cosine [N] of two float arrays [N,D]."""
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return (a * b).sum(1) / np.maximum(norms, math.ulp(1.0))
