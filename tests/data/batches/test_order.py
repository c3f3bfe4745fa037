"""Does every split of a batch over micro-batches and ranks read the same rows, and can it go on anywhere?"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tests.plan.test_horizon import planned
from tests.shared import dataset_of
from tunefleet.config.data import Grouping
from tunefleet.contracts import MicroBatch
from tunefleet.data.batches.order import Order, OrderedBatches, in_order
from tunefleet.data.store.dataset import Dataset
from tunefleet.plan.horizon import horizon
from tunefleet.plan.processes.batch import Batch

PAD = 0
ROWS = 11


def data(rows: int = ROWS) -> Dataset:
    """Row r is the tokens [r + 1, r + 1]: its number can be read off."""
    return dataset_of([([r + 1, r + 1], [False, True]) for r in range(rows)])


def rows_of(batches: list[MicroBatch]) -> list[int]:
    return [int(row[0]) - 1 for batch in batches for row in batch.tokens if row[0] != PAD]


def rank(split: Batch, number: int, seed: int = 0, position: int = 0) -> OrderedBatches:
    return OrderedBatches(data(), split, number, seed=seed, pad=PAD, packed=False, position=position)


@pytest.mark.parametrize("rows", [1, 2, 7, 100])
def test_each_epoch_is_a_permutation(rows: int) -> None:
    order = Order(np.ones(rows, dtype=np.int64), seed=3)
    for epoch in range(4):
        assert sorted(order.sequences(epoch * rows, rows)) == list(range(rows))


def test_epochs_and_seeds_differ() -> None:
    first, second = (Order(np.ones(50, dtype=np.int64), seed=0).sequences(epoch * 50, 50) for epoch in (0, 1))
    other_seed = Order(np.ones(50, dtype=np.int64), seed=1).sequences(0, 50)
    assert first != second
    assert first != other_seed
    assert second != other_seed  # seed + epoch would make them equal
    assert first != list(range(50))


@pytest.mark.parametrize("start", [0, 1, 10, 11, 12, 21, 22, 35])
def test_order_is_a_pure_function_of_the_position(start: int) -> None:
    complete = Order(np.full(ROWS, 2), seed=5).sequences(0, 50)
    assert Order(np.full(ROWS, 2), seed=5).sequences(start, 10) == complete[start : start + 10]
    walked = Order(np.full(ROWS, 2), seed=5)
    walked.sequences(40, 3)
    assert walked.sequences(start, 10) == complete[start : start + 10]


SPLITS = [Batch(1, 4, 1), Batch(2, 2, 1), Batch(4, 1, 1), Batch(1, 1, 4), Batch(2, 1, 2), Batch(1, 2, 2)]


@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_every_split_reads_the_same_rows_at_each_step(split: Batch) -> None:
    order = Order(np.full(ROWS, 2), seed=0)
    ranks = [rank(split, number) for number in range(split.data_parallel)]
    for step in range(8):  # almost three epochs of 11 rows, so that steps cross their ends
        sequences = [row for r in ranks for row in rows_of(list(r.take(split.accumulation)))]
        assert Counter(sequences) == Counter(order.sequences(step * 4, 4))
        assert {r.position for r in ranks} == {(step + 1) * 4}


@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_ranks_are_disjoint_within_an_epoch(split: Batch) -> None:
    ranks = [rank(split, number) for number in range(split.data_parallel)]
    sequences = [row for r in ranks for row in rows_of(list(r.take(2 * split.accumulation)))]
    assert len(sequences) == len(set(sequences)) == 8


def test_peers_that_share_a_data_rank_read_the_same() -> None:
    split = Batch(1, 2, 2)
    assert rows_of(list(rank(split, 1).take(4))) == rows_of(list(rank(split, 1).take(4)))


@pytest.mark.parametrize("split", SPLITS, ids=str)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_fresh_object_goes_on_exactly(split: Batch, steps: int) -> None:
    for number in range(split.data_parallel):
        complete = rank(split, number)
        complete.take(steps * split.accumulation)
        resumed = rank(split, number, position=complete.position)
        for _ in range(4):
            assert rows_of(list(resumed.take(split.accumulation))) == rows_of(list(complete.take(split.accumulation)))
        assert resumed.position == complete.position


def test_another_split_goes_on_with_the_same_rows() -> None:
    batches_of_rank = rank(Batch(4, 1, 1), 0)
    batches_of_rank.take(3)
    four = [rank(Batch(1, 1, 4), number, position=batches_of_rank.position) for number in range(4)]
    assert Counter(rows_of(list(batches_of_rank.take(1)))) == Counter(
        row for r in four for row in rows_of(list(r.take(1)))
    )


def test_the_seed_changes_the_rows() -> None:
    assert rows_of(list(rank(Batch(4, 2, 1), 0, seed=0).take(2))) != rows_of(
        list(rank(Batch(4, 2, 1), 0, seed=1).take(2))
    )


def test_take_gives_as_many_micro_batches_as_asked() -> None:
    sequences = rank(Batch(2, 3, 1), 0).take(3)
    assert [tuple(batch.tokens.shape) for batch in sequences] == [(2, 2)] * 3


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [1, 2, 4, 20])
@pytest.mark.parametrize("limit", [None, 1, 5, 11, 50])
def test_in_order_shares_every_row_once(ranks: int, size: int, limit: int | None) -> None:
    shares = [in_order(data(), limit, size, number, ranks, PAD, packed=False) for number in range(ranks)]
    assert len({len(share) for share in shares}) == 1
    rows_taken = [row for share in shares for row in rows_of(share)]
    count = min(ROWS, limit or ROWS)
    assert [row * count // ROWS for row in sorted(rows_taken)] == list(
        range(count)
    )  # one of each of `count` equal parts
    assert all(len(batch.tokens) <= size for share in shares for batch in share)


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_in_order_makes_the_same_batches_for_any_number_of_ranks(ranks: int) -> None:
    separate = [rows_of([batch]) for batch in in_order(data(), None, 3, 0, 1, PAD, packed=False)]
    shares = [in_order(data(), None, 3, number, ranks, PAD, packed=False) for number in range(ranks)]
    batched = [rows_of([batch]) for share in shares for batch in share]
    assert sorted(filter(None, batched)) == sorted(separate)


def test_empty_rows_of_in_order_learn_nothing() -> None:
    last = in_order(data(3), None, 1, 1, 2, PAD, packed=True)[-1]
    assert rows_of([last]) == []
    assert (last.labels == -100).all()


CASES = np.random.default_rng(0).integers((1, 1, 1, 1, 1), (60, 6, 6, 6, 4), (60, 5)).tolist()


@pytest.mark.parametrize(("rows", "micro", "accumulation", "ranks", "epochs"), CASES)
def test_no_rank_runs_out_before_another_and_no_row_is_forgotten(
    rows: int, micro: int, accumulation: int, ranks: int, epochs: int
) -> None:
    """The steps of a run come from all rows: every rank takes as much, whatever divides what."""
    split = Batch(micro, accumulation, ranks)
    steps = horizon(planned(split.total, train={"epochs": epochs}), rows).total
    assert steps == -(-epochs * rows // split.total)
    sharing = [
        OrderedBatches(data(rows), split, number, seed=1, pad=PAD, packed=False, grouping=Grouping.STEP)
        for number in range(ranks)
    ]
    rows_taken: Counter[int] = Counter()
    for _ in range(steps):
        sequences = [r.take(accumulation) for r in sharing]
        assert {(len(share), len(batch.tokens)) for share in sequences for batch in share} == {(accumulation, micro)}
        of_step = [rows_of(list(share)) for share in sequences]
        rows_taken += Counter(row for share in of_step for row in share)
        if split.total <= rows:  # across the end of an epoch a row may come twice
            assert max(Counter(row for share in of_step for row in share).values()) <= 2
    assert set(rows_taken) == set(range(rows))
    assert min(rows_taken.values()) >= epochs
    assert sum(rows_taken.values()) == steps * split.total
