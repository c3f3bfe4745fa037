"""Does a micro-batch hold its rows exactly: labels within a conversation, positions, segments, padding?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.masking_utils import find_packed_sequence_indices

from tests.shared import dataset_of
from tunefleet.contracts import IGNORED, MicroBatch
from tunefleet.data.batches.collate import Widths, collate
from tunefleet.data.store.dataset import Dataset

PAD = 99
I = IGNORED  # noqa: E741
CONVERSATIONS = [
    ([10, 11, 12], [False, True, True]),
    ([20, 21], [True, True]),
    ([30, 31, 32, 33], [False, False, False, True]),
]


def packed() -> Dataset:
    return dataset_of(CONVERSATIONS, sequences=[[0, 1], [2]])


def lists(batch: MicroBatch) -> dict[str, list[list[int]] | None]:
    assert batch.label_index is None, "it is made on the way to the device"
    names = ("tokens", "positions", "labels", "segments")
    return {name: None if (t := getattr(batch, name)) is None else t.tolist() for name in names}


def tensors(batch: MicroBatch) -> list[torch.Tensor]:
    return [t for t in vars(batch).values() if t is not None]


def test_a_packed_batch_by_hand() -> None:
    assert lists(collate(packed(), [0, 1], PAD, packed=True)) == {
        "tokens": [[10, 11, 12, 20, 21], [30, 31, 32, 33, PAD]],
        "positions": [[0, 1, 2, 0, 1], [0, 1, 2, 3, 0]],
        "labels": [[11, 12, I, 21, I], [I, I, 33, I, I]],
        "segments": [[1, 1, 1, 2, 2], [1, 1, 1, 1, 0]],
    }


def test_an_unpacked_batch_has_no_segments() -> None:
    assert lists(collate(dataset_of(CONVERSATIONS), [1, 2], PAD, packed=False)) == {
        "tokens": [[20, 21, PAD, PAD], [30, 31, 32, 33]],
        "positions": [[0, 1, 2, 3], [0, 1, 2, 3]],  # padding counts on: see below
        "labels": [[21, I, I, I], [I, I, 33, I]],
        "segments": None,
    }


def test_an_empty_row_is_padding_alone() -> None:
    batch = collate(packed(), [1, -1], PAD, packed=True)
    assert batch.tokens[1].tolist() == [PAD] * 4
    assert batch.labels[1].tolist() == [I] * 4
    assert batch.segments is not None
    assert batch.segments[1].tolist() == [0] * 4


def test_an_empty_row_alone_has_one_token() -> None:
    batch = collate(packed(), [-1], PAD, packed=False)
    assert lists(batch) == {"tokens": [[PAD]], "positions": [[0]], "labels": [[I]], "segments": None}


def test_transformers_takes_no_padded_row_for_a_packed_one() -> None:
    """Or it makes a mask of four dimensions, and flash attention takes none. Positions from 0 are the control."""
    batch = collate(dataset_of(CONVERSATIONS), [1, 2, -1], PAD, packed=False)
    assert find_packed_sequence_indices(batch.positions) is None
    restarted = torch.where(batch.tokens == PAD, 0, batch.positions)
    assert find_packed_sequence_indices(restarted) is not None


@pytest.mark.parametrize(
    ("longest", "most", "width"),
    [(1, 2048, 64), (64, 2048, 64), (65, 2048, 128), (2047, 2048, 2048), (100, 100, 100), (90, 100, 100), (70, 0, 70)],
)
def test_widths_of_a_gpu(longest: int, most: int, width: int) -> None:
    """Never more than a sequence may have: a model may have no more positions."""
    assert Widths(64, most).of(longest) == width
    assert Widths(1, most).of(longest) == longest


@pytest.mark.parametrize("is_packed", [True, False])
def test_a_wider_batch_has_the_same_rows_and_more_padding(is_packed: bool) -> None:
    data = packed() if is_packed else dataset_of(CONVERSATIONS)
    narrow, wide = (collate(data, [0, 1], PAD, is_packed, widths) for widths in (Widths(), Widths(8, 48)))
    width = narrow.tokens.shape[1]
    assert wide.tokens.shape[1] == 8
    for name in ("tokens", "labels") + ("segments",) * is_packed:
        assert torch.equal(getattr(wide, name)[:, :width], getattr(narrow, name))
        assert (getattr(wide, name)[:, width:] == {"tokens": PAD, "labels": I, "segments": 0}[name]).all()
    assert wide.loss_tokens == narrow.loss_tokens


def test_every_tensor_is_int64_and_own_memory() -> None:
    batch = collate(packed(), [0, 1], PAD, packed=True)
    assert all(t.dtype == torch.int64 and t.shape == (2, 5) for t in tensors(batch))
    batch.tokens.zero_()
    assert collate(packed(), [0, 1], PAD, packed=True).tokens.sum() > 0


def test_a_conversation_of_one_token_labels_nothing() -> None:
    data = dataset_of([([10], [True]), ([20], [True])], sequences=[[0, 1]])
    assert (collate(data, [0], PAD, packed=True).labels == I).all()


@pytest.mark.parametrize("seed", range(10))
def test_labels_never_cross_a_boundary(seed: int) -> None:
    """Every token names its conversation and place, so that a label can be traced."""
    draw = np.random.default_rng(seed)
    sizes = draw.integers(1, 9, 12)
    conversations = [([100 * i + j for j in range(n)], draw.random(n) < 0.6) for i, n in enumerate(sizes, 1)]
    data = dataset_of(conversations, sequences=[[0, 1, 2, 3], [4], [5, 6, 7], [8, 9, 10, 11]])
    batch = collate(data, [0, 1, 2, 3], PAD, packed=True)
    here, labels = batch.tokens, batch.labels
    has_label = labels != I
    assert torch.equal(labels[has_label], here[has_label] + 1)
    assert torch.equal(batch.positions[here != PAD], here[here != PAD] % 100)
    assert int(has_label.sum()) == sum(int(learns[1:].sum()) for _, learns in conversations)
    learning = {tokens[j] for tokens, learns in conversations for j in range(1, len(tokens)) if learns[j]}
    assert set(labels[has_label].tolist()) == learning


def test_segments_tell_neighbours_apart() -> None:
    batch = collate(dataset_of(CONVERSATIONS, sequences=[[2, 0, 1]]), [0], PAD, packed=True)
    assert batch.segments is not None
    assert batch.segments.tolist() == [[1, 1, 1, 1, 2, 2, 2, 3, 3]]
