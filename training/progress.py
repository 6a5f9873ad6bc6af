"""What a run tells whoever waits for it: bars on a terminal, elsewhere a plain line at a steady pace."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

EVERY_S = 30.0  # between two lines


class Report:
    """Speaks on standard error.

    Args:
        silent: says nothing, for all processes but the first.
        clock: seconds, as of `time.monotonic`.
    """

    def __init__(self, silent: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self.silent, self.clock = silent, clock
        self.terminal = sys.stderr.isatty()

    def say(self, sentence: str) -> None:
        """One line."""
        if not self.silent:
            Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(sentence)

    @contextmanager
    def counting(self, what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
        """The progress of work before the first step, as the function (done, total) that moves it."""
        last = self.clock()

        def line(done: int, total: int) -> None:
            nonlocal last
            if self.clock() - last >= EVERY_S or done == total:
                last = self.clock()
                self.say(f"{what}: {done} of {total} {unit}")

        if not self.terminal:
            yield line
            return
        with self._bar(TextColumn("{task.completed}/{task.total} " + unit), transient=True) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    @contextmanager
    def stepping(self, done: int, total: int, epochs: int) -> Iterator[Steps]:
        """The progress of the steps of a run, of which `done` are done."""
        if not self.terminal or self.silent:
            yield Steps(self, done, total, epochs)
            return
        rate = TextColumn("{task.fields[rate]}")
        with self._bar(rate, TimeRemainingColumn()) as bar:
            steps = Steps(self, done, total, epochs)
            task = bar.add_task("first step", total=total, completed=done, rate="")
            steps.show = lambda text, rate: bar.update(
                task, completed=steps.done, description=text, rate=rate
            )
            yield steps

    def _bar(self, *columns: TextColumn | TimeRemainingColumn, transient: bool = False) -> Progress:
        return Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            *columns,
            console=Console(stderr=True),
            transient=transient,
            disable=self.silent,
        )


class Steps:
    """The steps of a run while it trains."""

    def __init__(self, report: Report, done: int, total: int, epochs: int) -> None:
        self.report, self.done, self.total, self.epochs = report, done, total, epochs
        self.show: Callable[[str, str], None] | None = None  # moves a bar
        self.began, self.before = report.clock(), done
        self.line_at = self.began  # of the next line: the first step is one

    def advance(self, epoch: int, step: str, images_per_s: float, losses: Mapping[str, float]) -> None:
        """One more step is done. `step` is like '3/20'; the rate is in images a second."""
        self.done += 1
        text = f"epoch {epoch}/{self.epochs} step {step}: loss {sum(losses.values()):.3f}"
        rate = f"{images_per_s:.3g} images/s"
        if self.show is not None:
            self.show(text, rate)
            return
        now = self.report.clock()
        if now < self.line_at and self.done < self.total:
            return
        left = (now - self.began) / (self.done - self.before) * (self.total - self.done)
        self.report.say(f"{text}, {rate}, {duration(left)} left")
        self.line_at = now + EVERY_S


def duration(seconds: float) -> str:
    """1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
