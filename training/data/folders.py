"""People's own data: one folder per identity, the camera read from the file name.

    root/train/<identity>/<camera>_anything.jpg      identities to train on
    root/query/<identity>/<camera>_anything.jpg      optional, to evaluate on
    root/gallery/<identity>/<camera>_anything.jpg

The camera may also stand behind the identity, as in 0101_c1s1_000451.jpg; see `camera_names.py`. A name
without an underscore belongs to camera "0".
"""

from __future__ import annotations

from pathlib import Path

from training.data.camera_names import cameras_of
from training.data.files import list_folders, list_images, require_all_read, require_folder
from training.data.labelled import PARTS, LabelledCrop, numbered
from training.data.records import Dataset, DatasetError, one_split


def read_folders(root: Path, split: int = 0) -> Dataset:
    """Reads the layout above.

    Identities are numbered from 1 and cameras from 0, both in the order of their names. Raises DatasetError
    for an image outside of these folders, a person without images, and for file names that do not tell the
    camera from the person.
    """
    one_split("folders", split)
    files = [(part, person, path) for part in PARTS for person, path in _files(root / part)]
    parts = {part for part, _, _ in files}
    if not parts & {"train", "query"}:
        if not root.exists():
            require_folder(root, "folders")
        raise DatasetError(
            f"folders: {root} holds neither train/PERSON/*.jpg nor query/PERSON/*.jpg; "
            "crops in another order are read by pattern:FOLDER with --pattern (docs/datasets.md)"
        )
    cameras, form = cameras_of([(person, path) for _, person, path in files])
    crops = [
        LabelledCrop(path, part, person, camera)
        for (part, person, path), camera in zip(files, cameras, strict=True)
    ]
    first = crops[0]
    note = f"file names read as {form}: {first.path.name} is person {first.person}, camera {first.camera}"
    return numbered("folders", crops, [note])


def _files(folder: Path) -> list[tuple[str, Path]]:
    """(identity, image) of one part, sorted; empty for a part that does not exist."""
    if not folder.exists():
        return []
    files = []
    people = list_folders(require_folder(folder, "folders"))
    for identity in people:
        files += [(identity.name, path) for path in list_images(identity)]
    example = f"{folder.name}/PERSON/CAMERA_anything.jpg; pattern:FOLDER with --pattern reads any layout"
    require_all_read("folders", folder, [path for _, path in files], example)
    empty = {identity.name for identity in people} - {name for name, _ in files}
    if empty:
        raise DatasetError(
            f"folders: {folder / min(empty)} holds no images; remove it, or look at their format"
        )
    return files
