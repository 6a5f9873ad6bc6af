"""The log of a run: `log.csv` and TensorBoard, one row a step."""

from __future__ import annotations

import csv
import os
from pathlib import Path


class Log:
    """Both logs of a run folder.

    Rows are appended to an existing log. Only rows that lie behind the checkpoint are cut off, because the
    run makes them again.

    Args:
        resume: (epoch, step) that the run resumes from.
        silent: writes nothing, for all processes but the first.
    """

    FIELDS = ("epoch", "step", "images_per_s", "loss")

    def __init__(self, out: Path, resume: tuple[int, int], silent: bool = False) -> None:
        self.silent = silent
        if silent:
            return
        from torch.utils.tensorboard import SummaryWriter

        path = out / "log.csv"
        self.columns, self.total = _cut(path, resume) if path.exists() else ([], 0)
        self.file = path.open("a", newline="")
        self.board = SummaryWriter(str(out / "tensorboard"), purge_step=self.total + 1)

    def write(self, epoch: int, step: int, rate: float, losses: dict[str, float]) -> None:
        """Writes one row; `rate` is in images a second."""
        if self.silent:
            return
        if not self.columns:  # the first row names the losses
            self.columns = [*self.FIELDS, *losses]
            csv.writer(self.file).writerow(self.columns)
        total = sum(losses.values())
        row = {"epoch": epoch, "step": step, "images_per_s": round(rate, 1), "loss": f"{total:.5f}"}
        row |= {name: f"{loss:.5f}" for name, loss in losses.items()}
        csv.DictWriter(self.file, self.columns).writerow(row)
        self.file.flush()
        self.total += 1
        for name, value in {"total": total, **losses}.items():
            self.board.add_scalar(f"loss/{name}", value, self.total)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.silent:
            self.file.close()
            self.board.close()


def _cut(path: Path, resume: tuple[int, int]) -> tuple[list[str], int]:
    """Cuts off the rows of a log behind (epoch, step), and a last row that was not written to its end.

    Returns the columns and the number of rows that stay; no columns where not even they are whole.
    """
    with path.open(newline="") as file:  # the ends of lines stay as they are
        lines = file.read().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    rows = [line for line in whole[1:] if _position(line) <= resume]
    kept = whole[:1] + rows
    if len(kept) != len(lines):
        partial = path.with_suffix(".partial")
        partial.write_text("".join(kept), newline="")
        os.replace(partial, path)
    return next(csv.reader(whole[:1]), []), len(rows)


def _position(line: str) -> tuple[int, int]:
    """(epoch, step) of a row."""
    epoch, step = line.split(",")[:2]
    return int(epoch), int(step)
