"""Profile table: where the time of profiled steps goes, by parts of a step and by operations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tunefleet.base import text
from tunefleet.engine.step_parts import NAMES, PREFIX

VERSION = 1
_COMMUNICATION = ("nccl:", "gloo:", "mpi:", "c10d::")  # how torch.distributed names what it sends
_TOP = 15


def tabulate(profiler: Any, first: int, last: int, seconds: float) -> dict[str, Any]:
    """The table of steps `first` to `last`, which took so many seconds; `profiler` is torch's, stopped.

    Shares are of those seconds. Communication is inside the parts, or beside them; operations are by their own time.
    """
    events = [event for event in profiler.events() if event.device_type.name == "CPU"]
    return {
        "version": VERSION,
        "first_step": first,
        "last_step": last,
        "seconds": seconds,
        "parts": _parts(events, seconds),
        "communication": _amount(_covered(_communication(events)), seconds),
        "operations": _operations(profiler, seconds),
    }


def as_text(table: Mapping[str, Any]) -> str:
    """The same for a reader."""
    steps = table["last_step"] - table["first_step"] + 1
    head = f"steps {table['first_step']} to {table['last_step']}: {table['seconds']:.3f} s, "
    parts = [("part of a step", "seconds", "share"), *(_row(name, part) for name, part in table["parts"].items())]
    parts.append(_row("(communication, in the above)", table["communication"]))
    operations = [("operation", "calls", "seconds", "share")]
    for operation in table["operations"]:
        name, seconds, share = _row(operation["name"], operation)
        operations.append((name, str(operation["calls"]), seconds, share))
    per_step = f"{table['seconds'] / steps:.3f} s a step; profiling itself is in it"
    return f"{head}{per_step}\n\n{text.columns(parts)}\n\n{text.columns(operations)}\n"


def _row(name: str, amount: Mapping[str, float]) -> tuple[str, str, str]:
    return name, f"{amount['seconds']:.4f}", f"{amount['share']:.1%}"


def _parts(events: Sequence[Any], seconds: float) -> dict[str, dict[str, float]]:
    """Of each part that there is, and of what is in none."""
    spans = {name: [_span(event) for event in events if event.name == f"{PREFIX}{name}"] for name in NAMES}
    parts = {name: _amount(_covered(times), seconds) for name, times in spans.items() if times}
    unnamed = seconds - sum(part["seconds"] for part in parts.values())
    return {**parts, "everything else": _amount(max(0.0, unnamed), seconds)}


def _communication(events: Iterable[Any]) -> list[tuple[float, float]]:
    return [_span(event) for event in events if event.name.startswith(_COMMUNICATION)]


def _span(event: Any) -> tuple[float, float]:
    """Its first and last moment, in microseconds."""
    return event.time_range.start, event.time_range.end


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """The seconds that spans cover together, where they overlap once."""
    total, end = 0.0, float("-inf")
    for begin, finish in sorted(spans):
        total += max(0.0, finish - max(begin, end))
        end = max(end, finish)
    return total / 1e6


def _amount(part: float, seconds: float) -> dict[str, float]:
    return {"seconds": part, "share": part / seconds if seconds else 0.0}


def _operations(profiler: Any, seconds: float) -> list[dict[str, Any]]:
    """Those that take most time of their own, on the device that computes."""
    averages = [average for average in profiler.key_averages() if not average.key.startswith(PREFIX)]
    on_device = any(average.self_device_time_total for average in averages)
    self_seconds = {a.key: (a.self_device_time_total if on_device else a.self_cpu_time_total) / 1e6 for a in averages}
    counts = {average.key: average.count for average in averages}
    names = sorted(self_seconds, key=lambda name: -self_seconds[name])[:_TOP]
    return [{"name": name, "calls": counts[name], **_amount(self_seconds[name], seconds)} for name in names]
