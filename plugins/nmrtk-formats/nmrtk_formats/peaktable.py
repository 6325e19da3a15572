"""JSON lines with a molecule and its spectra each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nmrtk.errors import MoleculeError, SpectrumError
from nmrtk.interfaces import BadRecord, Reader, Record
from nmrtk.molecule import parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.peaklist import clean_multiplicity
from nmrtk.sources import read_lines
from nmrtk.spectrum import Peak, Spectrum
from nmrtk_formats.values import read_condition, read_quantity


class PeakTableReader(Reader):
    """Reads a peak table: `{"id", "inchikey", "smiles", "split", "spectra": [{"nucleus", "peaks":
    [[ppm, multiplicity], ...], "atoms", "solvent", "field_mhz", "temperature_k"}]}` on each line.

    Only `smiles` and `spectra` with `nucleus` and `peaks` must be there. Spectra of other nuclei
    than the one asked for are passed over.
    """

    def recognizes(self, path: Path, head: bytes) -> bool:
        """Whether the first line is an object with `smiles` and `spectra`."""
        start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
        return start.startswith(b"{") and b'"smiles"' in start and b'"spectra"' in start

    def read(self, path: Path, nucleus: Nucleus) -> Iterator[Record | BadRecord]:
        """Every line that is not blank, as a record or a bad one."""
        for number, line in enumerate(read_lines(path), 1):
            if line.strip():
                yield _read_entry(line, f"line {number}", str(nucleus))


def _read_entry(line: str, position: str, nucleus: str) -> Record | BadRecord:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        return BadRecord(position, "", "not JSON", str(error))
    if not isinstance(entry, dict):
        return BadRecord(position, "", "not a JSON object", f"found {type(entry).__name__}")
    name = _text(entry, "id")
    spectra = entry.get("spectra")
    if not isinstance(spectra, list) or not all(isinstance(s, dict) for s in spectra):
        return BadRecord(position, name, "no list of spectra", f"found {_shorten(spectra)}")
    wanted = [(n, s) for n, s in enumerate(spectra, 1) if s.get("nucleus") == nucleus]
    if not wanted:
        return BadRecord(position, name, f"no {nucleus} spectrum")
    try:
        molecule = parse_smiles(_text(entry, "smiles"))
    except MoleculeError as error:
        return BadRecord(position, name, "unreadable structure", str(error))
    read, problems = [], []
    for number, spectrum in wanted:
        try:
            read.append(_read_spectrum(spectrum, nucleus))
        except SpectrumError as error:
            problems.append(f"unreadable spectrum: spectrum {number}: {error}")
    return Record(
        position,
        name,
        molecule,
        tuple(read),
        inchikey=_text(entry, "inchikey"),
        split=_text(entry, "split"),
        problems=tuple(problems),
    )


def _read_spectrum(entry: dict[str, Any], nucleus: str) -> Spectrum:
    peaks = entry.get("peaks")
    if not isinstance(peaks, list) or not peaks:
        raise SpectrumError(f"it has no list of peaks, but {_shorten(peaks)}")
    lines = tuple(_read_peak(peak, number, nucleus) for number, peak in enumerate(peaks, 1))
    atoms = entry.get("atoms")
    if atoms is not None and (type(atoms) is not int or not 0 < atoms <= len(peaks)):
        raise SpectrumError(
            f"atoms={_shorten(atoms)} is not a number of atoms that {len(peaks)} peaks can have"
        )
    return Spectrum(
        nucleus,
        lines,
        atom_count=atoms,
        solvent=read_condition(_text(entry, "solvent")),
        field_mhz=read_quantity(_text(entry, "field_mhz")),
        temperature_k=read_quantity(_text(entry, "temperature_k")),
    )


def _read_peak(peak: Any, number: int, nucleus: str) -> Peak:
    ppm, multiplicity = (*peak, "")[:2] if isinstance(peak, list) and peak else (peak, "")
    # bool is a kind of int, but not of shift.
    if isinstance(ppm, bool) or not isinstance(ppm, int | float):
        raise SpectrumError(f"peak {number}: {_shorten(ppm)} is not a shift in ppm")
    if not isinstance(multiplicity, str | None):
        raise SpectrumError(f"peak {number}: {_shorten(multiplicity)} is not a multiplicity")
    try:
        return Peak(float(ppm), multiplicity=clean_multiplicity(multiplicity or "", nucleus))
    except (SpectrumError, OverflowError) as error:
        raise SpectrumError(f"peak {number}: {error}") from None


def _text(entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    return "" if value is None else str(value).strip()


def _shorten(value: Any, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
