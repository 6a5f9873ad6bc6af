"""Which files of a folder are a dataset's images, and where a release was unpacked."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from training.data.records import DatasetError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic", ".heif", ".bmp"}
# what macOS, Windows, Synology and file systems leave beside people's files, apart from hidden names
_CLUTTER = {"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found", "__pycache__"}


def is_clutter(name: str) -> bool:
    """True for names that programs leave beside data, like `.ipynb_checkpoints`, `._x.jpg` and `__MACOSX`."""
    return name.startswith(".") or name.lower() in _CLUTTER


def list_images(folder: Path) -> list[Path]:
    """Images of a folder in sorted order (file-system order differs from disk to disk), without clutter."""
    return sorted(p for p in folder.iterdir() if _is_image(p))


def list_folders(folder: Path) -> list[Path]:
    """Folders inside a folder in sorted order, without clutter."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not is_clutter(p.name))


def walk_images(root: Path) -> list[Path]:
    """Images of a folder and of the folders inside it, in the order of their paths, without clutter."""
    return sorted(p for p in _walk(root) if p.suffix.lower() in IMAGE_SUFFIXES)


def unread_files(root: Path, read: Iterable[Path]) -> tuple[list[Path], dict[str, int]]:
    """What lies under a folder, without clutter, and was not read: images, and other files by suffix."""
    known = set(read)
    left = sorted(path for path in _walk(root) if path not in known)
    images = [path for path in left if path.suffix.lower() in IMAGE_SUFFIXES]
    others = Counter(path.suffix.lower() for path in left if path.suffix.lower() not in IMAGE_SUFFIXES)
    return images, dict(sorted(others.items()))


def require_all_read(name: str, folder: Path, read: Iterable[Path], example: str) -> None:
    """Raises DatasetError for an image of a folder that is not where the layout has its images."""
    images, _ = unread_files(folder, read)
    if images:
        raise DatasetError(f"{name}: {images[0]} does not lie where this layout has its images, {example}")


def require_folder(path: Path, dataset: str) -> Path:
    """The folder. Raises DatasetError where there is none."""
    if not path.is_dir():
        raise DatasetError(f"{dataset}: folder {path} does not exist; docs/datasets.md shows the layout")
    return path


def unpacked(root: Path, releases: str | Sequence[str], inside: Sequence[str]) -> Path:
    """The folder that a release makes inside `root`, or `root` itself where it holds the release's parts.

    Where there is neither, it is the folder that the release would make, so that an error names the path
    that docs/datasets.md shows.

    Args:
        releases: its name, or the names of several versions, the newest last.
        inside: parts of the release, as patterns like `*.png`.
    """
    names = [releases] if isinstance(releases, str) else releases
    for name in reversed(names):
        if (root / name).is_dir():
            return root / name
    if any(any(root.glob(pattern)) for pattern in inside):
        return root
    return root / names[0]


def matched_images(
    name: str, folder: Path, pattern: re.Pattern[str], example: str
) -> list[tuple[Path, re.Match[str]]]:
    """Images of a folder with the match of each name.

    Raises DatasetError for a missing folder and for a name that does not match.
    """
    matched = []
    for path in list_images(require_folder(folder, name)):
        match = pattern.match(path.stem)
        if match is None:
            raise DatasetError(f"{name}: {path} is not named like {example}")
        matched.append((path, match))
    return matched


def _is_image(path: Path) -> bool:
    # a link that leads nowhere counts, so that the missing picture is named and not left out
    return path.suffix.lower() in IMAGE_SUFFIXES and not is_clutter(path.name) and not path.is_dir()


def _walk(root: Path) -> Iterator[Path]:
    """Every file below a folder, without clutter; linked folders too, but no folder inside itself."""
    for folder, folders, names in os.walk(root, followlinks=True):
        here = os.path.realpath(folder) + os.sep
        inside = {name: os.path.realpath(os.path.join(folder, name)) + os.sep for name in folders}
        folders[:] = [n for n in folders if not is_clutter(n) and not here.startswith(inside[n])]
        yield from (Path(folder, name) for name in names if not is_clutter(name))
