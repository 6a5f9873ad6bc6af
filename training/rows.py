"""CSV files of a run that are only appended to, and cut to where the run resumes."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path

from training.interrupts import TrainingError


class Rows:
    """An open CSV file whose first columns say where the run stood when a row was written.

    Rows behind the point of resumption are cut off, because the run makes them again, and so is a last row
    that was not written to its end.

    Args:
        keys: names of the first columns, whole numbers. resume: their values at the last row to keep.

    Raises TrainingError, naming the line, for a file that somebody has changed so that it cannot be read.
    """

    def __init__(self, path: Path, keys: tuple[str, ...], resume: tuple[int, ...]) -> None:
        self.columns: list[str] = []
        self.kept: list[dict[str, str]] = []  # the rows that stand in the file
        if path.exists():
            lines, whole = _read(path, keys)
            rows = [line for position, line in whole[1:] if position <= resume]
            kept = [line for _, line in whole[:1]] + rows
            if len(kept) != len(lines):
                _replace(path, kept)
            self.columns = next(csv.reader(kept[:1]), [])
            self.kept = [dict(zip(self.columns, next(csv.reader([line])), strict=False)) for line in rows]
        self.file = path.open("a", newline="", encoding="utf-8")

    def write(self, row: Mapping[str, object]) -> None:
        """Appends a row; the first one names the columns. An older file keeps the columns that it has."""
        if not self.columns:
            self.columns = list(row)
            csv.writer(self.file).writerow(self.columns)
        csv.DictWriter(self.file, self.columns, extrasaction="ignore").writerow(row)
        self.file.flush()
        self.kept.append({name: str(row.get(name, "")) for name in self.columns})

    def close(self) -> None:
        """Closes the file."""
        self.file.close()


def check_rows(path: Path, keys: tuple[str, ...]) -> None:
    """Raises what `Rows` raises, without opening the file for writing."""
    if path.exists():
        _read(path, keys)


def _read(path: Path, keys: tuple[str, ...]) -> tuple[list[str], list[tuple[tuple[int, ...], str]]]:
    """All lines as they stand, and the whole ones with their positions; that of the first means nothing."""
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        lines = file.read().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    if whole and tuple(next(csv.reader(whole[:1]), [])[: len(keys)]) != keys:
        raise TrainingError(
            f"{path}: the first line must begin with {','.join(keys)}; mend it, or move the file away and "
            f"the run begins another"
        )
    placed: list[tuple[tuple[int, ...], str]] = [((), line) for line in whole[:1]]
    for number, line in enumerate(whole[1:], 2):
        placed.append((_position(path, number, line, keys), line))
    return lines, placed


def _position(path: Path, number: int, line: str, keys: tuple[str, ...]) -> tuple[int, ...]:
    cells = next(csv.reader([line]), [])[: len(keys)]
    try:
        position = tuple(int(cell) for cell in cells)
    except ValueError:
        position = ()
    if len(position) == len(keys):
        return position
    shown = line.strip().encode("utf-8", "backslashreplace").decode()[:40]
    raise TrainingError(
        f"{path}, line {number}: {shown!r} does not begin with {' and '.join(keys)} as whole numbers; mend "
        f"it, or move the file away and the run begins another"
    )


def _replace(path: Path, lines: list[str]) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        file.write("".join(lines))
    os.replace(partial, path)
