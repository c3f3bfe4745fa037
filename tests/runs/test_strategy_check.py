"""Is every way to differ from the plain loop a difference?"""

from __future__ import annotations

import math

import pytest

from tunefleet.config.train import Precision
from tunefleet.runs.strategy_check import compare
from tunefleet.runs.trajectory import Trajectory

PLAIN: Trajectory = {"losses": [4.0, 3.0], "norms": [2.0, 1.0], "weights": [0.5, -2.0, 0.0]}


def wrong(**changes: list[float]) -> list[str]:
    comparisons = compare("opt", PLAIN, {**PLAIN, **changes}, Precision.FP32)
    return [comparison.quantity for comparison in comparisons if not comparison.is_within_tolerance]


@pytest.mark.parametrize(
    ("changes", "quantities"),
    [
        ({}, []),
        ({"losses": [4.0, 3.0 + 2e-5]}, []),
        ({"losses": [4.0, 3.0 + 4e-5]}, ["loss"]),
        ({"losses": [4.0, math.nan]}, ["loss"]),
        ({"norms": [2.0, 1.0001]}, ["gradient norm"]),
        ({"weights": [0.5, -2.0, 1e-4]}, []),
        ({"weights": [0.5, -2.0, 3e-4]}, ["weights"]),
        ({"weights": [0.5, -2.0]}, ["weights"]),
        ({"weights": [math.nan, -2.0, 0.0]}, ["weights"]),
    ],
)
def test_what_differs_is_named(changes: dict[str, list[float]], quantities: list[str]) -> None:
    assert wrong(**changes) == quantities
