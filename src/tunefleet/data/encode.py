"""Which tokens learn: turns rendered conversations into token ids and a loss mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunefleet.base.errors import DataError
from tunefleet.config.data import TrainOn
from tunefleet.data.conversation import Conversation
from tunefleet.data.template import ChatTemplate, Rendered


@dataclass(frozen=True)
class Encoded:
    """One conversation: token ids (int32) and whether each is learnt (bool), both of shape [length]."""

    tokens: NDArray[np.int32]
    learns: NDArray[np.bool_]
    truncated: bool


def encode(
    conversations: Sequence[Conversation],
    template: ChatTemplate,
    tokenizer: Any,
    train_on: TrainOn,
    longest: int,
) -> list[Encoded]:
    """Encodes conversations, each cut at `longest` tokens; a plain text becomes as many pieces as it needs.

    `tokenizer` is a fast transformers tokenizer. The text is tokenised as a whole and tokens are assigned by
    their characters, so that no token depends on where a turn was cut; a token that begins before an answer
    does not learn.
    """
    if not conversations:
        return []
    rendered = [template.render(conversation) for conversation in conversations]
    batch = tokenizer([r.text for r in rendered], add_special_tokens=False, return_offsets_mapping=True)
    found = zip(conversations, rendered, batch["input_ids"], batch["offset_mapping"], strict=True)
    return [
        _encoded(text, ids[part], offsets[part], train_on, longest)
        for conversation, text, ids, offsets in found
        for part in (_pieces(len(ids), longest) if conversation.is_text else [slice(None)])
    ]


def _pieces(length: int, longest: int) -> list[slice]:
    """Parts of a plain text, none of them a single token, which would have nothing to learn."""
    return [slice(i, i + longest) for i in range(0, max(1, length - 1), longest)]


def _encoded(
    text: Rendered, ids: list[int], offsets: list[tuple[int, int]], train_on: TrainOn, longest: int
) -> Encoded:
    tokens = np.asarray(ids[:longest], dtype=np.int32)
    if train_on is TrainOn.ALL:
        learns = np.ones(len(tokens), dtype=np.bool_)
    else:
        learns = _inside(np.asarray(offsets[:longest], dtype=np.int64).reshape(-1, 2), text.answers)
    return Encoded(tokens, learns, truncated=len(ids) > longest)


def _inside(offsets: NDArray[np.int64], answers: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """A token begins where the last one ended: GPT-NeoX and others trim spaces from the offsets they tell."""
    ends = np.maximum.accumulate(offsets[:, 1])
    starts = np.minimum(offsets[:, 0], np.concatenate([[0], ends[:-1]]))
    learns = np.zeros(len(offsets), dtype=np.bool_)
    for start, end in answers:
        learns |= (starts >= start) & (ends <= end) & (ends > start)
    return learns


def check_boundary(conversation: Conversation, encoded: Encoded, template: ChatTemplate, tokenizer: Any) -> None:
    """Raises `DataError` where the prompt is tokenised differently alone than in front of its answer.

    At inference the prompt stands alone: if its last token merged with the answer in training, the
    model would meet a prompt that it has never seen.
    """
    first_answer = next(i for i, turn in enumerate(conversation.turns) if turn.role == "assistant")
    prompt = template.prompt(conversation.messages[:first_answer], conversation.tools)
    alone = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    if alone[: len(encoded.tokens)] != encoded.tokens[: len(alone)].tolist():
        raise DataError(
            f"{conversation.where}: data.template: the prompt's last token merges with the answer's first "
            f"(the prompt ends with {prompt[-12:]!r}), so training and inference would differ. "
            "End the prompt without a space, and begin the answer with it."
        )
