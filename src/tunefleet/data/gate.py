"""May these rows be trained on: refuses what would train without a word and learn nothing, or the wrong thing."""

from __future__ import annotations

from collections.abc import Iterator

from tunefleet.base.errors import DataError
from tunefleet.config.data import DataConfig, LongRows
from tunefleet.data.seen import File, Seen, listed
from tunefleet.data.tally import Tally


def expect_learnable(seen: Seen, tally: Tally, config: DataConfig, longest: int) -> None:
    """Lets training rows through. Raises `DataError` with every complaint and places as file:line.

    A file must hold something to learn within `longest` tokens; some answer must end with a token at which
    generation stops; not more than `config.max_truncated` of the rows may be cut, or left out for their length; no
    placeholder may stand in more than `config.max_unfilled` of a file's rows.
    """
    complaints = [
        *(c for number, file in enumerate(seen.files) for c in _of_file(file, number, tally, config, longest)),
        *_never_stops(seen, tally, longest),
        *_too_long(seen, tally, config, longest),
    ]
    if complaints:
        raise DataError(*complaints)


def _of_file(file: File, number: int, tally: Tally, config: DataConfig, longest: int) -> Iterator[str]:
    if tally.rows[number] and not tally.kept[number]:
        yield (
            f"{file.name}: no row has a token to learn within train.sequence_length={longest} "
            f"({listed(file.places('read'))}). Make it longer, or look at the rows: tunefleet data show."
        )
    for word, found in file.placeholders.unfilled(config.max_unfilled).items():
        yield (
            f"{file.name}: {word} was left unfilled in {found.count:,} of {file.placeholders.conversations:,} rows "
            f"({listed(found.places)}). Fill it in, or allow it with data.max_unfilled=1."
        )


def _never_stops(seen: Seen, tally: Tally, longest: int) -> Iterator[str]:
    if tally.kept.any() and not tally.stops.any():
        yield (
            f"data: no answer's end is learnt in {tally.kept.sum():,} rows ({listed(seen.places('learnt'))}), so the "
            f"model would never stop. Make train.sequence_length={longest} longer, or choose a data.template that ends "
            "answers with {{ eos_token }}."
        )


def _too_long(seen: Seen, tally: Tally, config: DataConfig, longest: int) -> Iterator[str]:
    long, rows = int((tally.truncated + tally.too_long).sum()), int(tally.rows.sum())
    if long > config.max_truncated * rows:
        fate = "left out" if config.long_rows is LongRows.DROP else "cut"
        yield (
            f"data.max_truncated: {long:,} of {rows:,} rows ({long / rows:.1%}) are longer than "
            f"train.sequence_length={longest} and would be {fate} ({listed(seen.places('long'))}); allowed are "
            f"{config.max_truncated:.1%}. Make it longer, allow more, or split them with data.long_rows=split."
        )
