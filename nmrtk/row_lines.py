"""Numbered lines of text, and tables among them, with damage told where it is."""

from __future__ import annotations

import csv
import io
import itertools
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nmrtk.errors import DataError, SpectrumError
from nmrtk.sources import read_lines

_DELIMITERS = ",;\t"
_RECORD_END = "$$$$"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file, counted from 1; `error` says that the file cannot be read from here."""

    number: int
    text: str
    error: str = ""


def file_lines(path: Path) -> Iterator[Line]:
    """Lines that are not blank, of a plain or gzip file.

    Raises:
        DataError: the file cannot be opened, is empty, or is damaged from its start.
    """
    number = 0
    try:
        for number, text in enumerate(read_lines(path), start=1):
            if text.strip():
                yield Line(number, text)
    except DataError as error:
        if not number:
            raise
        yield Line(number + 1, "", f"what follows cannot be read: {error}")


def sd_records(path: Path) -> Iterator[Line]:
    """Records of a plain or gzip SD file as `Line`s of many lines, counted from 1.

    Cut here and not by RDKit, which loses the record after a broken one.

    Raises:
        DataError: the file cannot be opened, is empty, or is damaged from its start.
    """
    number = 1
    lines: list[str] = []
    try:
        for text in read_lines(path):
            if text.startswith(_RECORD_END):
                yield Line(number, "".join(lines))
                number += 1
                lines = []
            else:
                lines.append(text)
    except DataError as error:
        if number == 1 and not lines:
            raise
        yield Line(number, "", f"what follows cannot be read: {error}")
        return
    # The delimiter after the last record may be missing.
    if "".join(lines).strip():
        yield Line(number, "".join(lines))


def standard_input_lines() -> Iterator[Line]:
    """Lines of standard input that are not blank."""
    text = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", errors="replace")
    try:
        for number, line in enumerate(text, start=1):
            if line.strip():
                yield Line(number, line)
    finally:
        text.detach()


@dataclass(frozen=True, slots=True)
class Record:
    """A row of a table: its fields by column, or what is wrong with it."""

    position: str
    fields: dict[str, str]
    error: str = ""


class Table:
    """A table with a header; `#` starts a comment line."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = (line for line in lines if not line.text.startswith("#"))
        self._number = 0
        self._damage = ""
        first = next(self._lines, Line(0, ""))
        self.delimiter = max(_DELIMITERS, key=first.text.count)
        self._reader = csv.reader(self._text(first), delimiter=self.delimiter)
        self.columns = [name.strip().lower() for name in next(self._reader, [])]

    def _text(self, first: Line) -> Iterator[str]:
        for line in itertools.chain([first], self._lines):
            self._number = line.number
            if line.error:
                self._damage = line.error
                return
            yield line.text

    def records(self) -> Iterator[Record]:
        """The records, and one with an error where the file is damaged."""
        while True:
            try:
                values = next(self._reader, None)
            except csv.Error as error:
                yield Record(f"line {self._number}", {}, f"not a row of a table: {error}")
                continue
            if values is None:
                break
            fields = dict(zip(self.columns, (value.strip() for value in values), strict=False))
            yield Record(f"line {self._number}", fields)
        if self._damage:
            yield Record(f"line {self._number}", {}, self._damage)

    def require(self, source: str, *choices: str) -> str:
        """The first of the columns that the table has."""
        for name in choices:
            if name in self.columns:
                return name
        found = ", ".join(self.columns) or "none"
        raise DataError(f"{source} has no column {' or '.join(choices)}; its columns: {found}")


def decimal(text: str, delimiter: str) -> float:
    """A number of a table.

    Raises:
        SpectrumError: it is none.
    """
    try:
        # Where commas do not separate the columns, they may separate the decimals.
        return float(text.replace(",", ".") if delimiter == ";" else text)
    except ValueError:
        raise SpectrumError(f"{text[:40]!r} is not a number") from None
