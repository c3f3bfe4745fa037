"""First rows of every source, on trial: read, cleaned, rendered, encoded and verified."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tunefleet.base.errors import ConfigError, DataError
from tunefleet.config.data import DataConfig, OnBadRow
from tunefleet.data import prepare
from tunefleet.data.checks.verify import verify_uncut
from tunefleet.data.clean.steps import Cleaning
from tunefleet.data.encode.loss_mask import Encoder
from tunefleet.data.encode.stream import encoded
from tunefleet.data.encode.template import ChatTemplate
from tunefleet.data.formats import collect
from tunefleet.data.formats.conversation import Conversation
from tunefleet.data.read import select_sources
from tunefleet.data.read.bad_rows import BadRows
from tunefleet.data.read.sources import Source

_ROWS = 32  # of each source


def complaints(config: DataConfig, tokenizer: Any, longest: int) -> list[str]:
    """What is wrong with the template, or with the first rows of each source: the first mistake of each.

    Nothing is refused that training would take: rows that may be left out are, and no share of rows is counted.
    """
    try:
        chat = prepare.chat_template(config, tokenizer)
        training, validation = select_sources.training(config), select_sources.validation(config)
    except (ConfigError, DataError) as error:
        return list(error.complaints)
    trial = _Trial(config, chat, tokenizer, longest)
    by_source = [trial.complaints(source, trains=True) for source in training]
    by_source += [trial.complaints(source, trains=False) for source in validation]
    return [complaint for complaints in by_source for complaint in complaints]


@dataclass(frozen=True)
class _Trial:
    config: DataConfig
    chat: ChatTemplate
    tokenizer: Any
    longest: int

    def complaints(self, source: Source, trains: bool) -> Sequence[str]:
        clean = Cleaning(self.config.clean)
        try:
            conversations = list(self._conversations(source, clean.clean if trains else clean.normalise))
            if not conversations and trains and not clean.counts():
                raise DataError(f"{source.config.path}: no rows.")
            verify_uncut(conversations[:1], self.chat, self.tokenizer, self.config.train_on)  # training looks at it too
        except (ConfigError, DataError) as error:
            return error.complaints
        return []

    def _conversations(
        self, source: Source, clean: Callable[[list[Conversation]], list[Conversation]]
    ) -> Iterator[Conversation]:
        data = self.config
        encoder = Encoder(self.chat, self.tokenizer, data.train_on, self.longest, data.long_rows)
        bad = _LeftOut(data.max_bad_rows) if data.on_bad_row is OnBadRow.SKIP else BadRows()
        for row in encoded(collect.beginnings(source, _ROWS), clean, bad, encoder):
            yield from (encoded_conversation.conversation for encoded_conversation in row)


class _LeftOut(BadRows):
    """Bad rows that may be left out: counted, and written down by whoever trains."""

    def __init__(self, cap: int) -> None:
        super().__init__()
        self._most = cap
        self._number = 0

    def add(self, error: DataError) -> None:
        """Counts it. Raises `DataError` where they are too many."""
        self._number += 1
        if self._number > self._most:
            raise DataError(f"more than data.max_bad_rows={self._most} bad rows. The last: {error}")
