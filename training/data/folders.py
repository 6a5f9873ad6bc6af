"""People's own data: one folder per identity, the camera read from the file name.

    root/train/<identity>/<camera>_anything.jpg      identities to train on
    root/query/<identity>/<camera>_anything.jpg      optional, to evaluate on
    root/gallery/<identity>/<camera>_anything.jpg

The camera is what stands before the first underscore; a name without one belongs to camera "0".
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from training.data.records import Dataset, DatasetError, Record, list_images, one_split, require_folder


def read_folders(root: Path, split: int = 0) -> Dataset:
    """Reads the layout above.

    Identities are numbered from 1 and cameras from 0, both in the order of their names. Raises DatasetError
    for a folder without images, a training identity with a single one, or queries of one camera only.
    """
    one_split("folders", split)
    parts = {part: _files(root / part) for part in ("train", "query", "gallery")}
    if not parts["train"] and not parts["query"]:
        raise DatasetError(f"folders: {root} holds neither train/<identity>/*.jpg nor query/<identity>/*.jpg")
    if bool(parts["query"]) != bool(parts["gallery"]):
        raise DatasetError(f"folders: {root} needs both query/ and gallery/ to be evaluated, or neither")
    everything = [*parts["train"], *parts["query"], *parts["gallery"]]
    pids = {name: i for i, name in enumerate(sorted({identity for identity, _, _ in everything}), 1)}
    cams = {name: i for i, name in enumerate(sorted({camera for _, camera, _ in everything}))}
    train, query, gallery = (
        [Record(path, pids[identity], cams[camera]) for identity, camera, path in parts[part]]
        for part in ("train", "query", "gallery")
    )
    counts = Counter(record.pid for record in train)
    lonely = [name for name, pid in pids.items() if counts[pid] == 1]
    if lonely:
        raise DatasetError(
            f"folders: {root / 'train' / lonely[0]} holds one image; a person to train on needs two or more"
        )
    if query and len({r.camid for r in query + gallery}) == 1:
        raise DatasetError(
            f"folders: everything under {root / 'query'} and {root / 'gallery'} is of one camera, "
            "and a ranking leaves out the query's own camera; name the crops CAMERA_anything.jpg"
        )
    return Dataset("folders", train, query, gallery)


def _files(folder: Path) -> list[tuple[str, str, Path]]:
    if not folder.exists():
        return []
    require_folder(folder, "folders")
    files = []
    for identity in sorted(p for p in folder.iterdir() if p.is_dir()):
        images = list_images(identity)
        if not images:
            raise DatasetError(f"folders: {identity} holds no images")
        for path in images:
            camera = path.stem.split("_")[0] if "_" in path.stem else "0"
            files.append((identity.name, camera, path))
    return files
