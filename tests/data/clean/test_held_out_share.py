"""Is a share of the rows held out, each row once, as they stream by?"""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from tunefleet.config.data import DataConfig
from tunefleet.data.clean.held_out import HeldOutShare, held_out


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2, 0.3, 0.5, 0.77])
@pytest.mark.parametrize("count", [0, 7, 100, 4321])
def test_the_share_is_held_out_and_every_row_is_somewhere(share: float, count: int) -> None:
    draw = HeldOutShare[int](share)
    trained = list(draw.training(range(count)))
    assert sorted([*trained, *draw.rows]) == list(range(count))
    assert trained == sorted(trained)
    assert abs(len(draw.rows) - share * count) <= 1


def test_it_is_the_same_again_and_drawn_all_over_the_rows() -> None:
    draws = [HeldOutShare[int](0.1) for _ in range(2)]
    for draw in draws:
        assert len(list(draw.training(range(5000)))) == 4500
    assert draws[0].rows == draws[1].rows
    places = [row % 10 for row in draws[0].rows]
    assert all(20 < places.count(place) < 90 for place in range(10))  # 500 draws: 50 each, a deviation of 7


def test_rows_stream_by() -> None:
    read = []

    def rows() -> Iterator[int]:
        for number in range(1000):
            read.append(number)
            yield number

    stream = HeldOutShare[int](0.2).training(rows())
    assert [next(stream) for _ in range(10)][-1] < 20
    assert len(read) < 20


def test_the_settings_choose() -> None:
    drawn = held_out(DataConfig(validation_share=0.25))
    assert len(list(drawn.training(range(100)))) == 75
    counted = held_out(DataConfig(validation_rows=3))
    assert len(list(counted.training(range(100)))) == 97
    assert math.isclose(len(drawn.rows) / 100, 0.25)
