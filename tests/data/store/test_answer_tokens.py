"""Are the answers of a data set those between its prompts, each once and whole?"""

from __future__ import annotations

from tests.shared import dataset_of
from tunefleet.data.store.answer_tokens import answer_tokens

STOP = 2


def masked(*parts: tuple[list[int], bool]) -> tuple[list[int], list[bool]]:
    tokens = [token for part, _ in parts for token in part]
    return tokens, [in_loss for part, in_loss in parts for _ in part]


def test_every_answer_is_there_once_up_to_its_end() -> None:
    data = dataset_of(
        [
            masked(([5, 6], False), ([7, 8, STOP], True)),
            masked(([9], False), ([7, 8, STOP], True)),
            masked(([5], False), ([9, STOP], True), ([6], False), ([4, STOP, 3], True)),
            masked(([5], False), ([7, 7], True)),  # cut off
            masked(([9, 9], True)),  # nor does the next conversation go on with it
            masked(([STOP], True)),
        ]
    )
    assert answer_tokens(data, {STOP}) == {(7, 8, STOP), (9, STOP), (4, STOP)}
