"""Table of an application: the mean of its runs and how far they are apart, with the baselines below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.applications.measures import Values
from tunefleet.base import text


def of_runs(runs: Sequence[Mapping[str, Values]]) -> str:
    """A line for each split and value: the mean, and the largest distance of a run from it."""
    lines: list[Sequence[str]] = [("split", "value", "mean", "tolerance", "runs")]
    for split, values in runs[0].items():
        for name in values:
            lines.append((split, name.replace("_", " "), *_spread([run[split][name] for run in runs])))
    return text.columns(lines)


def of_baselines(measured: Mapping[str, Values]) -> str:
    """A line for each baseline and value."""
    lines = [("baseline", "value", "number")]
    for baseline, values in measured.items():
        lines += [(baseline, name.replace("_", " "), f"{value:.1f}") for name, value in values.items()]
    return text.columns(lines)


def _spread(numbers: Sequence[float]) -> tuple[str, str, str]:
    mean = sum(numbers) / len(numbers)
    tolerance = f"± {max(abs(number - mean) for number in numbers):.1f}" if len(numbers) > 1 else "one seed"
    return f"{mean:.1f}", tolerance, ", ".join(f"{number:.1f}" for number in numbers)
