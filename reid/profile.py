"""Profiles: what adapts a model to one site, apart from the model.

Tables decide what is computed: the values of every BatchNorm layer, one table for the site and perhaps one
for each camera. Centres decide how embeddings are compared: the mean embedding of the site and of each
camera, which is subtracted first. A camera without a table or centre of its own uses the site's. Nothing here
imports torch.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import safetensors
from safetensors.numpy import load as safetensors_load
from safetensors.numpy import save as safetensors_save

SCHEMA = 1
Of = TypeVar("Of")
Table = Mapping[str, np.ndarray]  # layer -> float32 [4,C]: gamma, beta, mean, variance
KEYS = ("weight", "bias", "running_mean", "running_var")  # the rows of a table under torch's names
_LEAST_NORM = 1e-6  # of a centred embedding; a shorter one has no direction
_COMPARED_AT_ONCE = 512  # embeddings, so that what is computed with them stays in the processor's cache


class ProfileError(ValueError):
    """A profile that is damaged or was made for another model."""


@dataclasses.dataclass(frozen=True)
class Centres:
    """Mean embeddings, subtracted before embeddings are compared.

    Args:
        site: float32 [D]. cameras: float32 [D] of single cameras.
    """

    site: np.ndarray
    cameras: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def by_name(self) -> dict[str, np.ndarray]:
        """The centres of single cameras by composed names."""
        return by_composed_name(self.cameras)

    def of(self, camera: str | None) -> np.ndarray:
        """The centre for a camera; the site's where the camera is unknown or has none of its own."""
        return self.by_name.get(composed(camera), self.site) if camera is not None else self.site

    def compare(
        self, vectors: np.ndarray, cameras: Sequence[str | None], dtype: type[np.floating] = np.float32
    ) -> np.ndarray:
        """float [N,D] as embedded, the camera of each -> [N,D] of `dtype`, unit length, to be compared.

        An embedding that equals its centre has no direction left and stays as it was embedded.
        """
        if len(cameras) != len(vectors):
            raise ValueError(f"{len(vectors)} embeddings with {len(cameras)} cameras")
        if not len(vectors):
            return vectors.astype(dtype)
        named = {camera for camera in cameras if camera is not None}
        kinds = sorted(camera for camera in named if composed(camera) in self.by_name)
        table = np.stack([self.site, *(self.of(camera) for camera in kinds)])
        numbers: dict[str | None, int] = {camera: number for number, camera in enumerate(kinds, 1)}
        rows = np.array([numbers.get(camera, 0) for camera in cameras])
        compared = np.empty(vectors.shape, dtype)
        for start in range(0, len(vectors), _COMPARED_AT_ONCE):
            some = slice(start, start + _COMPARED_AT_ONCE)
            compared[some] = _directions(vectors[some], table[rows[some]])
        return compared


