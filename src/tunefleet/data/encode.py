"""Which tokens learn: turns rendered conversations into token ids and a loss mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunefleet.config.data import TrainOn
from tunefleet.data.conversation import Conversation
from tunefleet.data.template import ChatTemplate, Rendered
from tunefleet.data.turn import end_of_turn


@dataclass(frozen=True)
class Encoded:
    """One conversation: token ids (int32) and whether each is learnt (bool), both of shape [length]."""

    tokens: NDArray[np.int32]
    learns: NDArray[np.bool_]
    truncated: bool


Pair = tuple[Conversation, Encoded]


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
    return [encoded for _, encoded in in_pairs(conversations, template, tokenizer, train_on, longest)]


def in_pairs(
    conversations: Sequence[Conversation],
    template: ChatTemplate,
    tokenizer: Any,
    train_on: TrainOn,
    longest: int,
) -> list[Pair]:
    """As `encode`, each with the conversation that it is, or that it is a piece of."""
    if not conversations:
        return []
    rendered = _without_what_follows(conversations, template, tokenizer, train_on)
    batch = tokenizer(
        [r.text for r in rendered],
        add_special_tokens=False,  # the template has written them
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=False,
    )
    found = zip(conversations, rendered, batch["input_ids"], batch["offset_mapping"], strict=True)
    return [
        (conversation, _encoded(text, ids[part], offsets[part], longest))
        for conversation, text, ids, offsets in found
        for part in (_pieces(len(ids), longest) if conversation.is_text else [slice(None)])
    ]


def _pieces(length: int, longest: int) -> list[slice]:
    """Parts of a plain text, none of them a single token, which would have nothing to learn."""
    return [slice(i, i + longest) for i in range(0, max(1, length - 1), longest)]


def _without_what_follows(
    conversations: Sequence[Conversation], template: ChatTemplate, tokenizer: Any, train_on: TrainOn
) -> list[Rendered]:
    """Answers end with the token at which generation stops: a line break behind it is never generated."""
    rendered = [template.render(conversation, train_on) for conversation in conversations]
    if train_on is TrainOn.ALL:
        return rendered
    end = end_of_turn(template, tokenizer)
    return [
        r if talk.is_text else Rendered(r.text, tuple((a, end.of(r.text, a, b)) for a, b in r.answers))
        for talk, r in zip(conversations, rendered, strict=True)
    ]


def _encoded(text: Rendered, ids: list[int], offsets: list[tuple[int, int]], longest: int) -> Encoded:
    tokens = np.asarray(ids[:longest], dtype=np.int32)
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
