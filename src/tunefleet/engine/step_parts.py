"""Step parts: the names under which a profile finds what a training step spends its time on."""

from __future__ import annotations

from torch.profiler import record_function

PREFIX = "step: "
NAMES = ("data wait", "forward", "backward", "forward and backward", "optimizer")
"""In the order of a step; a pipeline goes forward and backward in turns that nobody tells apart."""


def part(name: str) -> record_function:
    """The context of one part, of `NAMES`; it costs next to nothing where nothing is profiled."""
    return record_function(f"{PREFIX}{name}")
