"""The formats of candidates: JSON lines, tables, SD files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from nmrtk.row_output import JSON_LINES, RowFormat, csv_format
from nmrtk.rows import Row
from nmrtk.spectrum import Peak

if TYPE_CHECKING:
    from nmrtk.elucidation import Elucidation
    from nmrtk.query import Query

COLUMNS = (
    *("id", "rank", "smiles", "probability", "mae_ppm", "source"),
    *("none_of_these", "seconds", "notes", "error"),
)

_DIGITS = 2


def _flatten(row: Row) -> Iterator[Row]:
    """One line of a table a candidate; one line for a row without candidates."""
    shared = {**row, "notes": "; ".join(row.get("notes", []))}
    for candidate in row.get("candidates") or [{}]:
        yield {**shared, **candidate}


ROW_FORMATS: dict[str, RowFormat] = {
    ".jsonl": JSON_LINES,
    ".csv": csv_format(COLUMNS, _flatten),
}
"""Formats that are made of rows alone, by the ending of a file."""


def _rounded(peak: Peak) -> Peak:
    sigma = None if peak.sigma is None else round(peak.sigma, _DIGITS)
    return replace(peak, ppm=round(peak.ppm, _DIGITS), sigma=sigma)


def sd_text(row: Row, query: Query | None, answer: Elucidation | None) -> str:
    """The candidates of a row as records of an SD file, each with its predicted lines, and with
    the items `Rank`, `Probability`, `MAE`, `Source`, `None of these` and `Notes`; a row with an
    error is a record without atoms that says why.
    """
    from nmrtk.predicted import PredictedSpectrum
    from nmrtk.sd_output import sd_record

    if query is None or answer is None:
        return sd_record(PredictedSpectrum(row["id"], "", error=row["error"]))
    shared = {"None of these": f"{answer.none_of_these:.6f}"}
    if answer.notes:
        shared["Notes"] = "; ".join(" ".join(note.split()) for note in answer.notes)
    records = []
    for rank, candidate in enumerate(answer.candidates[: query.top], start=1):
        spectrum = candidate.spectrum
        peaks = () if spectrum is None else tuple(_rounded(peak) for peak in spectrum.peaks)
        prediction = PredictedSpectrum(
            query.id,
            candidate.smiles,
            query.spectrum.nucleus,
            peaks,
            solvent=query.spectrum.solvent,
        )
        more = {
            "Rank": str(rank),
            "Probability": f"{candidate.probability:.6f}",
            "MAE": f"{candidate.mae_ppm:.2f}",
            "Source": candidate.source,
            **shared,
        }
        records.append(sd_record(prediction, more))
    if not records:
        reason = "; ".join(answer.notes) or "no candidate was found"
        records.append(sd_record(PredictedSpectrum(query.id, "", error=reason)))
    return "".join(records)
