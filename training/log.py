"""The log of a run: `log.csv` and TensorBoard, one row a step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from training.rows import Rows, check_rows

FILE = "log.csv"
KEYS = ("epoch", "step")


class Measured(NamedTuple):
    """What a step cost, beside its losses."""

    images_per_s: float  # of all processes together
    learning_rate: float
    data_s: float  # seconds that the step waited for its batch
    step_s: float  # seconds that it then took
    memory_mib: float  # the most that the run has held: of the GPU, or of the process


class Log:
    """Both logs of a run folder.

    Rows are appended to an existing log. Only rows that lie behind the checkpoint are cut off, because the
    run makes them again; TensorBoard drops them too, so that it shows every step once.

    Args:
        resume: (epoch, step) that the run resumes from.
        silent: writes nothing, for all processes but the first.

    Raises TrainingError for a log.csv that somebody has changed so that it cannot be read.
    """

    def __init__(self, out: Path, resume: tuple[int, int], silent: bool = False) -> None:
        self.silent = silent
        if silent:
            return
        from torch.utils.tensorboard import SummaryWriter

        self.rows = Rows(out / FILE, KEYS, resume)
        self.board = SummaryWriter(str(out / "tensorboard"), purge_step=len(self.rows.kept) + 1)

    @staticmethod
    def check(out: Path) -> None:
        """Raises TrainingError as a log of this folder would."""
        check_rows(out / FILE, KEYS)

    def write(self, epoch: int, step: int, measured: Measured, losses: Mapping[str, float]) -> None:
        """Writes one row."""
        if self.silent:
            return
        total = sum(losses.values())
        self.rows.write(
            {
                "epoch": epoch,
                "step": step,
                "images_per_s": round(measured.images_per_s, 1),
                "learning_rate": f"{measured.learning_rate:.6g}",
                "data_s": f"{measured.data_s:.4f}",
                "step_s": f"{measured.step_s:.4f}",
                "memory_mib": round(measured.memory_mib),
                "loss": f"{total:.5f}",
                **{name: f"{loss:.5f}" for name, loss in losses.items()},
            }
        )
        for name, value in {"total": total, **losses}.items():
            self.board.add_scalar(f"loss/{name}", value, len(self.rows.kept))
        for name, value in measured._asdict().items():
            self.board.add_scalar(f"run/{name}", value, len(self.rows.kept))

    def evaluated(self, metrics: Mapping[str, float]) -> None:
        """Shows an evaluation at the last step in TensorBoard."""
        if not self.silent:
            for name, value in metrics.items():
                self.board.add_scalar(f"validation/{name}", value, len(self.rows.kept))

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.silent:
            self.rows.close()
            self.board.close()
