"""Keys of rows, messages and tool calls: read, refused by name, or named once as not read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunefleet.base.errors import DataError
from tunefleet.config.data import COLUMNS, Format
from tunefleet.data.formats.conversation import Turn
from tunefleet.data.read.source_row import Media, Row

TURN_WEIGHTS = ("weight", "train", "training", "loss", "loss_weight")
"""Spellings of whether a message is in the loss: of OpenAI, axolotl, ms-swift and LLaMA-Factory."""
REASONING = ("reasoning_content", "reasoning", "thinking", "thought")
"""Spellings of the assistant's reasoning before an answer."""
TOOLS = ("tools", "functions")
"""Spellings of the functions that may be called; the second is OpenAI's older one."""
DESIRABLE = ("label", "kto_tag")
"""Spellings of whether an answer is a good example (KTO)."""
CONVERSATIONS = (Format.MESSAGES, Format.SHAREGPT, Format.ALPACA, Format.PROMPT_COMPLETION, Format.CHOSEN)

_MEDIA = "pictures, sound and video are not read"
_MASK = "which tokens are in the loss is written as weight, train, training or loss"
_MISPLACED = "in {format} rows it has no place, and it would be dropped"
_REFUSED_ANYWHERE = {
    **dict.fromkeys(("image", "images", "video", "videos", "audio", "audios", "image_url", "input_audio"), _MEDIA),
    "documents": "documents for a chat template are not read",
    "chat_template": "a template of the row's own is not read; name it in data.template",
    "chat_template_kwargs": "settings of the chat template are not read",
    **dict.fromkeys(("mask", "masked", "loss_mask", "loss_scale", "trainable", "train_detail"), _MASK),
}
_ROW_MEANINGS = frozenset(
    {*_REFUSED_ANYWHERE, "system", "history", *TOOLS, "rejected", "rejected_response", "rejected_messages", "weight"}
    | {"train"}
)
_IDS = {"id", "_id", "uid", "uuid", "idx", "index", "hash", "url", "prompt_id", "conversation_id", "message_id"}
_IDS |= {"parent_id", "created_at", "created_date", "date", "timestamp", "lang", "language", "split"}
_OASST = {"user_id", "message_tree_id", "tree_state", "review_count", "review_result", "deleted", "synthetic"}
_OASST |= {"model_name", "detoxify", "emojis", "labels", "rank", "origin"}


@dataclass(frozen=True)
class KnownKeys:
    """The keys of one level: `read`, `refused` with the reason, and `ids`, which hold no text to train on."""

    read: frozenset[str]
    refused: Mapping[str, str]
    ids: frozenset[str] = frozenset(_IDS)


def _row(format: Format) -> KnownKeys:
    read = {*COLUMNS[format]}
    if format in CONVERSATIONS:
        read |= {"system", "weight", "train", *TOOLS, *DESIRABLE}
    if format is Format.CHOSEN:
        read |= {"rejected", "rejected_response", "rejected_messages"}
    if format is Format.TREE:
        read |= {"prompt", "role", "text", "replies", "rank", "deleted"}
    misplaced = dict.fromkeys(_ROW_MEANINGS, _MISPLACED.format(format=format.value))
    ids = frozenset(_IDS | _OASST if format is Format.TREE else _IDS)
    return KnownKeys(frozenset(read), {**misplaced, **_REFUSED_ANYWHERE}, ids)


ROWS: Mapping[Format, KnownKeys] = {format: _row(format) for format in COLUMNS}
"""By format."""
MESSAGE = KnownKeys(
    frozenset(("role", "from", "content", "value", "name", "tool_calls", "function_call", "tool_call_id"))
    | {*TURN_WEIGHTS, *REASONING},
    {
        **dict.fromkeys(("tools", "functions"), "functions stand beside the messages, in the column tools"),
        **dict.fromkeys(
            ("system", "history", "label", "kto_tag", "chosen", "rejected", "messages", "conversations", "input"),
            "it has a meaning beside the messages, and none in one",
        ),
        "refusal": "write it as content, or leave the row out",
        "prefix": "a message that is continued is not read",
        "end_turn": "a message that is continued is not read",
        "channel": "write reasoning as reasoning_content",
        "recipient": "write a call as tool_calls",
        **_REFUSED_ANYWHERE,
    },
)
TREE_MESSAGE = KnownKeys(
    frozenset(("role", "text", "replies", "rank", "deleted")),
    {**dict.fromkeys(MESSAGE.read - {"role", "name"}, _MISPLACED.format(format="tree")), **MESSAGE.refused},
    frozenset(_IDS | _OASST),
)
PART = KnownKeys(frozenset(("type", "text", "value", "thinking", "reasoning")), {**MESSAGE.refused})
CALL = frozenset(("id", "type", "index", "function", "name", "arguments"))
FUNCTION = frozenset(("name", "arguments"))
_HARMLESS_WHEN_FALSE = frozenset(("prefix", "masked", "mask"))
_HARMLESS_WHEN_TRUE = frozenset(("end_turn", "trainable"))
_ASKERS = frozenset(("user", "human", "prompter"))
_PAIRS = {
    "source": "target",
    "target": "source",
    "label": "text",
    "slots": "text",
}  # what means something only together


