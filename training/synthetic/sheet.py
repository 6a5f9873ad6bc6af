"""A contact sheet of a world: people in rows, cameras in columns, sites side by side."""

from __future__ import annotations

import functools

import numpy as np
from PIL import Image, ImageDraw

from training.synthetic.scene import Scene
from training.synthetic.world import Crop, World, check, person, plan, sample, worn

_HEAD = 28  # pixels of the titles: the site, and the cameras below


def draw_sheet(world: World, rows: int = 12) -> Image.Image:
    """`rows` people of each site, site beside site, one crop a camera and shot."""
    check(world)
    rows = min(rows, world.identities)
    scene = Scene(world.height, world.width)
    bands = []
    for number in range(world.sites):
        planned = plan(world, number)
        columns = [(c, shot) for c in range(world.cameras) for shot in range(world.images)]
        band = Image.new("RGB", (world.width * len(columns), _HEAD + world.height * rows), "white")
        pen = ImageDraw.Draw(band)
        for column, (camera, shot) in enumerate(columns):
            if not column:
                pen.text((2, 1), f"site {number}: {planned.site.kind}", fill="black")
            if not shot:
                pen.text((column * world.width + 2, 14), f"c{camera + 1}", fill="black")
            for row in range(rows):
                crop = Crop("", planned.people[row], camera, shot)
                moment = sample(world, planned, crop)
                who = functools.partial(person, world)
                pixels = scene.crop(worn(world, crop), planned.site, planned.cameras[camera], moment, who)
                band.paste(Image.fromarray(pixels), (column * world.width, _HEAD + row * world.height))
        bands.append(band)
    scene.close()
    return Image.fromarray(np.concatenate([np.asarray(band) for band in bands], axis=1))
