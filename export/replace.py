"""Puts a bundle where another one may lie. Nothing but a bundle is ever replaced."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reid.bundle import GRAPH, MANIFEST, WEIGHTS, BundleError

_FILES = {MANIFEST, GRAPH, WEIGHTS}
_SHOWN = 3  # names of files in an error


def check_replaceable(out: Path, force: bool = False) -> None:
    """Returns where `out` is free, an empty folder, or a bundle without anything else in it.

    Args:
        force: also accept a bundle with further files in it, which would be deleted with it.

    Raises BundleError otherwise, and where no folder could be made at `out`; nothing has been changed then.
    """
    _require_writable(out)
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise BundleError(f"{out} is a file or a link, not a folder; choose another --out")
    if not out.exists():
        return
    names = {path.name for path in out.iterdir()}
    if names and not _is_manifest(out / MANIFEST):
        raise BundleError(
            f"{out} holds {_listed(names)} and is no bundle: only bundles are replaced; choose another --out"
        )
    others = names - _FILES
    if others and not force:
        raise BundleError(
            f"the bundle {out} also holds {_listed(others)}, which would be deleted with it; move that away, "
            "choose another --out, or pass --force"
        )


@contextmanager
def replacing(out: Path, force: bool = False) -> Iterator[Path]:
    """Yields a path for a new folder beside `out`; what lies there at the end takes the place of `out`.

    If the caller fails, `out` is as it was. What `out` held is deleted last, when the new folder has its
    name.
    """
    check_replaceable(out, force)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as work:
        staged, before = Path(work, "new"), Path(work, "before")
        yield staged
        check_replaceable(out, force)  # somebody may have put files there meanwhile
        replaced = out.exists()
        if replaced:
            out.rename(before)
        try:
            staged.rename(out)
        except OSError:
            if replaced:
                before.rename(out)
            raise


def _require_writable(out: Path) -> None:
    """Raises BundleError where nothing could be written beside `out`, before there is anything to write."""
    beside = next(folder for folder in out.absolute().parents if folder.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".resight-", dir=beside):
            pass
    except OSError as error:
        raise BundleError(f"{out} cannot be written: {error.strerror}; choose another --out") from error


def _is_manifest(path: Path) -> bool:
    """Whether a file is a manifest of a bundle, of any version, however damaged the bundle is otherwise."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and {"schema_version", "files", "weights_licence"} <= values.keys()


def _listed(names: set[str]) -> str:
    """The first names, and how many there are besides."""
    ordered = sorted(names)
    more = len(ordered) - _SHOWN
    return ", ".join(ordered[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
