"""BatchNorm tables read from and written into torch models and ONNX graphs, without importing torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from onnx import ModelProto, numpy_helper

from reid.profile import KEYS, Profile, ProfileError

if TYPE_CHECKING:
    from torch import nn


def profile_from_weights(base: str, weights: Mapping[str, np.ndarray]) -> Profile:
    """The profile inside a state dict: every layer that has a `running_mean`."""
    layers = [name.removesuffix(".running_mean") for name in weights if name.endswith(".running_mean")]
    site = {n: np.stack([np.asarray(weights[f"{n}.{k}"], np.float32) for k in KEYS]) for n in layers}
    return Profile(base, site)


def profile_from_model(base: str, model: nn.Module) -> Profile:
    """The profile inside a torch model."""
    weights = {name: tensor.detach().float().cpu().numpy() for name, tensor in model.state_dict().items()}
    return profile_from_weights(base, weights)


def write_into_model(profile: Profile, model: nn.Module, camera: str | None = None) -> None:
    """Writes a table of the profile into a torch model with the same layers; nothing else changes."""
    import torch

    state = model.state_dict()
    layers = [name.removesuffix(".running_mean") for name in state if name.endswith(".running_mean")]
    profile.require_layers(layers)
    with torch.no_grad():
        for name, values in profile.table(camera).items():
            for key, row in zip(KEYS, values, strict=True):
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
            if names != [f"{layer}.{key}" for key in KEYS]:
                raise ProfileError(
                    f"BatchNormalization {node.name!r} reads {names}, not the tensors of one module"
                )
            layers[layer] = names
    return layers


def write_into_onnx(profile: Profile, model: ModelProto, camera: str | None = None) -> None:
    """Writes a table of the profile into the BN initializers of an ONNX model, in place.

    The runtime folds the new values when it builds its session. `SessionOptions.add_initializer` is no
    substitute: it silently computes with the old values. Raises ProfileError if the graph has BN layers that
    the profile lacks, or none at all.
    """
    table = profile.table(camera)
    layers = batchnorm_layers_of(model)
    missing = set(layers) - set(table)
    if not layers and not table:
        return  # a foreign network whose BatchNorm was folded before it was wrapped
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
