"""The log of a run: `log.csv` and TensorBoard, one row a step."""

from __future__ import annotations

import csv
from pathlib import Path


class Log:
    """Both logs of a run folder.

    Args:
        resume: (epoch, step) that the run resumes from; later rows of an existing log are dropped.
        silent: writes nothing, for all processes but the first.
    """

    FIELDS = ("epoch", "step", "images_per_s", "loss")

    def __init__(self, out: Path, resume: tuple[int, int], silent: bool = False) -> None:
        self.silent = silent
        if silent:
            return
        from torch.utils.tensorboard import SummaryWriter

        path = out / "log.csv"
        self.earlier = _rows_until(path, resume) if path.exists() else []
        self.file = path.open("w", newline="")
        self.writer: csv.DictWriter[str] | None = None  # made by the first row, which names the losses
        self.board = SummaryWriter(str(out / "tensorboard"))
        self.total = len(self.earlier)

    def write(self, epoch: int, step: int, rate: float, losses: dict[str, float]) -> None:
        """Writes one row; `rate` is in images a second."""
        if self.silent:
            return
        if self.writer is None:
            self.writer = csv.DictWriter(self.file, [*self.FIELDS, *losses])
            self.writer.writeheader()
            self.writer.writerows(self.earlier)
        total = sum(losses.values())
        row = {"epoch": epoch, "step": step, "images_per_s": round(rate, 1), "loss": f"{total:.5f}"}
        self.writer.writerow(row | {name: f"{loss:.5f}" for name, loss in losses.items()})
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


def _rows_until(path: Path, resume: tuple[int, int]) -> list[dict[str, str]]:
    """The rows of a log up to and including (epoch, step)."""
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if (int(row["epoch"]), int(row["step"])) <= resume]
