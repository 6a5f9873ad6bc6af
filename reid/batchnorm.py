"""BatchNorm profiles: the values of every BN layer of a model, apart from the model, for one site.

A profile has one table for the site and may have one for each camera; a camera without its own uses the
site's. Tables can be read from and written into a torch model or an ONNX graph. Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import safetensors
from onnx import ModelProto, numpy_helper
from safetensors.numpy import load as safetensors_load
from safetensors.numpy import save as safetensors_save

if TYPE_CHECKING:
    from torch import nn

SCHEMA = 1
Table = Mapping[str, np.ndarray]  # layer -> float32 [4,C]: gamma, beta, mean, variance
_KEYS = ("weight", "bias", "running_mean", "running_var")  # the rows of a table under torch's names


class ProfileError(ValueError):
    """A profile that is damaged or was made for another model."""


@dataclasses.dataclass(frozen=True)
class BatchNormProfile:
    """The BN values of a site. Two profiles with the same values have the same `id`, whoever made them.

    Args:
        base: `Bundle.base_id` of the model these values belong to.
        site: the table of the site. cameras: tables of single cameras. eps: of every layer.
    """

    base: str
    site: Table
    cameras: Mapping[str, Table] = dataclasses.field(default_factory=dict)
    eps: float = 1e-5

    @property
    def id(self) -> str:
        """Content address: 16 hex digits over base, eps and every value."""
        digest = hashlib.sha256(f"{self.base}|{self.eps!r}".encode())
        for name, array in sorted(self._flat().items()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(array, np.float32).tobytes())
        return digest.hexdigest()[:16]

    def table(self, camera: str | None = None) -> Table:
        """The table for a camera; the site's where the camera is unknown or has none of its own."""
        return self.cameras.get(camera, self.site) if camera is not None else self.site

    def affine(self, camera: str | None = None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Per layer (scale, shift), float32 [C] each: what a folded or shared engine computes."""
        result = {}
        for name, (gamma, beta, mean, var) in self.table(camera).items():
            scale = gamma / np.sqrt(var + self.eps)
            result[name] = (scale, beta - mean * scale)
        return result

    def shrink(self, source: BatchNormProfile, weight: float) -> BatchNormProfile:
        """Statistics and affine values moved toward `source`: 1 keeps this profile, 0 gives the source.

        A variance becomes that of the mixture of both populations, so the distance of their means adds to it.
        Raises ProfileError where the layers differ.
        """
        self.require_layers(source.site)

        def mix(table: Table) -> dict[str, np.ndarray]:
            mixed = {}
            for name, values in table.items():
                other = source.site[name]
                new = weight * values + (1 - weight) * other
                new[3] += weight * (1 - weight) * (values[2] - other[2]) ** 2
                mixed[name] = new.astype(np.float32)
            return mixed

        return dataclasses.replace(
            self, site=mix(self.site), cameras={c: mix(t) for c, t in self.cameras.items()}
        )

    def require_layers(self, layers: Iterable[str]) -> None:
        """Raises ProfileError unless the profile has exactly these layers."""
        expected = set(layers)
        missing, extra = expected - set(self.site), set(self.site) - expected
        if missing or extra:
            raise ProfileError(
                f"profile {self.id} was made for another model: it lacks layers "
                f"{sorted(missing)[:3] or 'none'}, and has unknown layers {sorted(extra)[:3] or 'none'}"
            )

    def to_bytes(self) -> bytes:
        """The profile as a safetensors file."""
        header = {
            "schema": SCHEMA,
            "base": self.base,
            "eps": self.eps,
            "cameras": sorted(self.cameras),
            "id": self.id,
        }
        return safetensors_save(self._flat(), metadata={"resight_profile": json.dumps(header)})

    @classmethod
    def from_bytes(cls, data: bytes) -> BatchNormProfile:
        """Reads `to_bytes`. Raises ProfileError for anything else, also for a single changed value."""
        try:
            arrays = safetensors_load(data)
            size = int.from_bytes(data[:8], "little")
            header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["resight_profile"])
        except (safetensors.SafetensorError, KeyError, ValueError) as error:
            raise ProfileError(f"not a BatchNorm profile: {error}") from error
        if header.get("schema") != SCHEMA:
            raise ProfileError(
                f"profile schema {header.get('schema')} is not {SCHEMA}; a newer Resight made it"
            )
        site = {k.removeprefix("site/"): v for k, v in arrays.items() if k.startswith("site/")}
        cameras: dict[str, dict[str, np.ndarray]] = {c: {} for c in header["cameras"]}
        for key, array in arrays.items():
            if key.startswith("camera/"):
                _, camera, layer = key.split("/", 2)
                cameras[json.loads(camera)][layer] = array
        profile = cls(header["base"], site, cameras, header["eps"])
        if profile.id != header["id"]:
            raise ProfileError(f"profile {header['id']} is damaged: its values hash to {profile.id}")
        return profile

    def _flat(self) -> dict[str, np.ndarray]:
        flat = {f"site/{name}": values for name, values in self.site.items()}
        for camera, table in self.cameras.items():
            label = json.dumps(camera).replace("/", "\\u002f")  # a camera may be called anything
            flat |= {f"camera/{label}/{name}": values for name, values in table.items()}
        return {name: np.ascontiguousarray(values, np.float32) for name, values in flat.items()}


def profile_from_weights(base: str, weights: Mapping[str, np.ndarray]) -> BatchNormProfile:
    """The profile inside a state dict: every layer that has a `running_mean`."""
    layers = [name.removesuffix(".running_mean") for name in weights if name.endswith(".running_mean")]
    site = {n: np.stack([np.asarray(weights[f"{n}.{k}"], np.float32) for k in _KEYS]) for n in layers}
    return BatchNormProfile(base, site)


def profile_from_model(base: str, model: nn.Module) -> BatchNormProfile:
    """The profile inside a torch model."""
    weights = {name: tensor.detach().float().cpu().numpy() for name, tensor in model.state_dict().items()}
    return profile_from_weights(base, weights)


def write_into_model(profile: BatchNormProfile, model: nn.Module, camera: str | None = None) -> None:
    """Writes a table of the profile into a torch model with the same layers; nothing else changes."""
    import torch

    state = model.state_dict()
    layers = [name.removesuffix(".running_mean") for name in state if name.endswith(".running_mean")]
    profile.require_layers(layers)
    with torch.no_grad():
        for name, values in profile.table(camera).items():
            for key, row in zip(_KEYS, values, strict=True):
                state[f"{name}.{key}"].copy_(torch.from_numpy(np.array(row)))


def batchnorm_layers_of(graph: ModelProto) -> dict[str, list[str]]:
    """BN nodes of an ONNX graph: layer name -> its four initializers (gamma, beta, mean, variance).

    Raises ProfileError for a BN node whose tensors do not carry the names of one module.
    """
    layers = {}
    for node in graph.graph.node:
        if node.op_type == "BatchNormalization":
            names = list(node.input[1:5])
            layer = names[0].removesuffix(".weight")
            if names != [f"{layer}.{key}" for key in _KEYS]:
                raise ProfileError(
                    f"BatchNormalization {node.name!r} reads {names}, not the tensors of one module"
                )
            layers[layer] = names
    return layers


def write_into_onnx(profile: BatchNormProfile, model: ModelProto, camera: str | None = None) -> None:
    """Writes a table of the profile into the BN initializers of an ONNX model, in place.

    The runtime folds the new values when it builds its session. `SessionOptions.add_initializer` is no
    substitute: it silently computes with the old values. Raises ProfileError if the graph has BN layers that
    the profile lacks, or none at all.
    """
    table = profile.table(camera)
    layers = batchnorm_layers_of(model)
    missing = set(layers) - set(table)
    if not layers:
        raise ProfileError("the graph has no BatchNorm left: its exporter folded it; export it again")
    if missing:
        raise ProfileError(f"profile {profile.id} was made for another model: it lacks {sorted(missing)[:3]}")
    initializers = {i.name: i for i in model.graph.initializer}
    for layer, names in layers.items():
        for name, row in zip(names, table[layer], strict=True):
            if tuple(initializers[name].dims) != row.shape:
                raise ProfileError(
                    f"profile {profile.id}: {name} has {row.shape[0]} channels, the graph "
                    f"{list(initializers[name].dims)}"
                )
            initializers[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(row), name))


def space_id(base: str, profile: str, preprocessing: str, precision: str) -> str:
    """`space-` and 16 hex digits that name an embedding space: only vectors of one space may be compared."""
    facts = {"base": base, "profile": profile, "preprocessing": preprocessing, "precision": precision}
    return "space-" + hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
