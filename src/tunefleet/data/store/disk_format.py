"""Disk format of prepared data: the names and dtypes of its arrays, and what writes and reads each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tunefleet.data.store import npy_writer
from tunefleet.data.store.npy_writer import NpyWriter

TOKENS, LOSS_MASK, STARTS, PACKS, BOUNDS = "tokens", "loss_mask", "starts", "packs", "bounds"
ORIGINS, ROWS = "origins", "rows"
ARRAYS: dict[str, DTypeLike] = {
    TOKENS: np.int32,
    LOSS_MASK: np.bool_,
    STARTS: np.int64,
    PACKS: np.int64,
    BOUNDS: np.int64,
    ORIGINS: np.int32,
    ROWS: np.int64,
}
"""Conversation i is tokens[starts[i] : starts[i+1]], and at the same places of `loss_mask` whether each is in the loss;
sequence s holds conversations packs[bounds[s] : bounds[s+1]]. Conversation i was read from row rows[i] of the file
that entry origins[i] of `ORIGIN_NAMES` names."""
ORIGIN_NAMES = "origins.json"
LINE = np.dtype(
    [
        ("conversation", "<i8"),  # which one it is, or is a part of
        ("number", "<i8"),  # where its tokens are, counted in kept parts; -1 where it has no targets, and none are kept
        ("length", "<i4"),
        ("loss_tokens", "<i4"),
        ("file", "<i4"),
        ("stops", "?"),  # whether a token at which generation stops is in the loss
        ("truncated", "?"),
        ("split", "?"),
        ("too_long", "?"),
    ]
)
"""A part of a conversation, as a store counts it; the lines of a data set are gone when it is published."""
CARD = "card.json"
EXAMPLES = "examples.json"

Lines = NDArray[np.void]


def array_writer(folder: Path, name: str) -> NpyWriter:
    """Begins the array `name` of a data set."""
    return NpyWriter(folder / f"{name}.npy", ARRAYS[name])


def read_arrays(folder: Path) -> dict[str, NDArray[Any]]:
    """Every array of a data set, mapped into memory. Raises `OSError` or `ValueError` where one is broken."""
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}


def lines_path(folder: Path) -> Path:
    """Where the lines of a data set stand, beside its folder."""
    return folder.with_name(f"{folder.name}.lines.npy")


def line_writer(folder: Path) -> NpyWriter:
    """Begins the lines of a data set."""
    return NpyWriter(lines_path(folder), LINE)


def read_lines(path: Path, start: int, end: int) -> Lines:
    """The lines start ... end: read, since pages of a mapped file would stay in memory."""
    return npy_writer.read_slice(path, start, end)
