"""Group `data`: rows, their format, how they are rendered, which tokens are in the loss."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from tunefleet.config.cleaning import CleanConfig
from tunefleet.config.fields import ranged


class FileType(Enum):
    """How a file holds rows; `auto` goes by its name. Each may be compressed with gzip."""

    AUTO = "auto"
    JSON = "json"
    CSV = "csv"
    TSV = "tsv"
    PARQUET = "parquet"
    ARROW = "arrow"
    TEXT = "text"


SUFFIXES = {
    ".json": FileType.JSON,
    ".jsonl": FileType.JSON,
    ".ndjson": FileType.JSON,
    ".csv": FileType.CSV,
    ".tsv": FileType.TSV,
    ".parquet": FileType.PARQUET,
    ".arrow": FileType.ARROW,
    ".txt": FileType.TEXT,
}
"""The type of a name for `file_type=auto`, `.gz` at its end aside."""


class Format(Enum):
    """The format of a row; `auto` recognises it by the keys of the first row (docs/data.md)."""

    AUTO = "auto"
    MESSAGES = "messages"
    SHAREGPT = "sharegpt"
    ALPACA = "alpaca"
    PROMPT_COMPLETION = "prompt_completion"
    CHOSEN = "chosen"
    TREE = "tree"
    PARALLEL = "parallel"
    LABELLED = "labelled"
    TEXT = "text"


COLUMNS = {
    Format.MESSAGES: {"messages", "system", "tools", "label"},
    Format.SHAREGPT: {"conversations", "system", "tools", "label"},
    Format.ALPACA: {"instruction", "input", "output", "history", "system", "tools", "label"},
    Format.PROMPT_COMPLETION: {"prompt", "completion", "history", "system", "tools", "label"},
    Format.CHOSEN: {"prompt", "conversations", "chosen", "system", "tools"},
    Format.TREE: {"tree"},
    Format.PARALLEL: {"source", "target"},
    Format.LABELLED: {"text", "label", "slots"},
    Format.TEXT: {"text"},
}
"""The names that each format looks for."""


class TrainOn(Enum):
    """Which tokens are in the loss."""

    RESPONSE = "response"
    LAST = "last"
    ALL = "all"


class LongRows(Enum):
    """What happens to a conversation that is longer than a sequence; plain text is always split."""

    TRUNCATE = "truncate"
    SPLIT = "split"
    DROP = "drop"


class OnBadRow(Enum):
    """What happens to a row that cannot be read."""

    ERROR = "error"
    SKIP = "skip"


class Grouping(Enum):
    """Which sequences come together where packing is off (docs/data.md)."""

    NEVER = "never"
    STEP = "step"
    WINDOW = "window"


@dataclass(frozen=True)
class SourceConfig:
    """A source of rows, and how each becomes a conversation."""

    path: str | None = None
    """File, folder, glob such as `chats/*.jsonl.gz`, data set of the hub such as `hub:tatsu-lab/alpaca`, or `demo`."""
    target_path: str | None = None
    """File of translations: line i translates line i of `path`."""
    file_type: FileType = FileType.AUTO
    """How a file holds rows; `auto` goes by its name."""
    header: bool = True
    """Whether the first line of a CSV or TSV file names its columns; without it they are 0, 1, 2 ..."""
    subset: str | None = None
    """Configuration of a data set of the hub, such as `plus` of clinc/clinc_oos."""
    split: str | None = None
    """Split of a data set of the hub (null is `train`), or the key of a JSON object; `a+b` is both, `*` every key."""
    format: Format = Format.AUTO
    """The format of its rows."""
    own_format: str | None = None
    """Function of your own project, `my_project.formats:notes`, which your settings file allows: makes the values of a
    row in `format` from those of a row (docs/your-project.md)."""
    columns: dict[str, str] = field(default_factory=dict)
    """Our name of a column and its own: `output: response`; inside it `instances.0.output`, joined `data.*.text`."""
    ignore_columns: tuple[str, ...] = ()
    """Columns that are left unread on purpose, where one with a meaning would be refused: `[images, label]`."""
    instruction: str | None = None
    """The question of parallel (`{source}`) or labelled rows (`{text}`, `{labels}`); null is that text alone."""
    instruction_back: str | None = None
    """The question for the way back, with `{target}`: each parallel row becomes two conversations; null is one way."""
    label_names: tuple[str, ...] = ()
    """Names of the labels 0, 1, 2 ...; a label that is a text must be one of them."""
    label_file: str | None = None
    """Text file with a label name on each line, instead of `label_names`."""
    max_rows: int | None = ranged(None, at_least=1)
    """Use only this many training rows, the first ones; null is all."""
    license: str | None = None
    """Licence of its rows for the model card of an export, such as `cc-by-4.0`; null is what the card of a data set of
    the hub states."""


@dataclass(frozen=True)
class MixedSource(SourceConfig):
    """One source of several."""

    name: str | None = None
    """Name of its validation rows; null makes one from the path."""
    weight: float | None = ranged(None, above=0)
    """Its share of the mixture, relative to the other weights; the mixture has as many rows as all sources together."""
    epochs: float | None = ranged(None, above=0)
    """How often each of its rows is in the mixture, where there are no weights; 0.5 is a random half."""


@dataclass(frozen=True)
class DataConfig(SourceConfig):
    """The training data and how they become tokens."""

    name: str = "jsonl"
    """Name of this data set in run names and plots."""
    mix: tuple[MixedSource, ...] = ()
    """Several sources instead of `path`, each with its own format, columns, and weight or epochs."""
    mix_seed: int = ranged(0, at_least=0)
    """Seed of which rows are drawn from each source of a mixture."""
    validation_path: str | None = None
    """Validation rows, read as `path` is; without them `validation_rows` are held out from every source."""
    validation_target_path: str | None = None
    """File of translations of `validation_path`."""
    validation_split: str | None = None
    """Split that holds the validation rows."""
    validation_rows: int = ranged(200, at_least=0)
    """Rows held out for validation, from each source, where there is neither `validation_path` nor its split."""
    validation_share: float | None = ranged(None, above=0, below=1)
    """Share of each source's rows that is held out instead of `validation_rows`, such as 0.05; a row is drawn from each
    stretch of 1 / share rows, so any number of rows streams by."""
    test_path: str | None = None
    """Test rows, read as `path` is: measured at the end and by `tunefleet evaluate`, and by nothing that decides."""
    test_target_path: str | None = None
    """File of translations of `test_path`."""
    test_split: str | None = None
    """Split that holds the test rows."""
    on_bad_row: OnBadRow = OnBadRow.ERROR
    """What happens to a row that cannot be read: the run ends, or leaves it out and reports it."""
    max_bad_rows: int = ranged(100, at_least=0)
    """Rows that `on_bad_row=skip` may leave out before the run ends all the same."""
    clean: CleanConfig = CleanConfig()
    """Which training rows are left out on purpose."""
    template: str = "auto"
    """Chat template: `auto` (the tokenizer's own, else `plain`), a name, or a path to a Jinja file."""
    train_on: TrainOn = TrainOn.RESPONSE
    """Which tokens are in the loss: every answer (`response`), only the `last` one of a conversation, or `all` text."""
    long_rows: LongRows = LongRows.TRUNCATE
    """What becomes of conversations longer than `train.sequence_length`: `truncate` cuts (an answer in the middle, so
    that its end is in the loss), `split` makes several rows of one, `drop` leaves them out."""
    max_truncated: float = ranged(0.5, at_least=0, at_most=1)
    """Largest share of training rows that may be cut or left out for their length; above it the data are refused."""
    max_unfilled: float = ranged(0.01, at_least=0, at_most=1)
    """Largest share of a file's rows with the same unfilled {placeholder}, {{placeholder}} or <PLACEHOLDER>."""
    packing: bool = True
    """Put several conversations into one sequence; they do not see each other."""
    group_by_length: Grouping = Grouping.STEP
    """Without packing: `step` sorts the sequences of each step by length; `window` makes steps of similar lengths."""
    workers: int = ranged(0, at_least=0)
    """Processes of each rank that put micro-batches together ahead of training; 0 is the training process itself."""
    tokenizer: str | None = None
    """Tokenizer for models that start from scratch and have none on this machine; `demo` is the built-in one."""
    cache: str = "outputs/cache"
    """Folder in which prepared data are kept between runs."""