@dataclass
class Keys:
    """Looks at every key of the rows of one source. `unread` are unknown keys that carry text, and where one stands."""

    named_format: bool = False
    unread: dict[str, str] = field(default_factory=dict)
    _extra_keys: dict[tuple[int, tuple[str, ...]], tuple[str, ...]] = field(default_factory=dict)

    def check(self, row: Row, format: Format, conversations: Sequence[Sequence[Turn]]) -> None:
        """Raises `DataError` naming a key that has a meaning and would be dropped."""
        extra = self._extra(ROWS[format], row.values)
        if extra:
            self._row(row, format, extra, conversations)
        if format is Format.TREE:
            self._tree(row.values.get("tree", row.values.get("prompt", row.values)), row.location)
            return
        for column in ("messages", "conversations", "prompt", "completion", "chosen"):
            value = row.values.get(column)
            if isinstance(value, (list, dict)) and column in ROWS[format].read:
                self._messages(value, row.location)

    def _row(self, row: Row, format: Format, extra: Iterable[str], conversations: Sequence[Sequence[Turn]]) -> None:
        for key in extra:
            value = row.values[key]
            if key == "mask" and masks_user(row.values):
                continue
            if key in _CONTENT and not self.named_format:
                self._expect_present(row, key, format, conversations)
            self._check(f"column {key}", key, value, ROWS[format], row.location)

    def _expect_present(self, row: Row, key: str, format: Format, conversations: Sequence[Sequence[Turn]]) -> None:
        """What another format would read is in the conversation already, such as a prompt beside its messages."""
        partner = _PAIRS.get(key)
        value = row.values[key]
        if (partner and _is_empty(row.values.get(partner))) or _is_present(
            value, row, ROWS[format].read, conversations
        ):
            return
        raise DataError(
            f"{row.location}: the column {key!r} would be dropped: this is read as {format.value}. "
            f"Say which is meant with data.format, or leave it out with data.ignore_columns=[{key}]."
        )

    def _messages(self, listed: Any, location: str) -> None:
        for number, message in enumerate([listed] if isinstance(listed, dict) else listed, 1):
            if isinstance(message, dict):
                self._level(message, MESSAGE, "message", location, number)
                content = message.get("content")
                for part in content if isinstance(content, list) else ():
                    self._level(part, PART, "part of message", location, number)

    def _tree(self, message: Any, location: str) -> None:
        if isinstance(message, dict):
            self._level(message, TREE_MESSAGE, "message", location, 0)
            replies = message.get("replies")
            for reply in replies if isinstance(replies, list) else ():
                self._tree(reply, location)

    def _level(self, values: Mapping[str, Any], table: KnownKeys, level: str, location: str, number: int) -> None:
        for key in self._extra(table, values):
            place = f"{location}: {level} {number}" if number else location
            self._check(f"{level.split()[0]} key {key}", key, values[key], table, place)

    def _check(self, name: str, key: str, value: Any, table: KnownKeys, location: str) -> None:
        if _is_empty(value) or key in table.ids:
            return
        if isinstance(value, Media):
            raise DataError(f"{location}: {key!r} holds {value.kind}, and {_MEDIA}. {_LEAVE_OUT.format(key=key)}")
        if key in table.refused and not _is_harmless(key, value):
            raise DataError(
                f"{location}: the key {key!r} is not read: {table.refused[key]}. {_LEAVE_OUT.format(key=key)}"
            )
        if name not in self.unread and carries_text(value):
            self.unread[name] = location

    def _extra(self, table: KnownKeys, values: Mapping[str, Any]) -> tuple[str, ...]:
        """The keys that are not read; remembered, since few rows differ in their keys."""
        shape = (id(table), tuple(values))
        extra = self._extra_keys.get(shape)
        if extra is None:
            extra = self._extra_keys[shape] = tuple(key for key in values if key not in table.read)
        return extra


_LEAVE_OUT = "Take it out of the data, or if it means nothing, leave it out with data.ignore_columns=[{key}]."
_CONTENT = frozenset().union(*COLUMNS.values()) - _ROW_MEANINGS - {*DESIRABLE[1:]}


def expect_keys(values: Mapping[str, Any], names: Collection[str], location: str) -> None:
    """Raises `DataError` where a call has a key that is not known: each of them may change what is called."""
    for key, value in values.items():
        if key not in names and not _is_empty(value):
            raise DataError(f"{location}: the key {key!r} is not read. Known: {', '.join(sorted(names))}.")


def masks_user(values: Mapping[str, Any]) -> bool:
    """Whether a row says with `mask`, as NeMo's do, that the user's messages are out of the loss."""
    return isinstance(mask := values.get("mask"), str) and mask.lower() in _ASKERS


def carries_text(value: Any) -> bool:
    """Whether there is any text in `value`, at any depth."""
    if isinstance(value, str):
        return bool(value.strip())
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return any(map(carries_text, inner))


def texts(value: Any) -> Iterator[str]:
    """Every text in `value`, at any depth; no keys."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from texts(inner)


def _is_empty(value: Any) -> bool:
    return value is None or (not value and isinstance(value, (str, list, dict)))


def _is_harmless(key: str, value: Any) -> bool:
    return (key in _HARMLESS_WHEN_FALSE and not value) or (key in _HARMLESS_WHEN_TRUE and value is True)


_LONG = 16  # characters that do not stand in another text by chance


def _is_present(value: Any, row: Row, read: Collection[str], conversations: Sequence[Sequence[Turn]]) -> bool:
    """Whether all texts of `value` stand in the conversation, or hold a part of it that is long or the longest."""
    present = [turn.content for turns in conversations for turn in turns]
    present += [text for key in read for text in texts(row.values.get(key))]
    longest = max(present, key=len, default="")
    parts = [text.strip() for text in present if text.strip() and (len(text) >= _LONG or text == longest)]
    joined = "\n".join(present)
    return all(text.strip() in joined or any(part in text for part in parts) for text in texts(value))
