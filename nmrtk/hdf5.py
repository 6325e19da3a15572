"""HDF5 files that are written without trusting the disk."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import h5py

_BYTES: Final = "B"  # the format of bytes without sign, for `memoryview`


class Sink(io.FileIO):
    """A file that takes no more after its first failure to write, and keeps that failure.

    HDF5 cannot close a file that it could not write, and may take the process down with it. So it
    never hears of a full disk: whoever writes asks with `check`.
    """

    failure: BaseException | None = None

    def write(self, content: Any) -> int:
        """Write all of it, or note the failure."""
        view = memoryview(content).cast(_BYTES)
        written = 0
        # An interrupt too: here it would leave HDF5 half-way through a block.
        try:
            while self.failure is None and written < len(view):
                written += super().write(view[written:])
        except BaseException as error:
            self.failure = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Set the size, or note the failure."""
        try:
            if self.failure is None:
                return super().truncate(size)
        except BaseException as error:
            self.failure = error
        return size or 0

    def check(self) -> None:
        """Raise the failure, if there was one."""
        if self.failure is not None:
            raise self.failure


@contextmanager
def create_hdf5(path: Path) -> Iterator[tuple[h5py.File, Sink]]:
    """A new HDF5 file, and the sink to check while it is written.

    Raises:
        OSError: the file could not be written.
    """
    with Sink(path, "w+") as sink:
        # From this version of the format on, metadata have checksums as well.
        with h5py.File(sink, "w", libver=("v110", "v110")) as file:
            yield file, sink
        sink.check()
