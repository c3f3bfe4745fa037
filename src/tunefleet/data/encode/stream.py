"""Stream from rows to tokens: of any size, in bounded memory, in the order of the rows, on all cores.

A chunk of rows is read, cleaned and rendered while the chunks before it are tokenised: the tokenizer's threads
hold no lock of Python. Threads, not processes: a process would first import transformers for seconds, and
conversations would have to be sent to it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from tunefleet.base.errors import ConfigError, DataError
from tunefleet.data.encode.long_rows import Encoded
from tunefleet.data.encode.loss_mask import ChunkTokens, Encoder
from tunefleet.data.encode.template_rendering import Rendered
from tunefleet.data.formats.collect import ParsedRow
from tunefleet.data.formats.conversation import Conversation
from tunefleet.data.read import meter
from tunefleet.data.read.bad_rows import BadRows

CHUNK_ROWS = 500
"""Rows of a chunk."""
_CHARACTERS = 2_000_000  # of a chunk, about
CHUNKS_AHEAD = 3
"""Chunks that are tokenised, or wait for it."""
_THREADS = 2  # that call the tokenizer, so that its cores need not wait for the end of a chunk


@dataclass(frozen=True)
class EncodedConversation:
    """A conversation and the parts that it is trained on as: one, or several."""

    conversation: Conversation
    parts: list[Encoded]


EncodedRow = list[EncodedConversation]
"""The conversations of one row: one, or both directions of a translation."""
_RenderedRow = list[tuple[Conversation, Rendered]] | DataError
_Chunk = tuple[list[_RenderedRow], Future[ChunkTokens]]


def encoded(
    rows: Iterable[ParsedRow], clean: Callable[[list[Conversation]], list[Conversation]], bad: BadRows, encoder: Encoder
) -> Iterator[EncodedRow]:
    """Rows that are neither bad nor cleaned away, in their order.

    Which rows these are, and which error is raised, depends neither on cores nor on time. Raises `DataError`.
    """
    watch = meter.current()
    opened = (row if isinstance(row, DataError) else encoder.without_ends(row) for row in rows)
    cleaned = (row if isinstance(row, DataError) else clean(row) for row in opened)
    rendered = (_rendered(chunk, encoder) for chunk in _chunks(cleaned))
    for items, tokenised in _tokenised(rendered, encoder):
        good = [pair for item in items if not isinstance(item, DataError) for pair in item]
        parts = encoder.masked([conversation for conversation, _ in good], [text for _, text in good], tokenised)
        for item in items:
            watch.rows += 1
            if isinstance(item, DataError):
                bad.add(item)
            elif item:
                pairs = [(conversation, next(parts)) for conversation, _ in item]
                error = next((part for _, part in pairs if isinstance(part, DataError)), None)
                if error:
                    bad.add(error)
                else:
                    yield [EncodedConversation(c, part) for c, part in pairs if not isinstance(part, DataError)]


def _chunks(rows: Iterable[ParsedRow]) -> Iterator[list[ParsedRow]]:
    chunk: list[ParsedRow] = []
    characters = 0
    for row in rows:
        chunk.append(row)
        characters += 0 if isinstance(row, DataError) else sum(len(turn.content) for c in row for turn in c.turns)
        if len(chunk) == CHUNK_ROWS or characters > _CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _rendered(chunk: list[ParsedRow], encoder: Encoder) -> list[_RenderedRow]:
    """A row whose template refuses one of its conversations is bad as a whole."""
    texts = iter(encoder.render([c for row in chunk if not isinstance(row, DataError) for c in row]))
    return [row if isinstance(row, DataError) else _paired(row, list(islice(texts, len(row)))) for row in chunk]


def _paired(row: list[Conversation], texts: list[Rendered | DataError]) -> _RenderedRow:
    error = next((text for text in texts if isinstance(text, DataError)), None)
    return error or [(c, text) for c, text in zip(row, texts, strict=True) if isinstance(text, Rendered)]


def _tokenised(
    chunks: Iterator[list[_RenderedRow]], encoder: Encoder
) -> Iterator[tuple[list[_RenderedRow], ChunkTokens]]:
    """Chunks in their order. What ends the reading is raised after the rows before it have been yielded."""
    pending: deque[_Chunk] = deque()
    ended: Exception | None = None
    with ThreadPoolExecutor(_THREADS) as threads:
        while True:
            try:
                chunk = next(chunks, None)
            except (DataError, ConfigError) as error:
                chunk, ended = None, error
            if chunk is None:
                break
            pending.append((chunk, threads.submit(encoder.tokenise, _texts(chunk))))
            if len(pending) > CHUNKS_AHEAD:
                yield _finished(pending)
        while pending:
            yield _finished(pending)
    if ended:
        raise ended


def _finished(pending: deque[_Chunk]) -> tuple[list[_RenderedRow], ChunkTokens]:
    items, tokenised = pending.popleft()
    return items, tokenised.result()


def _texts(chunk: list[_RenderedRow]) -> list[Rendered]:
    return [text for item in chunk if not isinstance(item, DataError) for _, text in item]
