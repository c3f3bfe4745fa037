"""What to train on: rows, their format, how they are rendered, which tokens learn."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tunefleet.config.fields import ranged


class Format(Enum):
    """What a row looks like; `auto` recognises it by its keys."""

    AUTO = "auto"
    MESSAGES = "messages"
    ALPACA = "alpaca"
    PROMPT_COMPLETION = "prompt_completion"


class TrainOn(Enum):
    """Which tokens carry a loss."""

    RESPONSE = "response"
    LAST = "last"
    ALL = "all"


@dataclass(frozen=True)
class DataConfig:
    """The training data and how they become tokens."""

    name: str = "jsonl"
    """A word for this data set in run names and plots."""
    path: str | None = None
    """File of training rows, JSON (a list) or JSONL; `demo` is the built-in voice assistant."""
    validation_path: str | None = None
    """File of validation rows; without it `validation_rows` are held out from `path`."""
    validation_rows: int = ranged(200, at_least=0)
    """Rows held out for validation where no `validation_path` is given."""
    max_rows: int | None = ranged(None, at_least=1)
    """Use only this many training rows; null is all."""
    format: Format = Format.AUTO
    """What a row looks like."""
    template: str = "auto"
    """Chat template: `auto` (the tokenizer's own, else `plain`), a name, or a path to a Jinja file."""
    train_on: TrainOn = TrainOn.RESPONSE
    """Which tokens carry a loss: every answer (`response`), only the `last` one of a conversation, or `all` text."""
    max_truncated: float = ranged(0.5, at_least=0, at_most=1)
    """Largest share of training rows that may be cut at `train.sequence_length`; above it the data are refused."""
    max_unfilled: float = ranged(0.01, at_least=0, at_most=1)
    """Largest share of a file's rows with the same unfilled {placeholder}, {{placeholder}} or <PLACEHOLDER>."""
    packing: bool = True
    """Put several conversations into one row; they do not see each other."""
    tokenizer: str | None = None
    """Tokenizer for models that start from scratch and have none on this machine; `demo` is the built-in one."""
    cache: str = "outputs/cache"
    """Folder in which prepared data are kept between runs."""
