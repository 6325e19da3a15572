"""CSV and TSV with a structure and a peak list on each line."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nmrtk.errors import DataError, MoleculeError, SpectrumError
from nmrtk.interfaces import BadRecord, Reader, Record
from nmrtk.molecule import parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.peaklist import parse_peaks
from nmrtk.sources import read_lines
from nmrtk_formats.values import read_condition

_DELIMITERS = ",;\t"
_COMMENT = "#"
_COLUMNS = {
    "smiles": ("smiles", "canonical_smiles", "structure"),
    "peaks": ("peaks", "peak_list", "peaklist", "shifts"),
    "id": ("id", "name", "title"),
    "solvent": ("solvent",),
    "split": ("split",),
}
"""Columns that are read, and the names they may have, best first."""


@dataclass(frozen=True, slots=True)
class _Header:
    delimiter: str
    width: int
    columns: Mapping[str, int]

    def cell(self, cells: Sequence[str], column: str) -> str:
        index = self.columns.get(column)
        return cells[index].strip() if index is not None and index < len(cells) else ""


class CsvReader(Reader):
    """Reads a table with a header and one molecule a line.

    It needs a column `smiles` and a column `peaks` (a list such as `206.9S 30.9Q(2C)`, see
    `nmrtk.peaklist`), and takes `id` or `name`, `solvent` and `split`. Comma, semicolon or tab
    separates; lines that start with `#` are comments. The peaks are of the nucleus asked for.
    """

    def recognizes(self, path: Path, head: bytes) -> bool:
        """Whether the header names a SMILES and a peak-list column."""
        lines = head.decode("utf-8-sig", errors="replace").splitlines()
        first = next((line for line in lines if _is_row(line)), "")
        return _read_header(first) is not None

    def read(self, path: Path, nucleus: Nucleus) -> Iterator[Record | BadRecord]:
        """Every line below the header that is neither blank nor a comment."""
        header = None
        for number, line in enumerate(read_lines(path), 1):
            if not _is_row(line):
                continue
            if header is not None:
                yield _read_row(line, header, f"line {number}", str(nucleus))
                continue
            header = _read_header(line)
            if header is None:
                raise DataError(
                    f"{path}, line {number}: the header needs a column "
                    f"{_COLUMNS['smiles'][0]!r} and a column {_COLUMNS['peaks'][0]!r}, separated "
                    "by comma, semicolon or tab"
                )
        if header is None:
            raise DataError(f"{path} has no header")


def _is_row(line: str) -> bool:
    return bool(line.strip()) and not line.startswith(_COMMENT)


def _read_header(line: str) -> _Header | None:
    for delimiter in _DELIMITERS:
        try:
            cells = _split(line, delimiter)
        except csv.Error:
            continue
        names = [re.sub(r"[\s-]+", "_", cell.strip().lower()) for cell in cells]
        columns = {}
        for column, allowed in _COLUMNS.items():
            found = next((name for name in allowed if name in names), None)
            if found is not None:
                columns[column] = names.index(found)
        if {"smiles", "peaks"} <= columns.keys():
            return _Header(delimiter, len(cells), columns)
    return None


def _read_row(line: str, header: _Header, position: str, nucleus: str) -> Record | BadRecord:
    try:
        cells = _split(line, header.delimiter)
    except csv.Error as error:
        return BadRecord(position, "", "unreadable row", str(error))
    name = header.cell(cells, "id")
    if any(cell.strip() for cell in cells[header.width :]):
        return BadRecord(
            position,
            name,
            "more cells than columns",
            f"{len(cells)} cells in {header.width} columns: put a peak list that contains "
            f"{header.delimiter!r} in double quotes",
        )
    peaks = header.cell(cells, "peaks")
    if not peaks:
        return BadRecord(position, name, f"no {nucleus} spectrum", "the peak list is empty")
    try:
        molecule = parse_smiles(header.cell(cells, "smiles"))
    except MoleculeError as error:
        return BadRecord(position, name, "unreadable structure", str(error))
    try:
        spectrum = parse_peaks(peaks, nucleus)
    except SpectrumError as error:
        return BadRecord(position, name, "unreadable spectrum", str(error))
    spectrum = replace(spectrum, solvent=read_condition(header.cell(cells, "solvent")))
    return Record(position, name, molecule, (spectrum,), split=header.cell(cells, "split").lower())


def _split(line: str, delimiter: str) -> list[str]:
    # A line at a time: a quote that is never closed costs its own row, not the rest of the file.
    return next(csv.reader([line.rstrip("\n")], delimiter=delimiter, strict=True), [])
