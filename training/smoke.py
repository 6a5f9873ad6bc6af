"""Two steps of a recipe on drawn people: shows in seconds that it runs."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from reid.engines import Device
from training.data import sources_of
from training.data.records import join
from training.loop import Run
from training.methods import method_of
from training.methods.method import Method
from training.recipe import Recipe, Validation
from training.synthetic.drawn import draw_sites
from training.teachers import teacher_paths

WORK = ".resight-smoke"  # folder inside the run's, removed at the end
_SITES = 3  # at most, however many datasets the recipe joins
_PEOPLE = 8  # of a site


def smoke(recipe: Recipe, out: Path, device: Device = "auto") -> Method:
    """Takes two steps of the recipe in the run folder `out` and returns the trained method.

    A trained network that the method needs is made the same way first, unless the recipe names one that is
    there; a start that is not there and that the method does not need, a teacher's cache and validation are
    left out. Of the drawn people and such a network nothing stays. Raises what `Run` raises.
    """
    work = out / WORK
    try:
        return _smoke(recipe, out, work, device)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _smoke(recipe: Recipe, out: Path, work: Path, device: Device) -> Method:
    needed = method_of(recipe).needs_networks
    if "start" not in needed and not (recipe.start and Path(recipe.start).exists()):
        recipe = recipe.changed("start", "")
    recipe = recipe.changed("distill.cache", "")
    for key in needed:
        named = recipe.value(key)
        if not named or not all(path.exists() for path in teacher_paths(named)):
            folder = work / key
            _smoke(dataclasses.replace(recipe, method="bot", freeze=()), folder, folder, device)
            recipe = recipe.changed(key, str(folder))
    count = min(_SITES, len(sources_of(recipe.dataset)))
    small = dataclasses.replace(
        recipe,
        batch_identities=4,
        batch_crops=2,
        identities=min(recipe.identities, _PEOPLE * count),
        validation=Validation(),
    )
    sites = draw_sites(work / "crops", count, identities=_PEOPLE, cameras=2, images=2)
    run = Run(small, join(sites) if len(sites) > 1 else sites[0], out, device=device)
    run.fit(max_steps=2)
    return run.method
