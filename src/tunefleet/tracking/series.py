"""Series: a metric of metrics.jsonl against steps, tokens and seconds, in as few points as a page can show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]
SMOOTHED_OVER = 30  # a curve is smoothed by a moving average over 1/30 of it


@dataclass(frozen=True)
class Series:
    """Values against steps, tokens and seconds of training."""

    steps: list[int]
    tokens: list[int]
    seconds: list[float]
    values: list[float]


def timed(records: Sequence[Record], seconds: float = 0.0, step: int = 0) -> Iterator[dict[str, Any]]:
    """With `seconds`, those of training up to each record: the pauses between two starts do not count.

    Records of earlier versions have none: one stands for the steps since the one before it, of which it has the last
    one's time. `seconds` and `step` are those of the record before the first.
    """
    for record in records:
        if is_number(record.get("train/seconds")):
            seconds += record["train/seconds"] * (record["step"] - step)
            step = record["step"]
        measured = record.get("seconds")
        yield {**record, "seconds": measured if is_number(measured) else seconds}


def series(records: Sequence[Record], key: str) -> Series:
    """The values of `key` in timed records that all have it."""
    return Series(
        [record["step"] for record in records],
        [record.get("tokens", 0) for record in records],
        [round(record["seconds"], 2) for record in records],
        [rounded(record[key]) for record in records],
    )


def moving_average(values: Sequence[float], window: float) -> list[float]:
    """The exponential moving average over about `window` values, unbiased at its beginning (Kingma and Ba 2015)."""
    keep = 1 - 1 / max(1.0, window)
    smooth, average, weight = [], 0.0, 0.0
    for value in values:
        average, weight = keep * average + (1 - keep) * value, keep * weight + 1 - keep
        smooth.append(average / weight)
    return smooth


def spread_out(total: int, limit: int) -> list[int]:
    """At most `limit` positions of `total`, evenly, the first and the last among them."""
    if total <= limit:
        return list(range(total))
    return [i * (total - 1) // (limit - 1) for i in range(limit)]


def rounded(value: float) -> float:
    """To five digits, which is more than a plot shows."""
    return float(f"{value:.5g}")


def is_number(value: Any) -> bool:
    """Whether it is a finite number, which metrics.jsonl need not hold."""
    return isinstance(value, (int, float)) and value == value and abs(value) != float("inf")
