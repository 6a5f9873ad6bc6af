"""What BatchNorm layers put out at each camera before and after tier 1 (BNTA, figure 1). No torch.

A layer subtracts a mean and divides by a deviation. On the crops that the model was trained with, what comes
out has mean 0 and variance 1 in every channel; a camera that looks different moves it. All of it follows from
the camera's own statistics: the crops are not looked at again. These were taken while every layer normalised
by its batch, so a layer shows what it adds itself, not what the layers before it let through.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from reid.profile import Table

MOST_LAYERS = 5  # those whose means the cameras move most
MOST_CAMERAS = 12  # those with the most crops


@dataclasses.dataclass(frozen=True)
class Output:
    """What a layer puts out, before gamma and beta: over its channels, the root mean square of their means
    and the mean of their variances. The source's own are 0 and 1."""

    mean_before: float
    variance_before: float
    mean_after: float
    variance_after: float


class Outputs:
    """Collects what tier 1 learns of each camera.

    Args:
        layers: of the network, in its order. source: the table that statistics are mixed with. eps: of every
            layer.
    """

    def __init__(self, layers: list[str], source: Table, eps: float) -> None:
        self.layers, self.source, self.eps = layers, source, eps
        self.crops: dict[str, int] = {}
        self.of_camera: dict[str, list[Output]] = {}

    def add(self, camera: str | None, crops: int, fitted: Table, mixed: Table) -> None:
        """One camera's statistics; None where they are the whole site's.

        Args:
            crops: how many they were taken of. fitted: as taken. mixed: as they go live.
        """
        name = camera or ""
        self.crops[name] = crops
        self.of_camera[name] = [self._output(layer, fitted, mixed) for layer in self.layers]

    def by_layer(self) -> dict[str, dict[str, Output]]:
        """Of a few layers in the network's order, by camera in alphabetical order."""
        cameras = sorted(self.crops, key=lambda camera: (-self.crops[camera], camera))[:MOST_CAMERAS]
        moved = [
            sum(self.of_camera[camera][number].mean_before for camera in cameras)
            for number in range(len(self.layers))
        ]
        most = sorted(range(len(self.layers)), key=lambda number: -moved[number])[:MOST_LAYERS]
        by_layer: dict[str, dict[str, Output]] = {}
        for number in sorted(most):
            of_camera = {camera: self.of_camera[camera][number] for camera in sorted(cameras)}
            by_layer[self.layers[number]] = of_camera
        return by_layer

    def _output(self, layer: str, fitted: Table, mixed: Table) -> Output:
        before = _seen_through(fitted[layer], self.source[layer], self.eps)
        after = _seen_through(fitted[layer], mixed[layer], self.eps)
        return Output(*before, *after)


def _seen_through(crops: np.ndarray, table: np.ndarray, eps: float) -> tuple[float, float]:
    """Mean and variance, over channels, of values with the statistics `crops` that a layer normalises by the
    statistics of `table`; both float [4,C]."""
    deviation = np.sqrt(table[3].astype(np.float64) + eps)
    means = (crops[2] - table[2]) / deviation
    variances = crops[3] / deviation**2
    return float(np.sqrt((means**2).mean())), float(variances.mean())
