"""Columns of an HDF5 group that grow while they are written, in bounded memory.

A ragged column `x` is two datasets: the values of all rows one after the other, and `x_end`, where
each row's values end. Text is a ragged column of UTF-8 bytes: unlike the strings of HDF5 it is
compressed and protected by checksums like the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

CHUNK = 8192
"""Values that are kept in memory before they are written."""


class ColumnWriter:
    """Appends numbers to a dataset.

    Args:
        group: where the dataset is made.
        name: of the dataset.
        dtype: of its values.
    """

    def __init__(self, group: h5py.Group, name: str, dtype: DTypeLike) -> None:
        self._dataset = group.create_dataset(
            name,
            shape=(0,),
            maxshape=(None,),
            dtype=dtype,
            chunks=(CHUNK,),
            compression="gzip",
            compression_opts=4,
            shuffle=True,
            fletcher32=True,
        )
        self._buffer: list[Any] = []

    def append(self, value: float) -> None:
        """Add one value."""
        self.extend((value,))

    def extend(self, values: Iterable[float]) -> None:
        """Add values."""
        self._buffer.extend(values)
        if len(self._buffer) >= CHUNK:
            # Whole chunks only, so that each is compressed once.
            whole = len(self._buffer) // CHUNK * CHUNK
            self._write(whole)

    def close(self) -> None:
        """Write what is left."""
        self._write(len(self._buffer))

    def _write(self, count: int) -> None:
        if count:
            start = self._dataset.shape[0]
            self._dataset.resize((start + count,))
            self._dataset[start:] = np.array(self._buffer[:count], dtype=self._dataset.dtype)
            del self._buffer[:count]


class RaggedWriter:
    """Appends rows of any length; arguments as of `ColumnWriter`."""

    def __init__(self, group: h5py.Group, name: str, dtype: DTypeLike) -> None:
        self._values = ColumnWriter(group, name, dtype)
        self._ends = ColumnWriter(group, f"{name}_end", np.int64)
        self._end = 0

    def append(self, values: Sequence[int]) -> None:
        """Add one row."""
        self._end += len(values)
        self._values.extend(values)
        self._ends.append(self._end)

    def close(self) -> None:
        """Write what is left."""
        self._values.close()
        self._ends.close()


class TextWriter:
    """Appends texts; arguments as of `ColumnWriter`."""

    def __init__(self, group: h5py.Group, name: str) -> None:
        self._bytes = RaggedWriter(group, name, np.uint8)

    def append(self, text: str) -> None:
        """Add one text."""
        self._bytes.append(text.encode("utf-8", errors="replace"))

    def close(self) -> None:
        """Write what is left."""
        self._bytes.close()


class LabelWriter:
    """Appends texts of which few are different; arguments as of `ColumnWriter`."""

    def __init__(self, group: h5py.Group, name: str) -> None:
        self._codes = ColumnWriter(group, name, np.uint32)
        self._texts = TextWriter(group, f"{name}_label")
        self._known: dict[str, int] = {}

    def append(self, text: str) -> None:
        """Add one text."""
        code = self._known.get(text)
        if code is None:
            code = self._known[text] = len(self._known)
            self._texts.append(text)
        self._codes.append(code)

    def close(self) -> None:
        """Write what is left."""
        self._codes.close()
        self._texts.close()


def read_ragged(group: h5py.Group, name: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Values of all rows, and where each row's values end.

    Raises:
        ValueError: the ends do not fit the values.
    """
    values, ends = group[name][:], group[f"{name}_end"][:]
    check_ends(ends, len(values), name)
    return values, ends


def read_texts(group: h5py.Group, name: str) -> list[str]:
    """The texts of a column.

    Raises:
        ValueError: the column is not what `TextWriter` writes.
    """
    values, ends = read_ragged(group, name)
    content = values.astype(np.uint8, copy=False).tobytes()
    starts = [0, *ends.tolist()]
    return [content[start:end].decode() for start, end in pairwise(starts)]


def read_labels(group: h5py.Group, name: str) -> list[str]:
    """The texts of a column with few different ones.

    Raises:
        IndexError: the column is not what `LabelWriter` writes.
    """
    texts = read_texts(group, f"{name}_label")
    return [texts[code] for code in group[name][:].tolist()]


def check_ends(ends: NDArray[np.int64], total: int, name: str) -> None:
    """Make sure that rows with these ends cut up `total` values.

    Raises:
        ValueError: they do not.
    """
    last = int(ends[-1]) if len(ends) else 0
    if last != total or (np.diff(ends, prepend=0) < 0).any():
        raise ValueError(f"the rows of {name!r} do not cover its {total} values")
