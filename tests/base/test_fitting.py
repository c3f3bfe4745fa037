"""Does a table fit its width, with what matters most, and is it whole where there is none?"""

from __future__ import annotations

import pytest

from tunefleet.base import fitting
from tunefleet.base.fitting import Column

COLUMNS = [
    Column("run", ("demo_opt-tiny_ddp-0268db91", "b")),
    Column("state", ("finished", "checkpointing")),
    Column("step", ("1599/1599", "2/1599"), 2),
    Column("restarts", ("0", "0"), 3),
    Column("differs", ("lr=0.001 weight_decay=0.1 micro_batch=4 seed=5", "lr=0.003"), 1, flexible=True),
    Column("why", ("", "no sign of life for 3m 05s; SLURM says RUNNING"), 1, flexible=True),
]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 132])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = fitting.table(COLUMNS, width).splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) <= width
    assert lines[1].startswith("demo_opt-tiny_ddp-0268db91"[: width - 20])
    assert "finished" in lines[1]


def test_the_more_room_the_more_is_said() -> None:
    assert "step" not in fitting.table(COLUMNS, 60)
    assert "1599/1599" in fitting.table(COLUMNS, 100)
    assert "..." in fitting.table(COLUMNS, 100)


def test_without_a_terminal_everything_is_said_but_empty_columns() -> None:
    shown = fitting.table(COLUMNS, None)
    assert "..." not in shown
    assert shown.splitlines()[0].split() == ["run", "state", "step", "differs", "why"]
    assert all(cell in shown for column in COLUMNS if column.head != "restarts" for cell in column.cells)


@pytest.mark.parametrize("width", range(1, 40))
def test_a_terminal_that_is_too_narrow_ends(width: int) -> None:
    assert max(map(len, fitting.table(COLUMNS, width).splitlines())) <= max(width, 1)


def test_long_values_of_a_card_go_on_below_themselves() -> None:
    values = {"run": "a", "why": "rank 1 failed: " + "word " * 30}
    lines = fitting.card(values, 60).splitlines()
    assert max(map(len, lines)) <= 60
    assert all(line.startswith("     ") for line in lines[2:])
    assert len(lines) > 3
    assert len(fitting.card(values, None).splitlines()) == 2


def test_a_pipe_has_no_width(capsys: pytest.CaptureFixture[str]) -> None:
    assert fitting.terminal_width() is None
