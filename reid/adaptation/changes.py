"""How much an adaptation moved each BatchNorm layer (BNTA, figure 3). No torch."""

from __future__ import annotations

import numpy as np

from reid.profile import Profile

PARAMETERS = ("gamma", "beta", "mean", "variance")  # the rows of a table
MOST_LAYERS = 10  # of each parameter, as the paper shows
_LEAST = 1e-12  # of a sum that is divided by


def change_rates(source: Profile, adapted: Profile) -> dict[str, dict[str, float]]:
    """By parameter, the layers whose values moved most, most first, and how far: the sum of what the channels
    moved, over the sum of their values before, both without sign. Layers that stayed are left out.

    Of a profile with tables of cameras it is the site's table, their mean. The paper gives no formula; a mean
    of each channel's own rate would be infinite where one value is zero.
    """
    rates: dict[str, dict[str, float]] = {name: {} for name in PARAMETERS}
    for layer, values in source.site.items():
        moved = np.abs(adapted.site[layer].astype(np.float64) - values).sum(1)
        before = np.abs(values).sum(1, dtype=np.float64)
        for name, change, size in zip(PARAMETERS, moved, before, strict=True):
            if change > 0:
                rates[name][layer] = float(change / max(float(size), _LEAST))
    ranked = {}
    for name, of_layer in rates.items():
        most = sorted(of_layer.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_LAYERS]
        ranked[name] = dict(most)
    return ranked
