"""The images that a command's arguments name."""

from __future__ import annotations

from pathlib import Path

from cli.output import fail, shown

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic", ".heif"}


def image_files(paths: list[Path]) -> list[Path]:
    """Files as they are given, and the images below folders in the order of their paths, each once.

    What programs leave below folders (`._x.jpg`, `__MACOSX`) is none. Ends the command where a path does not
    exist, and where there is no image.
    """
    from training.data.files import walk_images

    files: list[Path] = []
    for path in paths:
        if not path.exists():
            fail(f"{shown(path)} does not exist")
        if path.is_block_device() or path.is_char_device() or path.is_socket():
            fail(f"{shown(path)} is a device and no file")  # /dev/zero has no end
        below = walk_images(path) if path.is_dir() else [path]
        files += [file for file in below if file == path or file.suffix.lower() in _SUFFIXES]
    if not files:
        fail(f"no .jpg, .png, .webp, .avif or .heic files under {', '.join(map(shown, paths))}")
    return list(dict.fromkeys(files))
