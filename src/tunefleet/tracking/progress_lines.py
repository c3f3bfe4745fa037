"""Progress lines: what the console shows of a training step, in cells that fit any width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunefleet.base.units import clock, count
from tunefleet.tracking.series import SMOOTHED_OVER


class Smoothed:
    """An exponential moving average over 1/30 of a run, unbiased at its beginning (Kingma and Ba 2015)."""

    def __init__(self, total_steps: int) -> None:
        self._keep = 1 - 1 / max(1.0, total_steps / SMOOTHED_OVER)
        self._average = self._weight = 0.0

    def add(self, value: float) -> float:
        """The average with one more value."""
        self._average = self._keep * self._average + (1 - self._keep) * value
        self._weight = self._keep * self._weight + 1 - self._keep
        return self._average / self._weight


def cells(record: Mapping[str, Any], loss: float, data_share: float, seconds_left: float) -> list[str]:
    """The numbers of a step; `loss` is smoothed, and `data_share` the part of the time that waited for data."""
    numbers = [
        f"loss {loss:.4f}",
        f"lr {record['train/lr']:.2e}",
        *_number(record, "train/gradient_norm", "norm {:.2f}"),
        f"{count(float(record['train/tokens_per_second']))} tokens/s",
        *_number(record, "train/mfu", "MFU {:.1%}"),
        *_number(record, "memory/peak_gib", "{:.2f} GiB"),
        *_number(record, "epoch", "epoch {:.2f}"),
        f"data {data_share:.0%}",
    ]
    return [*numbers, f"{clock(seconds_left)} left"]


def _number(record: Mapping[str, Any], key: str, form: str) -> list[str]:
    return [form.format(record[key])] if key in record else []


def joined(texts: Sequence[str], width: int | None, indent: str = "    ") -> list[str]:
    """Cells in one line, or in as many as lines of `width` need; all but the first begin with `indent`."""
    lines = [texts[0]]
    for text in texts[1:]:
        longer = f"{lines[-1]}  {text}"
        if width is None or len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(f"{indent}{text}")
    return lines


class EvaluationTable:
    """The losses of evaluations, a line for each; its head comes before the first, and when its columns change."""

    def __init__(self, total_steps: int) -> None:
        self._step_width = max(12, 2 * len(str(total_steps)) + 3)
        self._total = total_steps
        self._splits: tuple[str, ...] = ()

    def lines(self, record: Mapping[str, Any], width: int | None) -> list[str]:
        """What is printed of a record; nothing where it holds no evaluation."""
        prefix, suffix = "evaluation/", "/loss"
        losses = {
            key.removeprefix(prefix).removesuffix(suffix): value
            for key, value in record.items()
            if key.startswith(prefix) and key.endswith(suffix)
        }
        if not losses:
            return []
        space = ((width or 110) - self._step_width) // len(losses) - 2
        names = short_names(tuple(losses), max(6, space))
        widths = [max(7, len(name)) for name in names]
        row = f"{record['step']}/{self._total}".rjust(self._step_width)
        row += "".join(f"  {value:{size}.4f}" for value, size in zip(losses.values(), widths, strict=True))
        head = "loss at step".rjust(self._step_width)
        head += "".join(f"  {name:>{size}}" for name, size in zip(names, widths, strict=True))
        is_new, self._splits = tuple(losses) != self._splits, tuple(losses)
        return [head, row] if is_new else [row]


def short_names(names: Sequence[str], most: int) -> list[str]:
    """Names of at most so many characters: without the words that all begin with where they are too long."""
    if len(names) > 1 and max(map(len, names)) > most:
        parts = [name.split("_") for name in names]
        while all(len(part) > 1 for part in parts) and len({part[0] for part in parts}) == 1:
            parts = [part[1:] for part in parts]
        names = ["_".join(part) for part in parts]
    return [name if len(name) <= most else f"{name[: most - 1]}~" for name in names]
