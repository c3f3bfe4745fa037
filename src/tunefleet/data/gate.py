"""May these rows be trained on: refuses what would train without a word and learn nothing, or the wrong thing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import zip_longest

import numpy as np

from tunefleet.base.errors import DataError
from tunefleet.config.data import DataConfig
from tunefleet.data.conversation import Conversation
from tunefleet.data.encode import Encoded, Pair
from tunefleet.data.placeholders import unfilled

Pairs = Sequence[Pair]
_EXAMPLES = 3  # places that a refusal names


def expect_learnable(rows: Pairs, config: DataConfig, longest: int, stops: Sequence[int]) -> None:
    """Lets training rows through. Raises `DataError` with every complaint and places as file:line.

    A file must hold something to learn within `longest` tokens; some answer must end with a token of `stops`; not
    more than `config.max_truncated` of the rows may be cut; no placeholder may stand in more than
    `config.max_unfilled` of a file's rows.
    """
    complaints = [
        *(complaint for file, part in _by_file(rows).items() for complaint in _of_file(file, part, config, longest)),
        *_never_stops(rows, stops, longest),
        *_cut(rows, config.max_truncated, longest),
    ]
    if complaints:
        raise DataError(*complaints)


def learns(encoded: Encoded) -> bool:
    """Whether a row has anything to learn: its first token is predicted from nothing."""
    return bool(encoded.learns[1:].any())


def _of_file(file: str, rows: Pairs, config: DataConfig, longest: int) -> Iterator[str]:
    if not any(learns(encoded) for _, encoded in rows):
        yield (
            f"{file}: no row has a token to learn within train.sequence_length={longest} ({_places(rows)}). "
            "Make it longer, or look at the rows: tunefleet data show."
        )
    talks = [conversation for conversation, _ in rows if not conversation.is_text]
    for word, places in unfilled(talks, config.max_unfilled).items():
        yield (
            f"{file}: {word} was left unfilled in {len(places):,} of {len(talks):,} rows ({_listed(places)}). Fill it "
            "in, or allow it with data.max_unfilled=1."
        )


def _never_stops(rows: Pairs, stops: Sequence[int], longest: int) -> Iterator[str]:
    learnt = [(conversation, encoded) for conversation, encoded in rows if learns(encoded)]
    if learnt and not any(np.isin(encoded.tokens[1:][encoded.learns[1:]], stops).any() for _, encoded in learnt):
        yield (
            f"data: no answer's end is learnt in {len(learnt):,} rows ({_places(learnt)}), so the model would never "
            f"stop. Make train.sequence_length={longest} longer, or choose a data.template that ends answers with "
            "{{ eos_token }}."
        )


def _cut(rows: Pairs, most: float, longest: int) -> Iterator[str]:
    cut = [(conversation, encoded) for conversation, encoded in rows if encoded.truncated]
    if len(cut) > most * len(rows):
        yield (
            f"data.max_truncated: {len(cut):,} of {len(rows):,} rows ({len(cut) / len(rows):.1%}) are longer than "
            f"train.sequence_length={longest} and would be cut ({_places(cut)}); allowed are {most:.1%}. "
            "Make it longer, or allow more."
        )


def _by_file(rows: Pairs) -> dict[str, Pairs]:
    """Rows by the file that they were read from, after the source of a mixture that names it."""
    parts: defaultdict[str, list[Pair]] = defaultdict(list)
    for conversation, encoded in rows:
        parts[_named(conversation, conversation.where.rpartition(":")[0])].append((conversation, encoded))
    return dict(parts)


def _named(conversation: Conversation, place: str) -> str:
    return f"{conversation.source}: {place}" if conversation.source else place


def _places(rows: Pairs) -> str:
    """Of every source the first places before any second one, so that a mixture is told from end to end."""
    by_source: defaultdict[str, list[str]] = defaultdict(list)
    for conversation, _ in rows:
        by_source[conversation.source].append(_named(conversation, conversation.where))
    turns = zip_longest(*by_source.values())
    return _listed([place for turn in turns for place in turn if place])


def _listed(places: Sequence[str]) -> str:
    """The first few; a mixture may hold a row twice."""
    different = list(dict.fromkeys(places))
    return ", ".join([*different[:_EXAMPLES], *(["..."] if len(different) > _EXAMPLES else [])])
