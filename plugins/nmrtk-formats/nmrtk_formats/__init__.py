"""Readers of files with molecules and their measured spectra."""

from nmrtk import Component, hookimpl


@hookimpl
def readers() -> list[Component]:
    """What `nmrtk data import` reads, each plain or gzip."""
    return [
        Component(
            "csv",
            "nmrtk_formats.table:CsvReader",
            "CSV or TSV with a SMILES and a peak-list column",
        ),
        Component(
            "nmrshiftdb2-sd",
            "nmrtk_formats.nmrshiftdb2:NmrshiftdbReader",
            "SD records of nmrshiftdb2, peaks assigned to atoms",
        ),
        Component(
            "peak-table",
            "nmrtk_formats.peaktable:PeakTableReader",
            "JSON lines with SMILES and peaks, not assigned",
        ),
        Component(
            "seed-hydrocarbons",
            "nmrtk_formats.hydrocarbons:HydrocarbonReader",
            "the seed paper's adjacency digits and spectrum bits",
        ),
    ]
