"""Conversation reader: the rows of a source, whose first decides the format of all, become conversations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from tunefleet.base.errors import ConfigError, DataError
from tunefleet.config.data import Format, SourceConfig
from tunefleet.data.formats import chat, pairs, tasks, weights
from tunefleet.data.formats.conversation import TEXT, Conversation, Turn
from tunefleet.data.formats.keys import CONVERSATIONS, Keys, masks_user
from tunefleet.data.formats.own_format import OwnFormat
from tunefleet.data.formats.recognise_format import UnknownFormat, expect_fit, recognise
from tunefleet.data.formats.tree import tree
from tunefleet.data.read import row_fields
from tunefleet.data.read.source_row import Row

_CHATS: dict[Format, Callable[[Row], tuple[Turn, ...]]] = {
    Format.CHOSEN: chat.chosen_answer,
    Format.MESSAGES: chat.messages,
    Format.SHAREGPT: chat.sharegpt,
    Format.PROMPT_COMPLETION: pairs.prompt_completion,
    Format.ALPACA: pairs.alpaca,
    Format.TREE: tree,
    Format.TEXT: pairs.plain_text,
}
_TASKS = (Format.PARALLEL, Format.LABELLED)


class Reader:
    """Turns the rows of one source into conversations."""

    def __init__(self, source: SourceConfig) -> None:
        self._source = source
        self._own_format = OwnFormat(source.own_format) if source.own_format else None
        self._format: Format | None = None if source.format is Format.AUTO else source.format
        self._labels = tasks.label_names(source)
        self._fitting: set[tuple[str, ...]] = set()  # keys of rows, in their order, that were found to fit
        self._missing_columns = set() if source.target_path else set(source.columns)
        self._unignored = set(source.ignore_columns)
        self._keys = Keys(named_format=source.format is not Format.AUTO)

    def conversations(self, row: Row) -> list[Conversation]:
        """The conversations of `row`: one, or one for each direction of a translation.

        Raises `DataError` naming the row and what is wrong with it; `UnknownFormat` and `ConfigError` where
        the settings do not fit any row of the source.
        """
        if not self._source.target_path:
            row = self._own_format.converted(row) if self._own_format else row
            row = self._named(row)
        format = self._format_of(row)
        is_chat = format in CONVERSATIONS
        tools = chat.tools(row) if is_chat else ()
        conversations = self._turns(format, row)
        self._keys.check(row, format, conversations)
        if is_chat and not (
            weights.in_loss(_row_weights(row), row.location) and weights.is_desirable(row.values, row.location)
        ):
            conversations = [_out_of_loss(turns) for turns in conversations]
        elif masks_user(row.values):
            conversations = [_out_of_loss(turns, "user") for turns in conversations]
        return [_checked(Conversation(turns, row.location, tools)) for turns in conversations]

    @property
    def unread(self) -> Mapping[str, str]:
        """Keys of no meaning here that carry text, each with the place of the first."""
        return self._keys.unread

    def _named(self, row: Row) -> Row:
        """With our names for its columns, and without those that are ignored."""
        self._missing_columns -= {
            name for name in self._missing_columns if row_fields.has(row, self._source.columns[name])
        }
        if self._source.ignore_columns:
            self._unignored -= row.values.keys()
            ignored = self._source.ignore_columns
            row = Row({key: value for key, value in row.values.items() if key not in ignored}, row.location)
        return row_fields.renamed(row, self._source.columns)

    def finish(self) -> None:
        """Raises `ConfigError` for columns that no row had."""
        missing = [
            f"data.columns.{name}: no row has {self._source.columns[name]!r}." for name in sorted(self._missing_columns)
        ]
        missing += [f"data.ignore_columns: no row has {column!r}." for column in sorted(self._unignored)]
        if missing:
            raise ConfigError(*missing)

    def _format_of(self, row: Row) -> Format:
        if self._format is None:
            self._format = recognise(row, self._source.columns)
            self._expect_meant(row, self._format)
            self._check_instruction(self._format)
        elif self._source.format is Format.AUTO and (keys := tuple(row.values)) not in self._fitting:
            expect_fit(row, {*keys, *self._source.columns}, self._format)
            self._fitting.add(keys)
        return self._format

    def _check_instruction(self, format: Format) -> None:
        if format not in _TASKS and (self._source.instruction or self._source.instruction_back):
            raise ConfigError(f"data.instruction: is for parallel and labelled rows; these are {format.value} rows.")

    def _expect_meant(self, row: Row, format: Format) -> None:
        """Texts with a label may be there to be trained on, or to be labelled: only the user can say."""
        source = self._source
        is_task = source.instruction or source.label_names or source.label_file or "label" in source.columns
        if format is Format.LABELLED and not is_task and "slots" not in row.values:
            raise UnknownFormat(
                f"{row.location}: has text and label. Say what is to be trained: data.format=text (the texts, as they "
                "stand) or data.format=labelled (the label of each text)."
            )

    def _turns(self, format: Format, row: Row) -> list[tuple[Turn, ...]]:
        if format is Format.PARALLEL:
            return tasks.parallel(row, self._source)
        if format is Format.LABELLED:
            return tasks.labelled(row, self._source, self._labels)
        return [_CHATS[format](row)]


def _out_of_loss(turns: Iterable[Turn], role: str = "") -> tuple[Turn, ...]:
    """`turns` with those of `role`, or all, out of the loss."""
    return tuple(replace(turn, in_loss=False) if role in ("", turn.role) else turn for turn in turns)


def _row_weights(row: Row) -> dict[str, Any]:
    """The weights that a row gives all its answers; `loss` and `training` are figures about it elsewhere."""
    return {key: row.values.get(key) for key in ("weight", "train")}


def _checked(conversation: Conversation) -> Conversation:
    location = conversation.location
    answers = [(number, turn) for number, turn in enumerate(conversation.turns, 1) if turn.role in ("assistant", TEXT)]
    if not answers:
        raise DataError(f"{location}: no assistant message, so there would be no loss tokens.")
    if conversation.turns[0].role == "assistant":
        raise DataError(
            f"{location}: the conversation begins with an answer. Put what it answers before it, or leave it out."
        )
    for number, turn in answers:
        if not turn.content.strip() and not turn.calls:
            raise DataError(f"{location}: the answer (message {number}) is empty.")
    return conversation
