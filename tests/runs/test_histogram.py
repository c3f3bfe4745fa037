"""Does a histogram count every value once, and name the median and the tail?"""

from __future__ import annotations

import numpy as np

from tunefleet.runs.histogram import histogram


def counts(shown: str) -> list[int]:
    """The numbers beside the bars."""
    return [int(line.split("#")[0].split()[3]) for line in shown.splitlines()[:-1]]


def test_every_value_is_in_one_bar() -> None:
    values = np.arange(100)
    assert counts(histogram(values)) == [10] * 10


def test_few_lengths_have_a_bar_each() -> None:
    shown = histogram(np.asarray([0, 1, 1, 2]))
    assert counts(shown) == [1, 2, 1]
    assert [line.count("#") for line in shown.splitlines()[:-1]] == [20, 40, 20]


def test_the_median_and_the_tail_are_named() -> None:
    assert histogram(np.arange(101)).endswith("median 50, 90% up to 90, 99% up to 99")
