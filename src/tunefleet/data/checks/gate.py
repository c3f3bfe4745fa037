"""Gate before training: refuses data without loss tokens or ends, too long ones, and unfilled placeholders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from tunefleet.base.errors import DataError
from tunefleet.config.data import DataConfig, LongRows
from tunefleet.data.checks.file_notes import FileNote, FileNotes, listed
from tunefleet.data.checks.placeholders import Occurrences
from tunefleet.data.encode.stream import EncodedConversation
from tunefleet.data.read.sources import Source
from tunefleet.data.store.tally import Tally

EARLIEST = 1_000
"""Conversations before `Early` refuses: of fewer the end is near, where every complaint comes at once."""


def expect_trainable(notes: FileNotes, tally: Tally, config: DataConfig, longest: int) -> None:
    """Lets training rows through. Raises `DataError` with every complaint and locations as file:line.

    A file must hold loss tokens within `longest` tokens; some answer must end with a token at which
    generation stops; not more than `config.max_truncated` of the rows may be cut, or left out for their length; no
    placeholder may stand in more than `config.max_unfilled` of a file's rows.
    """
    complaints = [
        *(c for number, file in enumerate(notes.files) for c in _of_file(file, number, tally, config, longest)),
        *_never_stops(notes, tally, longest),
        *_too_long(notes, tally, config, longest),
    ]
    if complaints:
        raise DataError(*complaints)


def _of_file(file: FileNote, number: int, tally: Tally, config: DataConfig, longest: int) -> Iterator[str]:
    if tally.parts[number] and not tally.with_targets[number]:
        yield (
            f"{file.name}: no conversation has loss tokens within train.sequence_length={longest} "
            f"({listed(file.locations('read'))}). Make it longer, or look at the rows: tunefleet data show."
        )
    for placeholder, occurrences in file.placeholders.unfilled(config.max_unfilled).items():
        yield _unfilled_complaint(file, placeholder, occurrences, f"{file.placeholders.conversations:,}")


def _unfilled_complaint(file: FileNote, placeholder: str, occurrences: Occurrences, total: str) -> str:
    return (
        f"{file.name}: {placeholder} was left unfilled in {occurrences.count:,} of {total} "
        f"conversations ({listed(occurrences.locations)}). Fill it in, or allow it with data.max_unfilled=1."
    )


def _never_stops(notes: FileNotes, tally: Tally, longest: int) -> Iterator[str]:
    if tally.with_targets.any() and not tally.stops.any():
        yield (
            f"data: no answer's end is in the loss in {tally.with_targets.sum():,} conversations "
            f"({listed(notes.locations('with_targets'))}), so the model would never stop. Make "
            f"train.sequence_length={longest} longer, or choose a data.template that ends "
            "answers with {{ eos_token }}."
        )


def _too_long(notes: FileNotes, tally: Tally, config: DataConfig, longest: int) -> Iterator[str]:
    long, total = int((tally.truncated + tally.too_long).sum()), int(tally.parts.sum())
    if long > config.max_truncated * total:
        yield _long(notes, long, f"{total:,} conversations ({long / total:.1%})", config, longest)


def _long(notes: FileNotes, long: int, total: str, config: DataConfig, longest: int) -> str:
    fate = "left out" if config.long_rows is LongRows.DROP else "cut"
    return (
        f"data.max_truncated: {long:,} of {total} are longer than "
        f"train.sequence_length={longest} and would be {fate} ({listed(notes.locations('long'))}); allowed are "
        f"{config.max_truncated:.1%}. Make it longer, allow more, or split them with data.long_rows=split."
    )


class Early:
    """Refuses a share of the rows of a source as soon as no row that is still to come can make it small enough.

    That is certain where it is too large even of as many rows as the files can hold (`Source.bounds`). What a
    mixture takes of its sources is known at their end, so that only placeholders, which are of a file, are looked at.
    """

    def __init__(self, notes: FileNotes, source: Source, config: DataConfig, longest: int) -> None:
        self._notes = notes
        self._source = source
        self._config = config
        self._longest = longest
        self._conversations = 0
        self._long = 0

    def add(self, conversation: EncodedConversation, file: int) -> None:
        """Looks at a conversation of file number `file`. Raises `DataError`, as the end would, for those so far."""
        self._conversations += 1
        self._long += any(part.truncated or part.too_long for part in conversation.parts)
        if self._conversations >= EARLIEST:
            complaints = [*self._unfilled(self._notes.files[file]), *self._too_long()]
            if complaints:
                raise DataError(*complaints)

    def _too_long(self) -> Iterator[str]:
        """Each conversation is one row: none of them is split where some are cut or left out."""
        most = self._config.max_truncated
        if self._config.mix or self._long <= most * self._conversations:
            return
        if self._all is not None and self._long > most * self._all:
            share = f"{self._long / self._conversations:.1%}"
            total = f"{self._conversations:,} conversations ({share}) of at most {self._all:,}"
            yield _long(self._notes, self._long, total, self._config, self._longest)

    def _unfilled(self, file: FileNote) -> Iterator[str]:
        most, placeholders = self._config.max_unfilled, file.placeholders
        if placeholders.most <= most * placeholders.conversations:
            return
        bound = self._of_file(file)
        if bound is not None and placeholders.most > most * bound:
            for placeholder, occurrences in placeholders.unfilled(most, bound).items():
                yield _unfilled_complaint(
                    file, placeholder, occurrences, f"{placeholders.conversations:,} of at most {bound:,}"
                )

    def _of_file(self, file: FileNote) -> int | None:
        bound = self._bounds.get(file.path)
        return self._all if bound is None else bound

    @cached_property
    def _all(self) -> int | None:
        counts = [count for count in self._bounds.values() if count is not None]
        most = self._source.config.max_rows
        total = sum(counts) if counts and len(counts) == len(self._bounds) else None
        limits = [count for count in (total, most and most * self._times) if count is not None]
        return min(limits, default=None)

    @cached_property
    def _bounds(self) -> Mapping[str, int | None]:
        """Counted where something is too large of the rows so far, and not before: it reads the files once more."""
        counted = self._source.bounds()
        return {path: count if count is None else count * self._times for path, count in counted.items()}

    @property
    def _times(self) -> int:
        """Conversations of a row: one, or one for each direction of a translation."""
        return 2 if self._source.config.instruction_back else 1
