"""Does micro-batch x accumulation x data-parallel always make the global batch?"""

from __future__ import annotations

import re

import pytest

from tunefleet.base.errors import ConfigError
from tunefleet.config.train import TrainConfig
from tunefleet.plan.processes.batch import Batch, batch


@pytest.mark.parametrize(
    ("micro", "wanted", "ranks", "expected"),
    [
        (4, None, 1, Batch(4, 1, 1)),
        (4, None, 8, Batch(4, 1, 8)),
        (4, 32, 1, Batch(4, 8, 1)),
        (4, 32, 8, Batch(4, 1, 8)),
        (1, 6, 3, Batch(1, 2, 3)),
    ],
)
def test_split(micro: int, wanted: int | None, ranks: int, expected: Batch) -> None:
    split = batch(TrainConfig(micro_batch=micro, global_batch=wanted), ranks)
    assert split == expected
    assert split.total == (wanted or micro * ranks)


@pytest.mark.parametrize(
    ("wanted", "nearest"), [(30, "24 or 36"), (5, "12"), (13, "12 or 24")], ids=["between", "below", "just above"]
)
def test_a_batch_that_does_not_divide_names_the_nearest_that_do(wanted: int, nearest: str) -> None:
    train = TrainConfig(micro_batch=4, global_batch=wanted)
    with pytest.raises(ConfigError) as caught:
        batch(train, 3)
    message = str(caught.value)
    assert message == (
        f"train.global_batch: {wanted} is not a multiple of train.micro_batch(4) x data-parallel(3) = 12. "
        f"Use {nearest}."
    )
    for advice in map(int, re.findall(r"\d+", nearest)):
        assert batch(TrainConfig(micro_batch=4, global_batch=advice), 3).total == advice


def test_says_where_the_number_comes_from() -> None:
    assert str(Batch(4, 8, 2)) == "64 sequences = 4 micro x 8 accumulation x 2 data-parallel"
