"""The formats of predictions: JSON lines, tables, SD files, the text of journals."""

from __future__ import annotations

from collections.abc import Iterator

from nmrtk.predicted import PredictedSpectrum
from nmrtk.row_output import JSON_LINES, RowFormat, csv_format
from nmrtk.rows import Row

COLUMNS = ("id", "smiles", "nucleus", "ppm", "sigma", "multiplicity", "atoms", "error")


def _flatten(row: Row) -> Iterator[Row]:
    """One line of a table a peak; one line for a row without peaks."""
    for peak in row.get("peaks") or [{"atoms": []}]:
        atoms = " ".join(str(atom) for atom in peak["atoms"])
        yield {**row, **peak, "atoms": atoms}


def _sd_record(row: Row) -> str:
    from nmrtk.sd_output import sd_record

    return sd_record(PredictedSpectrum.of_row(row))


def _acs_line(row: Row) -> str:
    return f"{' '.join(str(row['id']).split())}: {PredictedSpectrum.of_row(row)}\n"


FORMATS = {
    "jsonl": JSON_LINES,
    "csv": csv_format(COLUMNS, _flatten),
    "sdf": RowFormat(_sd_record),
    "acs": RowFormat(_acs_line),
}
"""Formats by name."""

ENDINGS = {
    ".jsonl": FORMATS["jsonl"],
    ".csv": FORMATS["csv"],
    ".sdf": FORMATS["sdf"],
    ".txt": FORMATS["acs"],
}
"""Formats by the ending of a file."""
