"""Two steps of a recipe on drawn people: shows in seconds that it runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from training.data import sources_of
from training.data.records import join
from training.loop import Run
from training.methods import method_of
from training.methods.method import Method
from training.recipe import Recipe
from training.synthetic.drawn import draw_sites
from training.teachers import teacher_paths

_SITES = 3  # at most, however many datasets the recipe joins


def smoke(recipe: Recipe, out: Path) -> Method:
    """Takes two steps of the recipe in the run folder `out` and returns the trained method.

    A trained network that the method needs is made the same way first, under `out`, unless the recipe names
    one that is there; a start that the method does not need, and a teacher's cache, are left out. Raises what
    `Run` raises.
    """
    needed = method_of(recipe).needs_networks
    if "start" not in needed:
        recipe = recipe.changed("start", "")
    recipe = recipe.changed("distill.cache", "")
    for key in needed:
        named = recipe.value(key)
        if not named or not all(path.exists() for path in teacher_paths(named)):
            folder = out / key
            smoke(dataclasses.replace(recipe, method="bot"), folder)
            recipe = recipe.changed(key, str(folder))
    small = dataclasses.replace(recipe, batch_identities=4, batch_crops=2)
    count = min(_SITES, len(sources_of(recipe.dataset)))
    sites = draw_sites(out / "crops", count, identities=8, cameras=2, images=2)
    run = Run(small, join(sites) if len(sites) > 1 else sites[0], out)
    run.fit(max_steps=2)
    return run.method
