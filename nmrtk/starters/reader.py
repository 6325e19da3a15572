"""Molecules with their lines, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nmrtk.errors import DataError, MoleculeError, SpectrumError, UsageError
from nmrtk.interfaces import BadRecord, Reader, Record
from nmrtk.molecule import parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.sources import read_lines
from nmrtk.spectrum import Spectrum, spectrum_of_shifts

_NO_ENTRY = "not an entry"


class JsonLinesReader(Reader):
    """Reads lines such as `{"id": "ethanol", "smiles": "CCO", "spectra": {"13C": [18.1, 57.8]}}`.

    The spectra are lists of shifts in ppm by nucleus, with one shift for every atom; `id` may be
    left out. Blank lines are nothing.
    """

    def recognizes(self, path: Path, head: bytes) -> bool:
        """Whether the first line that is not blank is such an object."""
        lines = head.decode("utf-8", errors="replace").split("\n")
        first = next((line for line in lines if line.strip()), "")
        try:
            return _is_entry(json.loads(first))
        except (ValueError, RecursionError):
            return False

    def read(self, path: Path, nucleus: Nucleus) -> Iterator[Record | BadRecord]:
        """Every line that is not blank.

        Raises:
            DataError: the file cannot be read, or its first line is not of the format.
        """
        first = True
        for number, line in enumerate(read_lines(path), start=1):
            if not line.strip():
                continue
            entry = _read(f"line {number}", line)
            if first and isinstance(entry, BadRecord) and entry.reason == _NO_ENTRY:
                raise DataError(f"{path}, line {number}: {entry.detail}")
            first = False
            yield entry
        if first:
            raise DataError(f"{path} has only blank lines")


def _is_entry(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("smiles"), str)
        and isinstance(value.get("spectra"), dict)
    )


def _read(position: str, line: str) -> Record | BadRecord:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return BadRecord(position, "", _NO_ENTRY, f"not JSON: {error}")
    if not _is_entry(value):
        wanted = 'an object with a text "smiles" and an object "spectra" is needed'
        return BadRecord(position, "", _NO_ENTRY, wanted)
    name = str(value.get("id", ""))
    try:
        molecule = parse_smiles(value["smiles"])
    except MoleculeError as error:
        return BadRecord(position, name, "unreadable structure", str(error))
    spectra: list[Spectrum] = []
    problems: list[str] = []
    for nucleus, shifts in value["spectra"].items():
        try:
            spectra.append(_spectrum(nucleus, shifts))
        except (SpectrumError, UsageError) as error:
            problems.append(f"{nucleus}: {error}")
    return Record(position, name, molecule, tuple(spectra), problems=tuple(problems))


def _spectrum(nucleus: str, shifts: Any) -> Spectrum:
    """Lines of one nucleus.

    Raises:
        UsageError: there is no such nucleus.
        SpectrumError: the shifts are not a list of numbers, or one of them is impossible.
    """
    is_list = isinstance(shifts, list) and all(type(ppm) in (int, float) for ppm in shifts)
    if not is_list or not shifts:
        raise SpectrumError("the shifts are not a list of at least one number")
    name = str(Nucleus.parse(nucleus))
    try:
        return spectrum_of_shifts(name, shifts)
    except OverflowError as error:
        raise SpectrumError(f"a shift is impossible: {error}") from error