def _directions(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """float [N,D] and the centre of each, float32 [N,D] -> float32 [N,D]: the direction in which each vector
    lies as seen from its centre; its own where it equals the centre."""
    moved = np.subtract(vectors, centres, dtype=np.float32)
    norms = np.sqrt(np.einsum("nd,nd->n", moved, moved))
    lost = norms < _LEAST_NORM
    moved[lost] = vectors[lost]
    norms[lost] = np.maximum(np.linalg.norm(moved[lost], axis=1), _LEAST_NORM)
    moved /= norms[:, None]
    return moved


@dataclasses.dataclass(frozen=True)
class Profile:
    """What adapts a model to a site. Two profiles with the same values have the same `id`, whoever made them.

    Args:
        base: `Bundle.base_id` of the model these values belong to.
        site: the BN table of the site. cameras: tables of single cameras. eps: of every layer.
        centres: how embeddings are compared; None compares them as they are embedded.
    """

    base: str
    site: Table
    cameras: Mapping[str, Table] = dataclasses.field(default_factory=dict)
    eps: float = 1e-5
    centres: Centres | None = None

    @functools.cached_property
    def id(self) -> str:
        """Content address: that of the tables, and with centres a dot and 16 hex digits over these."""
        if self.centres is None:
            return self.tables_id
        return f"{self.tables_id}.{_digest('', self._flat_centres())}"

    @functools.cached_property
    def tables_id(self) -> str:
        """16 hex digits over base, eps and every table: profiles with equal ones embed alike."""
        return _digest(f"{self.base}|{self.eps!r}", self._flat_tables())

    @functools.cached_property
    def by_name(self) -> dict[str, Table]:
        """The tables of single cameras by composed names."""
        return by_composed_name(self.cameras)

    def table(self, camera: str | None = None) -> Table:
        """The table for a camera; the site's where the camera is unknown or has none of its own."""
        return self.by_name.get(composed(camera), self.site) if camera is not None else self.site

    def affine(self, camera: str | None = None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Per layer (scale, shift), float32 [C] each: what a folded or shared engine computes."""
        return {name: scale_and_shift(values, self.eps) for name, values in self.table(camera).items()}

    def compare(self, vectors: np.ndarray, cameras: Sequence[str | None]) -> np.ndarray:
        """float [N,D] as embedded -> float32 [N,D], unit length, to be compared; see Centres."""
        if self.centres is None:
            return vectors.astype(np.float32, copy=False)
        return self.centres.compare(vectors, cameras)

    def with_centres(self, centres: Centres | None) -> Profile:
        """The same tables with other centres."""
        return dataclasses.replace(self, centres=centres)

    def shrink(self, source: Profile, weight: float) -> Profile:
        """Statistics and affine values moved toward `source`: 1 keeps this profile, 0 gives the source."""
        return dataclasses.replace(
            self,
            site=mix_tables(self.site, source.site, weight),
            cameras={c: mix_tables(t, source.site, weight) for c, t in self.cameras.items()},
        )

    def require_layers(self, layers: Iterable[str]) -> None:
        """Raises ProfileError unless every table of the profile has exactly these layers."""
        expected = set(layers)
        for table in (self.site, *self.cameras.values()):
            missing, extra = expected - set(table), set(table) - expected
            if missing or extra:
                raise ProfileError(
                    f"profile {self.id} was made for another model: it lacks layers "
                    f"{sorted(missing)[:3] or 'none'}, and has unknown layers {sorted(extra)[:3] or 'none'}"
                )

    def require_finite(self) -> None:
        """Raises ProfileError where a value of a table or centre is not finite or a variance is negative."""
        for name, values in (self._flat_tables() | self._flat_centres()).items():
            if not np.isfinite(values).all():
                raise ProfileError(f"profile {self.id}: {name} holds values that are not finite")
            if values.ndim == 2 and (values[3] < 0).any():
                raise ProfileError(f"profile {self.id}: {name} holds a negative variance")

    def to_bytes(self) -> bytes:
        """The profile as a safetensors file."""
        header = {
            "schema": SCHEMA,
            "base": self.base,
            "eps": self.eps,
            "cameras": sorted(self.cameras),
            "id": self.id,
        }
        if self.centres is not None:
            header["centred_cameras"] = sorted(self.centres.cameras)
        arrays = self._flat_tables() | self._flat_centres()
        return safetensors_save(arrays, metadata={"resight_profile": json.dumps(header)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Profile:
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
        labels = {_label(camera): camera for camera in header["cameras"]}
        cameras: dict[str, dict[str, np.ndarray]] = {camera: {} for camera in header["cameras"]}
        centre_of: dict[str, np.ndarray] = {}
        for key, array in arrays.items():
            if key.startswith("camera/"):
                _, camera, layer = key.split("/", 2)
                cameras[labels[camera]][layer] = array
            elif key.startswith("centre/camera/"):
                centre_of[json.loads(key.removeprefix("centre/camera/"))] = array
        centres = Centres(arrays["centre/site"], centre_of) if "centre/site" in arrays else None
        profile = cls(header["base"], site, cameras, header["eps"], centres)
        if profile.id != header["id"]:
            raise ProfileError(f"profile {header['id']} is damaged: its values hash to {profile.id}")
        return profile

    def _flat_tables(self) -> dict[str, np.ndarray]:
        flat = {f"site/{name}": values for name, values in self.site.items()}
        for camera, table in self.cameras.items():
            label = _label(camera)
            flat |= {f"camera/{label}/{name}": values for name, values in table.items()}
        return {name: np.ascontiguousarray(values, np.float32) for name, values in flat.items()}

    def _flat_centres(self) -> dict[str, np.ndarray]:
        if self.centres is None:
            return {}
        flat = {"centre/site": self.centres.site}
        for camera, centre in self.centres.cameras.items():
            flat[f"centre/camera/{_label(camera)}"] = centre
        return {name: np.ascontiguousarray(values, np.float32) for name, values in flat.items()}


def composed(camera: str) -> str:
    """A camera's name with every letter and its accent as one character (NFC): one name is one camera,
    whichever system typed it."""
    return unicodedata.normalize("NFC", camera)


def by_composed_name(cameras: Mapping[str, Of]) -> dict[str, Of]:
    """What cameras have by their composed names; of two spellings of one name the composed one counts.

    A profile of an older version is spelled as its crops were, and its id is made of that."""
    named = {composed(camera): value for camera, value in sorted(cameras.items())}
    return named | {camera: value for camera, value in cameras.items() if composed(camera) == camera}


def tables_id_of(profile_id: str) -> str:
    """The `tables_id` of the profile with this id."""
    return profile_id.partition(".")[0]


def has_centres(profile_id: str) -> bool:
    """Whether the profile with this id has centres."""
    return tables_id_of(profile_id) != profile_id


def scale_and_shift(values: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """float32 [4,C], gamma, beta, mean and variance -> float32 [C] each: BatchNorm as a multiply-add."""
    gamma, beta, mean, variance = values
    scale = gamma / np.sqrt(variance + eps)
    return scale, beta - mean * scale


def mix_tables(table: Table, source: Table, weight: float) -> dict[str, np.ndarray]:
    """A table moved toward `source`: weight 1 keeps it, 0 gives the source.

    A variance becomes that of the mixture of both populations, so the distance of their means adds to it.
    Raises ProfileError where the layers differ.
    """
    if set(table) != set(source):
        raise ProfileError(f"the tables differ in layers {sorted(set(table) ^ set(source))[:3]}")
    mixed = {}
    for name, values in table.items():
        other = source[name]
        new = weight * values + (1 - weight) * other
        new[3] += weight * (1 - weight) * (values[2] - other[2]) ** 2
        mixed[name] = new.astype(np.float32)
    return mixed


def _label(camera: str) -> str:
    return json.dumps(camera).replace("/", "\\u002f")  # a camera may be called anything


def _digest(facts: str, arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(facts.encode())
    for name, array in sorted(arrays.items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(array, np.float32).data)  # its memory, without a copy
    return digest.hexdigest()[:16]


def space_id(base: str, profile: str, preprocessing: str, precision: str) -> str:
    """`space-` and 16 hex digits that name an embedding space: only vectors of one space may be compared."""
    facts = {"base": base, "profile": profile, "preprocessing": preprocessing, "precision": precision}
    return "space-" + hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
