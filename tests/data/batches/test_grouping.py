"""Do rows of similar length come together, without changing what a step trains or who reads what?"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.shared import dataset_of
from tunefleet.config.data import Grouping
from tunefleet.data.batches.grouping import sequence_lengths
from tunefleet.data.batches.order import Order, OrderedBatches
from tunefleet.plan.processes.batch import Batch

GROUPED = [Grouping.STEP, Grouping.WINDOW]
SPLITS = [Batch(1, 12, 1), Batch(2, 6, 1), Batch(12, 1, 1), Batch(1, 3, 4), Batch(2, 2, 3), Batch(3, 1, 4)]


def lengths(rows: int, seed: int = 0) -> NDArray[np.int64]:
    """Skewed, as those of conversations."""
    return np.maximum(np.random.default_rng(seed).lognormal(4, 0.7, rows).astype(np.int64), 2)


def test_lengths_of_packed_rows() -> None:
    data = dataset_of([([1] * n, [True] * n) for n in (3, 2, 4, 5)], sequences=[[2, 0], [1], [3]])
    assert sequence_lengths(data).tolist() == [7, 2, 5]


@pytest.mark.parametrize("grouping", list(Grouping))
@pytest.mark.parametrize("step", [1, 2, 8, 13, 64, 500])
@pytest.mark.parametrize("rows", [1, 7, 130, 401])
def test_every_epoch_holds_every_row_once(grouping: Grouping, step: int, rows: int) -> None:
    """Steps that cross the end of an epoch hold rows of both; sorting within them moves rows over that end."""
    order = Order(lengths(rows), 3, step, grouping)
    steps = -(-3 * rows // step)
    taken = order.sequences(0, steps * step)
    counts = Counter(taken)
    assert set(counts) == set(range(rows))
    extra = steps * step - 3 * rows
    assert all(3 <= times <= 3 + -(-extra // rows) for times in counts.values())
    inside = [
        [order.sequences(i * step, step) for i in range(-(-e * rows // step), (e + 1) * rows // step)] for e in range(3)
    ]
    for epoch in inside:  # steps that lie within an epoch
        assert max(Counter(row for one in epoch for row in one).values(), default=1) == 1


@pytest.mark.parametrize("grouping", GROUPED)
@pytest.mark.parametrize("start", [0, 1, 15, 16, 190, 201, 399])
def test_a_grouped_order_is_a_pure_function_of_the_position(grouping: Grouping, start: int) -> None:
    def order() -> Order:
        return Order(lengths(101), 5, 16, grouping)

    complete = order().sequences(0, 500)
    assert order().sequences(start, 40) == complete[start : start + 40]
    walked = order()
    walked.sequences(450, 3)
    assert walked.sequences(start, 40) == complete[start : start + 40]


def test_sorting_within_steps_trains_the_same_rows_at_every_step() -> None:
    plain, grouped = (Order(lengths(300), 1, 24, grouping) for grouping in (Grouping.NEVER, Grouping.STEP))
    for step in range(40):
        assert sorted(plain.sequences(step * 24, 24)) == sorted(grouped.sequences(step * 24, 24))
    assert plain.sequences(0, 300) != grouped.sequences(0, 300)


@pytest.mark.parametrize("grouping", list(Grouping))
@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_the_rows_of_a_step_do_not_depend_on_the_split(split: Batch, grouping: Grouping) -> None:
    sizes = lengths(50)
    data = dataset_of([([r + 1] * n, [True] * n) for r, n in enumerate(sizes)])
    order = Order(sizes, 2, 12, grouping)
    ranks = [
        OrderedBatches(data, split, number, seed=2, pad=0, packed=False, grouping=grouping)
        for number in range(split.data_parallel)
    ]
    for step in range(10):  # more than two epochs
        shares = [[int(row[0]) - 1 for batch in r.take(split.accumulation) for row in batch.tokens] for r in ranks]
        assert Counter(row for share in shares for row in share) == Counter(order.sequences(step * 12, 12))
        assert {len(share) for share in shares} == {12 // split.data_parallel}
        assert {r.position for r in ranks} == {(step + 1) * 12}


def test_ranks_wait_less_for_each_other() -> None:
    """A step takes as long as its slowest rank; where ranks meet in every micro-batch, as the slowest of each."""
    data = dataset_of([([1] * n, [True] * n) for n in lengths(3000)])

    def waits(grouping: Grouping) -> tuple[float, float, float]:
        ranks = [
            OrderedBatches(data, Batch(4, 4, 4), r, seed=0, pad=0, packed=False, grouping=grouping) for r in range(4)
        ]
        widths = np.asarray([[b.tokens.shape[1] for b in rank.take(4 * 40)] for rank in ranks])
        steps = widths.reshape(4, 40, 4)
        complete = steps.sum(axis=2)
        return float(complete.max(axis=0).sum()), float(steps.max(axis=0).sum()), float(complete.mean(axis=0).sum())

    random, step, window = (waits(grouping) for grouping in (Grouping.NEVER, Grouping.STEP, Grouping.WINDOW))
    assert step[0] < random[0] * 0.7
    assert step[1] < random[1] * 0.7
    assert window[0] < step[0]
    assert window[0] < window[2] * 1.1
    assert step[0] < step[1] * 0.95  # control: without the turns of the ranks these are equal


def test_padding_shrinks() -> None:
    actual = {grouping: Order(lengths(5000), 0, 64, grouping).padding(4) for grouping in Grouping}
    assert actual[Grouping.NEVER] > 0.35
    assert actual[Grouping.STEP] < actual[Grouping.NEVER] / 4
    assert actual[Grouping.WINDOW] < 0.02
    sizes = lengths(5000)
    order = Order(sizes, 0, 64, Grouping.STEP)
    by_hand = [order.sequences(at, 4) for at in range(0, 4992, 4)]
    padded = sum(4 * max(sizes[rows]) for rows in by_hand)
    assert actual[Grouping.STEP] == pytest.approx(1 - sum(int(sizes[rows].sum()) for rows in by_hand) / padded)


@pytest.mark.parametrize("grouping", list(Grouping))
def test_the_longest_rows_come_first(grouping: Grouping) -> None:
    """A run that does not fit fails at its first step; at its second where optimizer states come with the first."""
    sizes = lengths(1000)
    order = Order(sizes, 0, 16, grouping)
    first, second = (max(sizes[order.sequences(at, 16)]) for at in (0, 16))
    assert first == max(sizes)
    middle = [max(sizes[order.sequences(at, 16)]) for at in range(32, 992, 16)]
    assert second >= max(middle)
    repeated = [max(sizes[order.sequences(at, 16)]) for at in range(1008, 1040, 16)]
    assert repeated != [first, second]  # later epochs are random


def test_windows_mix_lengths_over_the_epoch_and_neighbours_change() -> None:
    """Steps come in no order of their lengths, and the next epoch puts other rows together."""
    sizes = lengths(6400)
    order = Order(sizes, 0, 16, Grouping.WINDOW)
    means = np.asarray([sizes[order.sequences(at, 16)].mean() for at in range(32, 6400, 16)])
    following = np.corrcoef(means[:-1], means[1:])[0, 1]
    assert abs(following) < 0.15  # 398 steps: three standard deviations of chance
    steps = [{frozenset(order.sequences(e * 6400 + at, 16)) for at in range(0, 6400, 16)} for e in range(2)]
    assert not steps[0] & steps[1]
    pairs = [{pair for step in epoch for pair in pairwise(sorted(step))} for epoch in steps]
    assert len(pairs[0] & pairs[1]) < len(pairs[0]) / 20


@pytest.mark.parametrize("grouping", list(Grouping))
def test_seeds_and_epochs_differ(grouping: Grouping) -> None:
    taken = [Order(lengths(200), seed, 8, grouping).sequences(200 * epoch, 200) for seed in (0, 1) for epoch in (0, 1)]
    assert all(one != other for i, one in enumerate(taken) for other in taken[:i])
