"""Rows to files and to standard output."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from nmrtk.atomic import cause_of
from nmrtk.errors import DataError, UsageError
from nmrtk.rows import STANDARD_INPUT, Row

STANDARD_OUTPUT = STANDARD_INPUT

_encode_json = json.JSONEncoder(allow_nan=False).encode


@dataclass(frozen=True, slots=True)
class RowFormat:
    """How rows are written.

    Args:
        render: the text of a row, with the end of its last line.
        head: what stands before the first row.
    """

    render: Callable[[Row], str]
    head: str = ""


def json_line(row: Row) -> str:
    """A row as JSON on one line."""
    return _encode_json(row) + "\n"


JSON_LINES = RowFormat(json_line)
"""One JSON object a line."""


def csv_format(columns: Sequence[str], flatten: Callable[[Row], Iterable[Row]]) -> RowFormat:
    """Lines of a table with a header.

    Args:
        columns: their names.
        flatten: one row to the lines of the table.
    """

    def lines(write: Callable[[csv.DictWriter[str]], None]) -> str:
        text = io.StringIO(newline="")
        write(csv.DictWriter(text, columns, extrasaction="ignore"))
        return text.getvalue()

    return RowFormat(
        lambda row: lines(lambda table: table.writerows(flatten(row))),
        lines(lambda table: table.writeheader()),
    )


def output_format(
    output: str | None,
    source: str | None,
    endings: Mapping[str, RowFormat],
    chosen: RowFormat | None = None,
) -> RowFormat:
    """The format of an output, found before any work is done.

    Args:
        output: a file; None or `-` for standard output.
        source: the input file, which must not be overwritten.
        endings: formats by the ending of the file; standard output has the first.
        chosen: the format whatever the ending, where there is one.

    Raises:
        UsageError: the ending is none of these, or the output is the input.
    """
    default = chosen or next(iter(endings.values()))
    if output is None or output == STANDARD_OUTPUT:
        return default
    path = Path(output)
    if chosen is None and path.suffix.lower() not in endings:
        *others, last = endings
        known = f"{', '.join(others)} or {last}"
        raise UsageError(f"-o {output}: end the name in {known} to say the format")
    if source and Path(source).exists() and path.exists() and path.samefile(source):
        raise UsageError(f"-o {output} is the input: it would be overwritten")
    return chosen or endings[path.suffix.lower()]


class RowWriter:
    """Writes rows as they come, so that an interruption loses none of those that are done.

    Args:
        output: a file; None or `-` for standard output.
        form: how rows are written.

    Raises:
        DataError: the file cannot be written.
    """

    def __init__(self, output: str | None, form: RowFormat) -> None:
        self._path = None if output in (None, STANDARD_OUTPUT) else Path(str(output))
        self._form = form
        self._stack = ExitStack()
        self._file: IO[str] = sys.stdout
        with _writing(self._path):
            if self._path is not None:
                self._file = self._stack.enter_context(
                    self._path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
                )
            elif isinstance(sys.stdout, io.TextIOWrapper):
                # A delta must not stop a terminal that has none.
                sys.stdout.reconfigure(errors="backslashreplace")
            self._file.write(form.head)

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
        self.write_text(self._form.render(row))

    def write_text(self, text: str) -> None:
        """Write a row that was rendered elsewhere.

        Raises:
            DataError: the disk is full, or the file is gone.
        """
        with _writing(self._path):
            self._file.write(text)
            self._file.flush()


@contextmanager
def _writing(path: Path | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if path is None:
            # A broken pipe of standard output is for the command line to handle.
            raise
        raise DataError(f"{path} cannot be written: {cause_of(error)}") from error
