"""Does every part of the gradient count once in its norm, wherever it lies?"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from tunefleet.engine.grad_clipping import clip_global_norm
from tunefleet.plan.processes.layout import Layout


class Peers:
    """A group of four processes that all hold the same: its sums are four times the first one's."""

    size = 4

    def total(self, numbers: Sequence[float]) -> list[float]:
        return [self.size * number for number in numbers]


def weight(gradient: float, **marks: bool) -> nn.Parameter:
    made = nn.Parameter(torch.zeros(1))
    made.grad = torch.tensor([gradient])
    for name, value in marks.items():
        setattr(made, name, value)
    return made


def weights() -> list[nn.Parameter]:
    return [
        weight(1.0, tensor_model_parallel=True),
        weight(2.0),
        weight(7.0, ds_pipe_replicated=True),
        nn.Parameter(torch.zeros(1)),  # frozen: without a gradient
    ]


@pytest.mark.parametrize(
    ("degrees", "square"),
    [
        ({"tensor": 2, "pipeline": 2}, 4 * (1 + 4 / 2)),  # two peers hold the 2 alike, on each of two stages
        ({"tensor": 2}, 4 * (1 + 4 / 2) / 2),  # two copies
        ({"pipeline": 4}, 4 * (1 + 4)),
    ],
)
def test_parts_count_each_and_what_is_alike_once(degrees: dict[str, int], square: float) -> None:
    degree = degrees.get("tensor", 1) * degrees.get("pipeline", 1)
    layout = Layout(4, 4 // degree, 4, "cpu", **degrees)
    held = weights()
    norm = clip_global_norm(held, 1.0, layout, Peers())  # type: ignore[arg-type]
    assert norm == pytest.approx(square**0.5)
    assert [float(one.grad) for one in held[:3]] == pytest.approx([g / norm for g in (1.0, 2.0, 7.0)], rel=1e-4)  # type: ignore[arg-type]


def test_a_process_that_holds_all_asks_nobody() -> None:
    held = [weight(3.0), weight(4.0)]
    assert clip_global_norm(held, None, Layout(4, 4, 4, "cpu"), Peers()) == pytest.approx(5.0)  # type: ignore[arg-type]
    assert [float(one.grad) for one in held] == [3.0, 4.0]  # type: ignore[arg-type]
