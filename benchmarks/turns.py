"""Turns: how `benchmarks/throughput.py` and its contestants, a process each, take turns; standard library only.

A contestant imports it in whatever environment it runs. It says {"ready": name}, waits for a line before each step, and
answers it with what the step cost.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO


class Turns:
    """The contestant's side. What it prints otherwise goes to stderr."""

    def __init__(self) -> None:
        self._out: TextIO = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        self._started = (0.0, 0.0)

    def ready(self) -> None:
        """All that is done once is done."""
        self._answer({"ready": True})

    def wait(self) -> bool:
        """Waits for the next turn; False where there is none."""
        go_on = bool(sys.stdin.readline().strip())
        self._started = (time.process_time(), time.perf_counter())
        return go_on

    def done(self, useful: int, loss: float) -> None:
        """A step with `useful` tokens of conversations and the mean `loss` of a label has ended."""
        cpu, wall = time.process_time() - self._started[0], time.perf_counter() - self._started[1]
        self._answer({"useful": useful, "loss": loss, "cpu": cpu, "wall": wall})

    def run(self, step: Callable[[], tuple[int, float]]) -> None:
        """Takes turns with `step`, which returns (useful tokens, loss), until there are none."""
        self.ready()
        while self.wait():
            self.done(*step())

    def _answer(self, values: dict[str, Any]) -> None:
        print(json.dumps(values), file=self._out, flush=True)
