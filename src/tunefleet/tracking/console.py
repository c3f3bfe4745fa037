"""Console: a live bar in a terminal, plain lines elsewhere and in a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from tunefleet.base import files, stdio, text
from tunefleet.base.units import clock, count

_PLAIN_LINES = 20  # about so many progress lines in a run without a terminal


class Console:
    """Rank 0 prints, and appends every plain line to `log`, unless it prints there; the other ranks are silent."""

    def __init__(self, shown: bool, total_steps: int, first_step: int = 0, log: Path | None = None) -> None:
        self._rich = RichConsole(file=stdio.styled(sys.stdout), quiet=not shown, highlight=False, soft_wrap=True)
        self._log = log if shown and not _prints_to(log) else None
        self._total = total_steps
        self._every = max(1, total_steps // _PLAIN_LINES)
        self._first_step = first_step
        self._started = time.perf_counter()
        self._printed_step = first_step
        self._bar = self._progress() if shown and self._rich.is_terminal else None
        if self._bar:
            self._bar.start()
            self._task = self._bar.add_task("", total=total_steps, completed=first_step, metrics="starting")

    @property
    def is_live(self) -> bool:
        """Whether a bar is drawn, which needs a terminal."""
        return self._bar is not None

    def log(self, record: dict[str, Any]) -> None:
        """Shows a training record; evaluation records get a line."""
        if "train/loss" in record:
            self._step(record)
        for key, value in record.items():
            if key.startswith("evaluation/") and key.endswith("/loss"):
                self.print_line(f"  step {record['step']}: {key.split('/')[1]} loss {value:.4f}")

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

    def print_line(self, line: str) -> None:
        """Prints `line`, above the bar if there is one."""
        line = text.printable(line)
        (self._bar.console if self._bar else self._rich).print(line, markup=False)
        self._append_to_log(line)

    def print_table(self, rows: dict[str, str]) -> None:
        """Two aligned columns."""
        self.print_line(text.listed(rows))

    def seconds_left(self, step: int) -> float:
        """Time to the last step at the pace since the start."""
        steps = step - self._first_step
        return (time.perf_counter() - self._started) / max(1, steps) * (self._total - step)

    def _step(self, record: dict[str, Any]) -> None:
        step = record["step"]
        metrics = (
            f"loss {record['train/loss']:.4f}  lr {record['train/lr']:.2e}  "
            f"{count(record['train/tokens_per_second'])} tokens/s  {clock(self.seconds_left(step))} left"
        )
        if self._bar:
            self._bar.update(self._task, completed=step, metrics=metrics)
        if step // self._every > self._printed_step // self._every or step == self._total:
            self._printed_step = step
            line = f"  step {step}/{self._total}  {metrics}"
            self._append_to_log(line) if self._bar else self.print_line(line)

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

    def _progress(self) -> Progress:
        columns = BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("{task.fields[metrics]}")
        return Progress(*columns, console=self._rich, refresh_per_second=8)


def _prints_to(log: Path | None) -> bool:
    """Whether what this process prints goes to `log` anyway, as in a SLURM job."""
    try:
        return log is not None and os.path.samestat(os.fstat(sys.stdout.fileno()), log.stat())
    except OSError:
        return False
