"""Files that other users of the machine can read as usual, and that outlast a power cut."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def usual_mode(path: Path) -> Iterator[None]:
    """Gives a new file that is written inside the mode that the umask asks for; replaces one of its name.

    safetensors (0.8) writes files that only their owner can read, so that the user of a Docker image could
    not read weights that somebody else has put into a mounted folder.
    """
    path.unlink(missing_ok=True)  # one that was left behind would pass its mode on
    path.touch()
    mode = path.stat().st_mode & 0o777
    yield
    path.chmod(mode)


def sync_folder(folder: Path) -> None:
    """Writes the names in a folder to the disk, such as that of a file which has just been renamed.

    Does nothing where a folder cannot be opened, as on Windows, which keeps names by itself.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
