"""What the C library does with memory that is freed."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h of the GNU C library
_LARGE = 1 << 30  # bytes


def keep_freed_memory() -> None:
    """Let this process keep the memory of arrays that are freed, for the next ones.

    By default large arrays are given back to the system at once, and the pages of the next are
    cleared one by one: an eighth of the time of a prediction. Does nothing where the C library is
    not GNU's.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGE)
        mallopt(_TRIM_THRESHOLD, _LARGE)
