"""A sheet of framed crops with words below each: as a picture, or as an SVG with crops inside."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Union
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from training.data.loader import load_crops
from training.data.records import Record

_CELL, _FRAME, _LINE, _GAP = (64, 128), 4, 12, 6
_WIDTH, _HEIGHT = _CELL[0] + 2 * _FRAME, _CELL[1] + 2 * _FRAME  # of a frame
_NAME_LINES = 6  # of a file's name at most; what is longer loses its middle
_SHARP = 2  # times as many pixels has a crop in an SVG, which is looked at from nearer
Font = Union[ImageFont.FreeTypeFont, ImageFont.ImageFont]
Colour = tuple[int, int, int]


class Cell(NamedTuple):
    """A crop on a sheet."""

    record: Record
    colour: Colour  # of its frame and words
    label: str


class _Placed(NamedTuple):
    """A cell with its place, in pixels from the left and the top."""

    x: int
    y: int
    cell: Cell
    lines: list[str]


def save_sheet(rows: Sequence[Sequence[Cell]], out: Path) -> None:
    """Saves a sheet as its suffix says. A PDF is one picture, as a PNG and a JPEG are. Raises OSError."""
    if out.suffix.lower() == ".svg":
        out.write_text(as_svg(rows), encoding="utf-8")
    else:
        as_picture(rows).save(out)


def as_picture(rows: Sequence[Sequence[Cell]]) -> Image.Image:
    """The sheet in pixels: of each row the first cell stands apart."""
    size, placed = _placed(rows)
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(10)
    for x, y, cell, lines in placed:
        pen.rectangle((x, y, x + _WIDTH - 1, y + _HEIGHT - 1), fill=cell.colour)
        sheet.paste(Image.fromarray(_crop(cell, 1)), (x + _FRAME, y + _FRAME))
        for number, text in enumerate(lines):
            pen.text((x, y + _HEIGHT + number * _LINE), text, fill=cell.colour, font=font)
    return sheet


def as_svg(rows: Sequence[Sequence[Cell]]) -> str:
    """The sheet as an SVG: rectangles and text, and each crop as a JPEG inside."""
    (width, height), placed = _placed(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="9">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for x, y, cell, lines in placed:
        colour = "#{:02x}{:02x}{:02x}".format(*cell.colour)
        parts.append(f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" fill="{colour}"/>')
        parts.append(
            f'<image x="{x + _FRAME}" y="{y + _FRAME}" width="{_CELL[0]}" height="{_CELL[1]}" '
            f'href="data:image/jpeg;base64,{_jpeg(_crop(cell, _SHARP))}">'
            f"<title>{escape(_printable(str(cell.record.path)))}</title></image>"
        )
        for number, text in enumerate(lines):
            top = y + _HEIGHT + (number + 1) * _LINE - 3
            parts.append(f'<text x="{x}" y="{top}" fill="{colour}">{escape(text)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _placed(rows: Sequence[Sequence[Cell]]) -> tuple[tuple[int, int], list[_Placed]]:
    """Width and height of the sheet, and where each cell stands."""
    font = ImageFont.load_default(10)
    names = _names([cell.record.path for row in rows for cell in row])
    texts = [[[cell.label, *_wrapped(names[cell.record.path], font)] for cell in row] for row in rows]
    lines = max((len(text) for row in texts for text in row), default=1)
    columns = max((len(row) for row in rows), default=0)
    width, height = _WIDTH + _GAP, _HEIGHT + lines * _LINE + _GAP
    placed = []
    for number, (row, words) in enumerate(zip(rows, texts, strict=True)):
        for column, (cell, text) in enumerate(zip(row, words, strict=True)):
            x = _GAP * (1 if column == 0 else 2) + column * width
            placed.append(_Placed(x, _GAP + number * height, cell, text))
    return (2 * _GAP + width * columns, _GAP + height * len(rows)), placed


def _names(paths: Sequence[Path]) -> dict[Path, str]:
    """The file's name of each path, with so many folders before it that no two paths are called alike."""
    different = list(dict.fromkeys(paths))
    names = {}
    for path in different:
        alike = [other for other in different if other != path and other.name == path.name]
        depth = 1
        while any(other.parts[-depth:] == path.parts[-depth:] for other in alike):
            depth += 1
        names[path] = "/".join(path.parts[-depth:])
    return names


def _wrapped(name: str, font: Font) -> list[str]:
    """A name in lines as wide as a frame, in printable characters."""
    lines = [""]
    for letter in _printable(name):
        if font.getlength(lines[-1] + letter) > _WIDTH:
            lines.append("")
        lines[-1] += letter
    if len(lines) > _NAME_LINES:
        lines[1:-4] = [".."]
    return lines


def _printable(name: str) -> str:
    """A name without letters that cannot be drawn or stand in XML, which are written with a backslash."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


def _crop(cell: Cell, times: int) -> np.ndarray:
    """uint8 [H,W,3]: upright, as the model sees it, with so many pixels for each one of a cell."""
    (crop,) = load_crops([cell.record], times * _CELL[1], times * _CELL[0])
    pixels: np.ndarray = crop
    return pixels


def _jpeg(crop: np.ndarray) -> str:
    """A crop as a JPEG in base64."""
    encoded = io.BytesIO()
    Image.fromarray(crop).save(encoded, "JPEG", quality=90)
    return base64.b64encode(encoded.getvalue()).decode()
