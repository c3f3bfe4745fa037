"""Table of an application in Markdown: its runs, by mean and largest distance from it, with its baselines below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.applications.measures import Values

BySplit = Mapping[str, Values]


def markdown(name: str, runs: Sequence[BySplit], baselines: Mapping[str, BySplit]) -> str:
    """A line for each split of the runs, and of each baseline; a column for each value."""
    splits: BySplit = runs[0] if runs else next(iter(baselines.values()), {})
    columns = list(next(iter(splits.values()), {}))
    seeds = "one seed" if len(runs) == 1 else f"{len(runs)} seeds"
    lines = [_row(["", *(column.replace("_", " ") for column in columns)]), "|---" * (len(columns) + 1) + "|"]
    for split in splits:
        suffix = f", {split.replace('_', ' ')}" if len(splits) > 1 else ""
        if runs:
            lines.append(
                _row([f"{name}{suffix}, {seeds}", *(_spread([run[split][c] for run in runs]) for c in columns)])
            )
        for baseline, values in baselines.items():
            numbers = (f"{values[split][c]:.1f}" if c in values[split] else "" for c in columns)
            lines.append(_row([f"- {baseline}{suffix}", *numbers]))
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _spread(numbers: Sequence[float]) -> str:
    """The mean, and the largest distance of a run from it."""
    mean = sum(numbers) / len(numbers)
    distance = max(abs(number - mean) for number in numbers)
    return f"{mean:.1f} ± {distance:.1f}" if len(numbers) > 1 else f"{mean:.1f}"
