"""People's own data by a list: `list:FILE`, a CSV or Parquet file with a row for each crop.

    path,person,camera,part,time,track
    door/0001.jpg,anna,door,train,2026-05-04T10:15:00Z,7

Only path and person are needed. Paths begin at the list's folder. Without `part` all is to train on; a
gallery crop without a person shows nobody.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from training.data.labelled import FIELDS, labelled_crop, numbered
from training.data.records import Dataset, DatasetError, one_split

Row = tuple[str, dict[str, Any]]  # where it stands, as text, and its values by column


def read_list(file: Path, split: int = 0) -> Dataset:
    """Reads the list above.

    Raises DatasetError for a file that is no such list, a row without a path or person, and where none of
    the paths exists; one that is missing is found where it is opened, as an image that cannot be read.
    """
    one_split("list", split)
    if not file.is_file():
        raise DatasetError(f"list: {file} is no file; name it like list:crops.csv, from --data on")
    rows = _parquet(file) if file.suffix.lower() in (".parquet", ".pq") else _csv(file)
    crops = []
    for where, row in rows:
        path = str(row.pop("path", None) or "").strip()
        if not path:
            raise DatasetError(f"{where}: no path")
        crops.append(labelled_crop(_located(file.parent, path), row, where))
    if crops and not any(crop.path.exists() for crop in crops):
        raise DatasetError(
            f"list: none of the {len(crops)} paths of {file} exists; the first is {crops[0].path}"
        )
    return numbered(f"list:{file.name}", crops)


def _located(folder: Path, path: str) -> Path:
    if "\\" in path and not (folder / path).exists():
        path = path.replace("\\", "/")  # a list that was made on Windows
    return folder / path


def _columns(file: Path, names: Iterable[str]) -> dict[str, str]:
    """Column of the file -> field of a crop, for the columns that mean one."""
    known = {name: name.strip().lower() for name in names if name.strip().lower() in FIELDS}
    fields = [FIELDS[field] for field in known.values()]
    if not {"path", "person"} <= set(fields) or len(set(fields)) < len(fields):
        raise DatasetError(
            f"list: {file} needs the columns path and person, each once, and may have camera, part, time and "
            f"track; it has {', '.join(map(repr, names)) or 'none'}"
        )
    return known


def _csv(file: Path) -> Iterable[Row]:
    try:
        with file.open(
            encoding="utf-8-sig", newline=""
        ) as opened:  # with the mark that Excel begins files with
            header = opened.readline()
            opened.seek(0)
            reader = csv.reader(opened, delimiter=max(",;\t", key=header.count), strict=True)
            names = next(reader, [])
            columns = _columns(file, names)
            for values in reader:
                where = f"list: {file}, line {reader.line_num}"
                if not any(value.strip() for value in values):
                    continue
                if len(values) != len(names):
                    raise DatasetError(f"{where}: {len(values)} fields; the first line has {len(names)}")
                row = dict(zip(names, values, strict=True))
                yield where, {field: row[name] for name, field in columns.items()}
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"list: {file} is not CSV in UTF-8: {error}") from error


def _parquet(file: Path) -> Iterable[Row]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise DatasetError(f"list: {file} needs the extra parquet: pip install 'resight[parquet]'") from None
    try:
        columns = _columns(file, parquet.read_schema(file).names)
        rows = parquet.read_table(file, columns=list(columns)).to_pylist()
    except ArrowException as error:
        raise DatasetError(f"list: {file} is not a Parquet file: {error}") from error
    for number, row in enumerate(rows, 1):
        yield f"list: {file}, row {number}", {field: row[name] for name, field in columns.items()}
