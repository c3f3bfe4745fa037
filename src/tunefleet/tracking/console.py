"""Console: a live bar in a terminal, plain lines elsewhere and in a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console as RichConsole
from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress
from rich.text import Text

from tunefleet.base import files, stdio, text
from tunefleet.tracking import progress_lines
from tunefleet.tracking.progress_lines import EvaluationTable, Smoothed

_PLAIN_LINES = 20  # about so many progress lines in a run without a terminal


class Console:
    """Rank 0 prints, and appends every plain line to `log`, unless it prints there; the other ranks are silent."""

    def __init__(self, shown: bool, total_steps: int, first_step: int = 0, log: Path | None = None) -> None:
        self._rich = RichConsole(
            file=stdio.styled(sys.stdout),
            quiet=not shown,
            highlight=False,
            force_terminal=sys.stdout.isatty(),  # whatever FORCE_COLOR says, as notebooks set it
        )
        self._log = log if shown and not _prints_to(log) else None
        self._total = total_steps
        self._every = max(1, total_steps // _PLAIN_LINES)
        self._marks = [(time.perf_counter(), first_step)]  # the start, and the end of the first step
        self._printed_step = first_step
        self._loss = Smoothed(total_steps)
        self._data_seconds = self._seconds = 0.0
        self._evaluations = EvaluationTable(total_steps)
        self._bar = _Bar(self._rich) if shown and self._rich.is_terminal else None
        if self._bar:
            self._bar.start()
            self._task = self._bar.add_task("", total=total_steps, completed=first_step)

    @property
    def is_live(self) -> bool:
        """Whether a bar is drawn, which needs a terminal."""
        return self._bar is not None

    def log(self, record: dict[str, Any]) -> None:
        """Shows a training record; an evaluation is a line of a table, and the last one the run's report."""
        if "train/loss" in record:
            self._step(record)
        if not record.get("final"):
            for line in self._evaluations.lines(record, self.width):
                self.print_line(line)

    def samples(self, step: int, samples: Sequence[Mapping[str, str]]) -> None:
        """Nothing: those of the end are in the report."""

    def rewind(self, step: int) -> None:
        """The bar goes back."""
        self._printed_step = step
        if self._bar:
            self._bar.update(self._task, completed=step)

    def finish(self, summary: dict[str, Any]) -> None:
        """Closes the bar."""
        self.close_bar()

    def close_bar(self) -> None:
        """Stops the live bar, so that lines can follow it."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    @property
    def width(self) -> int | None:
        """Characters of a line; None without a terminal, unless COLUMNS says it."""
        return self._rich.width if self._rich.is_terminal or os.environ.get("COLUMNS") else None

    def print_line(self, line: str) -> None:
        """Prints `line`, above the bar if there is one; a terminal's own width breaks it between words."""
        line = text.printable(line)
        console = self._bar.console if self._bar else self._rich
        console.print(line, markup=False, soft_wrap=self.width is None)
        self._append_to_log(line)

    def print_table(self, rows: dict[str, str]) -> None:
        """Two aligned columns; what is too long for a terminal goes on below its beginning."""
        for line in text.listed(rows, self.width).splitlines():
            self.print_line(line)

    def seconds_left(self, step: int) -> float:
        """Time to the last step at the pace since the first one, in which GPUs warm up, or else since the start."""
        began, first = next((mark for mark in reversed(self._marks) if step > mark[1]), self._marks[0])
        return (time.perf_counter() - began) / max(1, step - first) * (self._total - step)

    def _step(self, record: dict[str, Any]) -> None:
        step = record["step"]
        if len(self._marks) == 1:
            self._marks.append((time.perf_counter(), step))
        self._seconds += record.get("train/seconds", 0.0)
        self._data_seconds += record.get("train/data_seconds", 0.0)
        data_share = self._data_seconds / max(1e-9, self._seconds + self._data_seconds)
        loss = self._loss.add(record["train/loss"])
        numbers = progress_lines.cells(record, loss, data_share, self.seconds_left(step))
        if self._bar:
            self._bar.lines = progress_lines.joined([f"  {numbers[0]}", *numbers[1:]], self.width, "  ")
            self._bar.update(self._task, completed=step)
        if step // self._every > self._printed_step // self._every or step == self._total:
            self._printed_step = step
            cells = [f"  step {step}/{self._total}", *numbers]
            if self._bar:
                return self._append_to_log("  ".join(cells))
            for line in progress_lines.joined(cells, self.width):
                self.print_line(line)

    def _append_to_log(self, line: str) -> None:
        if not self._log:
            return
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with open(self._log, "a", encoding="utf-8", opener=files.no_link) as log:
                log.write(line + "\n")
        except OSError as error:  # the line is on the console: it is no reason to stop
            print(f"tunefleet: {self._log}: {error.strerror}; output is missing there.", file=sys.stderr)
            self._log = None


class _Bar(Progress):
    """A bar of steps, and below it the numbers of the last one."""

    def __init__(self, console: RichConsole) -> None:
        self.lines: list[str] = ["  starting"]
        super().__init__(BarColumn(bar_width=24), MofNCompleteColumn(), console=console, refresh_per_second=8)

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar, then the numbers; none of them wider than the terminal."""
        yield self.make_tasks_table(self.tasks)
        yield Text("\n".join(self.lines), no_wrap=True, overflow="ellipsis")


def _prints_to(log: Path | None) -> bool:
    """Whether what this process prints goes to `log` anyway, as in a SLURM job."""
    try:
        return log is not None and os.path.samestat(os.fstat(sys.stdout.fileno()), log.stat())
    except OSError:
        return False
