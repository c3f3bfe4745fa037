"""What becomes of a conversation that is longer than a row: cut, split into several, or left out?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunefleet.config.data import LongRows

_TAIL = 8  # at most one in so many tokens of a row is the end of an answer whose middle was left out


@dataclass(frozen=True)
class Encoded:
    """A conversation, or a part of it: token ids (int32) and whether each is learnt (bool), both of shape [length].

    `truncated`: tokens were cut off; `split`: the first of several parts; `too_long`: left out, and empty.
    `cuts`: where something was cut off, as pairs (tokens kept before it, tokens that are gone).
    """

    tokens: NDArray[np.int32]
    learns: NDArray[np.bool_]
    truncated: bool
    split: bool = False
    too_long: bool = False
    cuts: tuple[tuple[int, int], ...] = ()

    @property
    def teaches(self) -> bool:
        """Whether there is anything to learn: a first token is predicted from nothing."""
        return bool(self.learns[1:].any())


def fitted(
    tokens: NDArray[np.int32], learns: NDArray[np.bool_], is_text: bool, longest: int, long_rows: LongRows
) -> list[Encoded]:
    """Parts of at most `longest` tokens. Plain text is always split; where nothing of it learns, one part says so."""
    if len(tokens) <= longest:
        return [Encoded(tokens, learns, truncated=False)]
    if is_text or long_rows is LongRows.SPLIT:
        return _split(tokens, learns, longest)
    if long_rows is LongRows.DROP:
        return [Encoded(tokens[:0], learns[:0], truncated=False, too_long=True, cuts=((0, len(tokens)),))]
    return [_truncated(tokens, learns, longest)]


def _split(tokens: NDArray[np.int32], learns: NDArray[np.bool_], longest: int) -> list[Encoded]:
    """Parts one behind the other, those without anything to learn left out.

    A part begins with the last token of the part before it, so that every token is predicted from something, once.
    """
    slices = [slice(i, i + longest) for i in range(0, len(tokens) - 1, max(1, longest - 1))]
    parts = [Encoded(tokens[s], learns[s], truncated=False) for s in slices]
    teaching = [part for part in parts if part.teaches] or parts[:1]
    return [Encoded(p.tokens, p.learns, truncated=False, split=number == 0) for number, p in enumerate(teaching)]


def _truncated(tokens: NDArray[np.int32], learns: NDArray[np.bool_], longest: int) -> Encoded:
    """The beginning. An answer that does not fit keeps its end, so that stopping is learnt where an answer ends.

    What goes is the answer's middle. The first token behind the gap does not learn: what it follows is gone.
    """
    tail = _tail(learns, longest)
    if not tail:
        return Encoded(tokens[:longest], learns[:longest], truncated=True, cuts=((longest, len(tokens) - longest),))
    end = longest + _run(learns[longest:])
    kept = np.r_[0 : longest - tail, end - tail : end]
    cut = learns[kept]
    cut[longest - tail] = False
    cuts = [(longest - tail, end - longest), (longest, len(tokens) - end)]
    return Encoded(tokens[kept], cut, truncated=True, cuts=tuple(one for one in cuts if one[1]))


def _tail(learns: NDArray[np.bool_], longest: int) -> int:
    """How many tokens of the end of the answer at `longest` are kept; none where there is none, or hardly begun."""
    begun = _run(learns[:longest][::-1]) if learns[longest] else 0
    return max(2, min(begun // 2, longest // _TAIL)) if begun > 2 else 0


def _run(learns: NDArray[np.bool_]) -> int:
    """How many tokens learn from the first one on, without a break."""
    return len(learns) if learns.all() else int(np.argmin(learns))
