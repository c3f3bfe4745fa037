"""Table pieces: record batches, validated and cut so small that their rows fit into memory as objects of Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tunefleet.data.read import input_limits

_ROWS = 1_000  # at once
_PIECE = 1 << 26  # bytes of text and elements at once
_ELEMENT = 32  # bytes of a value as an object of Python, about


def pieces(batch: Any) -> Iterator[tuple[Any, int]]:
    """Parts of a record batch, in order, and the bytes that the rows of each take; of one row they may be any number.

    Arrow trusts what a file says of itself: offsets that a flipped bit moved lead out of memory, and end the process.
    So the batch is validated first. Raises `pyarrow.ArrowInvalid`.
    """
    batch.validate(full=True)
    for start in range(0, batch.num_rows, _ROWS):
        yield from _cut(batch.slice(start, _ROWS))


def _cut(part: Any) -> Iterator[tuple[Any, int]]:
    size = sum(_size(column) for column in part.columns)
    if size <= _PIECE or part.num_rows == 1:
        yield part, size
        return
    middle = part.num_rows // 2
    yield from _cut(part.slice(0, middle))
    yield from _cut(part.slice(middle))


def _size(array: Any) -> int:
    """Bytes of an array's values when each stands by itself; a value that is shared counts for each that shares it."""
    import pyarrow as arrow
    import pyarrow.types as kinds

    kind = array.type
    if isinstance(array, arrow.ExtensionArray):
        return _size(array.storage)
    if kinds.is_dictionary(kind):
        return _shared(array.dictionary, array.indices)
    if kinds.is_run_end_encoded(kind):
        return len(array) * (_ELEMENT + int(array.values.nbytes))
    if kinds.is_struct(kind):
        return _ELEMENT * len(array) + sum(_size(child) for child in array.flatten())
    if kinds.is_map(kind):
        return sum(_size(arrow.ListArray.from_arrays(array.offsets, part)) for part in (array.keys, array.items))
    if any(is_list(kind) for is_list in _lists()):
        return _size_of_lists(array)
    if kinds.is_string_view(kind) or kinds.is_binary_view(kind):
        return _ELEMENT * len(array) + _size_of_views(array)
    return _ELEMENT * len(array) + int(array.nbytes)


def _lists() -> list[Callable[[Any], bool]]:
    import pyarrow.types as kinds

    return [
        kinds.is_list,
        kinds.is_large_list,
        kinds.is_fixed_size_list,
        kinds.is_list_view,
        kinds.is_large_list_view,
    ]


def _size_of_lists(array: Any) -> int:
    """Elements are counted first: lists of nulls take no bytes at all, and may have any number of them."""
    import pyarrow.compute as compute

    elements = int(compute.sum(compute.list_value_length(array).cast("int64")).as_py() or 0)
    if elements * _ELEMENT > input_limits.ALWAYS:
        return elements * _ELEMENT
    return _ELEMENT * len(array) + _size(array.flatten())


def _shared(values: Any, indices: Any) -> int:
    import pyarrow.compute as compute
    import pyarrow.types as kinds

    if not (kinds.is_string(values.type) or kinds.is_large_string(values.type) or kinds.is_binary(values.type)):
        return len(indices) * (_ELEMENT + int(values.nbytes))
    sizes = compute.binary_length(values).cast("int64").take(indices)
    return _ELEMENT * len(indices) + (compute.sum(sizes).as_py() or 0)


def _size_of_views(array: Any) -> int:
    """A view is four numbers, its length first."""
    views = np.frombuffer(array.buffers()[1], dtype=np.int32).reshape(-1, 4)
    return int(views[array.offset : array.offset + len(array), 0].sum(dtype=np.int64))
