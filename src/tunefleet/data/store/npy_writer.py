"""Npy writer: arrays on the disk that grow at their end, `.npy` files of one dimension."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from tunefleet.base import disk, files


class NpyWriter:
    """Appends to `path`; numpy reserves room in the header for the length, which is known at the end.

    The file is open only while something is written, so that a preparation that is refused leaves none open.
    """

    def __init__(self, path: Path, dtype: Any) -> None:
        self._path = path
        self._dtype = np.dtype(dtype)
        self._length = 0
        with disk.writing(path), open(path, "wb", opener=files.no_link) as stream:
            self._write_header(stream)

    def append(self, values: Sequence[Any] | NDArray[Any]) -> None:
        """Writes `values` behind the last one. Raises `DiskError`."""
        array = np.ascontiguousarray(values, dtype=self._dtype)
        self._length += len(array)
        with disk.writing(self._path, array.nbytes), open(self._path, "ab", opener=files.no_link) as stream:
            stream.write(array.data)

    def finish(self) -> None:
        """Writes the length, and everything to the disk itself."""
        with disk.writing(self._path), open(self._path, "r+b", opener=files.no_link) as stream:
            self._write_header(stream)
            stream.flush()
            os.fsync(stream.fileno())

    def _write_header(self, stream: BinaryIO) -> None:
        header = {"descr": npy.dtype_to_descr(self._dtype), "fortran_order": False, "shape": (self._length,)}
        npy.write_array_header_1_0(stream, header)


def read_slice(path: Path, start: int, end: int) -> NDArray[Any]:
    """The values start ... end of a finished array, read into memory."""
    with open(path, "rb", opener=files.plain) as stream:
        npy.read_magic(stream)
        _, _, dtype = npy.read_array_header_1_0(stream)
        stream.seek(start * dtype.itemsize, os.SEEK_CUR)
        return np.fromfile(stream, dtype=dtype, count=end - start)
