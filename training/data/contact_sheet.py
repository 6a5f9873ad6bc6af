"""A page of a dataset's people, each with crops of many cameras: wrong labels show at a glance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from reid.images import ImageError, resize
from training.data.pixels import read_crop
from training.data.records import Dataset, Record
from training.data.summary import camera_name, person_name

_CELL = (64, 128)  # width and height of a crop
_GAP, _LABEL, _NAMES = 6, 14, 120  # between cells, below each, and left of the first
_INK, _FAINT = (40, 40, 40), (225, 225, 225)


def draw_contact_sheet(dataset: Dataset, people: int = 12, crops: int = 10, seed: int = 0) -> Image.Image:
    """People in rows, chosen by the seed, their crops in columns by camera; an unreadable one is a grey box.

    Left of each row stand the person's name, parts and number of crops, under each crop its camera.
    """
    rows = _people(dataset)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:people])
    width, height = _CELL[0] + _GAP, _CELL[1] + _LABEL + _GAP
    size = (_NAMES + width * crops + _GAP, height * max(len(chosen), 1) + _GAP)
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for line, number in enumerate(chosen):
        row, top = rows[number], _GAP + line * height
        name = person_name(dataset, row[0][1].pid)
        parts = " + ".join(dict.fromkeys(part for part, _ in row))
        for place, text in enumerate((name, parts, f"{len(row)} crops")):
            pen.text((_GAP, top + place * _LABEL), _fitting(text, font), fill=_INK, font=font)
        for column, (part, record) in enumerate(_spread(row, crops)):
            left = _NAMES + column * width
            _paste(sheet, record, (left, top))
            label = camera_name(dataset, record.camid) + (" query" if part == "query" else "")
            pen.text((left, top + _CELL[1]), _fitting(label, font, _CELL[0]), fill=_INK, font=font)
    return sheet


def _people(dataset: Dataset) -> list[list[tuple[str, Record]]]:
    """The (part, crop) of each person, in the order of their numbers; distractors are nobody."""
    rows: dict[tuple[bool, int, int], list[tuple[str, Record]]] = {}
    apart = not dataset.people  # numbers of different parts may mean different people
    for part, records in (("train", dataset.train), ("query", dataset.query), ("gallery", dataset.gallery)):
        for record in records:
            if record.pid > 0 or part == "train":
                key = (apart and part != "train", record.domain, record.pid)
                rows.setdefault(key, []).append((part, record))
    return [rows[key] for key in sorted(rows)]


def _spread(row: Sequence[tuple[str, Record]], count: int) -> list[tuple[str, Record]]:
    """At most `count` crops, as many cameras as possible, in the order of the cameras."""
    turns: dict[int, int] = {}
    order = []
    for part, record in row:
        turns[record.camid] = turns.get(record.camid, 0) + 1
        order.append((turns[record.camid], record.camid, (part, record)))
    first = sorted(order, key=lambda entry: entry[:2])[:count]
    return [crop for _, _, crop in sorted(first, key=lambda entry: (entry[1], entry[0]))]


def _paste(sheet: Image.Image, record: Record, place: tuple[int, int]) -> None:
    try:
        crop = resize(read_crop(record.path), _CELL[1], _CELL[0])
    except (OSError, ImageError):
        box = (*place, place[0] + _CELL[0] - 1, place[1] + _CELL[1] - 1)
        pen = ImageDraw.Draw(sheet)
        pen.rectangle(box, fill=_FAINT)
        pen.text((place[0] + 4, place[1] + _CELL[1] // 2), "unreadable", fill=_INK)
        return
    sheet.paste(Image.fromarray(crop), place)


def _fitting(
    text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int = _NAMES - 2 * _GAP
) -> str:
    """The text, cut to the width; letters that the font has not are drawn as boxes."""
    while len(text) > 1 and font.getlength(text) > width:
        text = text[:-2] + "…" if text.endswith("…") else text[:-1] + "…"
    return text
