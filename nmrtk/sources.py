"""Source files: plain or gzip text, a line at a time, with errors that name the place."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from nmrtk.atomic import cause_of
from nmrtk.errors import DataError

HEAD_SIZE = 4096
"""Bytes that readers see of a file to recognize it."""

_GZIP_MAGIC = b"\x1f\x8b"
_BYTE_ORDER_MARK = "\ufeff"

# What is being read in this process, for `position`.
_open_files: dict[Path, BinaryIO] = {}


class DamagedSourceError(DataError):
    """A source whose checksum fails: nothing that was read from it can be trusted."""


def read_lines(path: Path) -> Iterator[str]:
    """Lines of a text file with their line ends, all of which become one newline.

    Bytes that are not UTF-8 become replacement characters: a name in an old encoding must not
    lose its row.

    Args:
        path: plain or gzip.

    Raises:
        DataError: the file cannot be opened, is empty, or ends too early; says after which line.
        DamagedSourceError: its checksum fails, in which case lines already given may be wrong.
    """
    number = 0
    try:
        with ExitStack() as stack:
            raw = stack.enter_context(path.open("rb"))
            _open_files[path] = raw
            stack.callback(_open_files.pop, path, None)
            text = io.TextIOWrapper(_unpacked(raw), encoding="utf-8", errors="replace")
            for line in text:
                number += 1
                yield line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error, number) from error
    if number == 0:
        raise DataError(f"{path} is empty")


def read_head(path: Path) -> bytes:
    """The first bytes of a file, uncompressed: as much as can be read of `HEAD_SIZE`.

    Raises:
        DataError: the file cannot be opened, is empty, or is damaged from its start.
    """
    head = b""
    try:
        with path.open("rb") as raw:
            unpacked = _unpacked(raw)
            while len(head) < HEAD_SIZE and (block := unpacked.read(HEAD_SIZE - len(head))):
                head += block
    except (OSError, EOFError, zlib.error) as error:
        if not head:
            raise _unreadable(path, error, 0) from error
    if not head:
        raise DataError(f"{path} is empty")
    return head


def position(path: Path) -> int | None:
    """How many bytes of the (compressed) file `read_lines` has taken so far; None if it is not
    at work on this file.
    """
    file = _open_files.get(path)
    return None if file is None else file.tell()


def _unpacked(raw: BinaryIO) -> BinaryIO:
    start = raw.read(len(_GZIP_MAGIC))
    raw.seek(0)
    return gzip.GzipFile(fileobj=raw) if start == _GZIP_MAGIC else raw  # type: ignore[return-value]


def _unreadable(path: Path, error: Exception, line: int) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path} does not exist")
    if isinstance(error, gzip.BadGzipFile | zlib.error):
        return DamagedSourceError(
            f"{path} is damaged, at or before line {line + 1}, and no part of it can be trusted "
            f"({error}): get it again"
        )
    if isinstance(error, EOFError):
        return DataError(f"{path} ends too early, after line {line}: get it again")
    cause = cause_of(error) if isinstance(error, OSError) else str(error)
    return DataError(f"{path} cannot be read after line {line}: {cause}")
