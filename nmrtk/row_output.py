"""Rows to files and to standard output."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO

from nmrtk.atomic import cause_of
from nmrtk.errors import DataError, UsageError
from nmrtk.rows import STANDARD_INPUT, Row


class RowWriter:
    """Writes rows as they come, so that an interruption loses none of those that are done.

    Args:
        output: a `.jsonl` or `.csv` file; None or `-` for JSON lines on standard output.
        source: the input file, which must not be overwritten.
        columns: of the CSV form.
        flatten: one row to the lines of its CSV form.

    Raises:
        UsageError: the ending is neither of these, or the output is the input.
        DataError: the file cannot be written.
    """

    def __init__(
        self,
        output: str | None,
        *,
        source: str | None,
        columns: Sequence[str],
        flatten: Callable[[Row], Iterable[Row]],
    ) -> None:
        check_output(output, source)
        self._path = None if output in (None, STANDARD_INPUT) else Path(str(output))
        self._flatten = flatten
        self._table: csv.DictWriter[str] | None = None
        self._stack = ExitStack()
        self._file: IO[str] = sys.stdout
        with _writing(self._path):
            if self._path is not None:
                self._file = self._stack.enter_context(
                    self._path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
                )
                if self._path.suffix == ".csv":
                    self._table = csv.DictWriter(self._file, columns, extrasaction="ignore")
                    self._table.writeheader()

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with _writing(self._path):
            self._stack.close()

    def write(self, row: Row) -> None:
        """Write one row.

        Raises:
            DataError: the disk is full, or the file is gone.
        """
        with _writing(self._path):
            if self._table is not None:
                self._table.writerows(self._flatten(row))
            else:
                self._file.write(json.dumps(row, allow_nan=False) + "\n")
            self._file.flush()


def check_output(output: str | None, source: str | None) -> None:
    """Raise before any work is done if rows cannot go there.

    Raises:
        UsageError: the ending is neither `.jsonl` nor `.csv`, or the output is the input.
    """
    if output is None or output == STANDARD_INPUT:
        return
    path = Path(output)
    if path.suffix not in (".jsonl", ".csv"):
        raise UsageError(f"-o {output}: end the name in .jsonl or .csv to say the format")
    if source and Path(source).exists() and path.exists() and path.samefile(source):
        raise UsageError(f"-o {output} is the input: it would be overwritten")


@contextmanager
def _writing(path: Path | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if path is None:
            # A broken pipe of standard output is for the command line to handle.
            raise
        raise DataError(f"{path} cannot be written: {cause_of(error)}") from error
