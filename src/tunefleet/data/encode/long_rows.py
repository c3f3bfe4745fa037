"""Long rows: a conversation that is longer than a sequence is cut, split into several parts, or left out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tunefleet.config.data import LongRows

_TAIL = 8  # at most one in so many tokens of a part is the end of an answer whose middle was left out

Tokens = NDArray[np.int32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Encoded:
    """A conversation, or a part of it: token ids and the loss mask (true: in the loss), both of shape [length].

    `truncated`: tokens were cut off; `split`: the first of several parts; `too_long`: left out, and empty.
    `cuts`: where something was cut off, as pairs (tokens kept before it, tokens that are gone).
    """

    tokens: Tokens
    loss_mask: Mask
    truncated: bool
    split: bool = False
    too_long: bool = False
    cuts: tuple[tuple[int, int], ...] = ()

    @property
    def has_targets(self) -> bool:
        """Whether any token is in the loss."""
        return bool(self.loss_mask.any())


def fit(tokens: Tokens, loss_mask: Mask, is_text: bool, longest: int, long_rows: LongRows) -> list[Encoded]:
    """Parts of at most `longest` tokens. Plain text is always split; where none has targets, one stands for them.

    The first token of a part is never in the loss: nothing stands before it that could predict it. This is decided
    here, once; whoever reads a loss mask may take it as it is.
    """
    if len(tokens) <= longest:
        return [_part(tokens, loss_mask)]
    if is_text or long_rows is LongRows.SPLIT:
        return _split(tokens, loss_mask, longest)
    if long_rows is LongRows.DROP:
        return [Encoded(tokens[:0], loss_mask[:0], truncated=False, too_long=True, cuts=((0, len(tokens)),))]
    return [_truncated(tokens, loss_mask, longest)]


def _part(tokens: Tokens, loss_mask: Mask, cuts: tuple[tuple[int, int], ...] = ()) -> Encoded:
    predicted = loss_mask.copy()
    predicted[:1] = False
    return Encoded(tokens, predicted, truncated=bool(cuts), cuts=cuts)


def _split(tokens: Tokens, loss_mask: Mask, longest: int) -> list[Encoded]:
    """Parts one behind the other, those without targets left out.

    A part begins with the last token of the part before it, so that every token is predicted from something, once.
    """
    slices = [slice(i, i + longest) for i in range(0, len(tokens) - 1, max(1, longest - 1))]
    parts = [_part(tokens[s], loss_mask[s]) for s in slices]
    with_targets = [part for part in parts if part.has_targets] or parts[:1]
    return [replace(part, split=number == 0) for number, part in enumerate(with_targets)]


def _truncated(tokens: Tokens, loss_mask: Mask, longest: int) -> Encoded:
    """The beginning. An answer that does not fit keeps its end, so that stopping is trained where an answer ends.

    What goes is the answer's middle. The first token behind the gap is out of the loss: what it follows is gone.
    """
    tail = _tail(loss_mask, longest)
    if not tail:
        return _part(tokens[:longest], loss_mask[:longest], cuts=((longest, len(tokens) - longest),))
    end = longest + _run(loss_mask[longest:])
    positions = np.r_[0 : longest - tail, end - tail : end]
    mask = loss_mask[positions]
    mask[longest - tail] = False
    cuts = [(longest - tail, end - longest), (longest, len(tokens) - end)]
    return _part(tokens[positions], mask, cuts=tuple((position, length) for position, length in cuts if length))


def _tail(loss_mask: Mask, longest: int) -> int:
    """How many tokens of the end of the answer at `longest` are kept; none where there is none, or hardly begun."""
    begun = _run(loss_mask[:longest][::-1]) if loss_mask[longest] else 0
    return max(2, min(begun // 2, longest // _TAIL)) if begun > 2 else 0


def _run(loss_mask: Mask) -> int:
    """How many tokens from the first one on are in the loss, without a break."""
    return len(loss_mask) if loss_mask.all() else int(np.argmin(loss_mask))
