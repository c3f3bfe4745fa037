"""Do a few places stand for all of them, whatever the order?"""

from __future__ import annotations

from collections import Counter

import pytest

from tunefleet.base.even_sample import evenly_spaced

LABELS, EACH = 150, 30


@pytest.mark.parametrize(("total", "limit"), [(10, 3), (7, 7), (5, 9), (1, 1), (4500, 200), (0, 3), (9, 8)])
def test_as_many_as_there_are_in_order_and_each_once(total: int, limit: int) -> None:
    places = evenly_spaced(total, limit)
    assert len(places) == min(total, limit)
    assert places == sorted(set(places)) == evenly_spaced(total, limit)
    assert all(0 <= place < total for place in places)


def test_a_sorted_set_gives_every_label_its_share() -> None:
    """CLINC150's validation rows come label by label: the first 300 are of ten labels."""
    labels = [row // EACH for row in range(LABELS * EACH)]
    assert Counter(labels[place] for place in evenly_spaced(len(labels), 300)) == dict.fromkeys(range(LABELS), 2)
    assert len(set(labels[:300])) == 10  # the control


def test_a_set_whose_labels_alternate_is_not_met_in_step() -> None:
    labels = [row % LABELS for row in range(LABELS * EACH)]
    places = evenly_spaced(len(labels), EACH)  # a part is as long as the labels' period
    assert len({labels[place] for place in places}) > EACH / 2
    assert len({labels[place] for place in range(0, len(labels), LABELS)}) == 1  # the control: every 150th row


def test_these_rows_for_ever() -> None:
    """A change would move everybody's measured figures: CRC-32 of "0", "1" ... modulo the part's length, by hand."""
    crc = [0xF4DBDF21, 0x83DCEFB7, 0x1AD5BE0D]
    assert evenly_spaced(300, 3) == [crc[0] % 100, 100 + crc[1] % 100, 200 + crc[2] % 100]


def test_none_are_asked_for() -> None:
    """`evaluation.generate_rows=0`."""
    assert evenly_spaced(10, 0) == []
    assert evenly_spaced(0, 0) == []
