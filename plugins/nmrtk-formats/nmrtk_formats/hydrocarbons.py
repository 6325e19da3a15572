"""The hydrocarbon set of the seed paper (arXiv 2602.03875)."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

from rdkit import Chem

from nmrtk.errors import DataError, MoleculeError, SpectrumError
from nmrtk.interfaces import BadRecord, Reader, Record
from nmrtk.molecule import Molecule, finish_molecule
from nmrtk.nucleus import DEFAULT_NUCLEUS, Nucleus
from nmrtk.sources import read_lines
from nmrtk.spectrum import Spectrum, spectrum_of_shifts

ADJACENCY = "adjacency_upper_17x17"
BITS = "spectrum_bits_1024"
_NAME = "nmrshiftdb2_molecule"

_CARBONS = 17
_PAIRS = tuple(combinations(range(_CARBONS), 2))
_BINS = 1024
_BIN_PPM = 0.2
# 6 and 7 are the single and the double bonds of a Kekule form of an aromatic ring.
_BONDS = {
    "1": Chem.BondType.SINGLE,
    "2": Chem.BondType.DOUBLE,
    "3": Chem.BondType.TRIPLE,
    "6": Chem.BondType.SINGLE,
    "7": Chem.BondType.DOUBLE,
}


class HydrocarbonReader(Reader):
    """Reads CSV with the bonds of up to 17 carbons and 1024 bits of 0.2 ppm.

    The molecule has its atoms in the order of the file. Each set bit becomes one peak at the
    centre of its bin, so lines of equivalent carbons are one: most spectra are incomplete.
    """

    def recognizes(self, path: Path, head: bytes) -> bool:
        """Whether the header names both columns."""
        header = head.split(b"\n", 1)[0]
        return ADJACENCY.encode() in header and BITS.encode() in header

    def read(self, path: Path, nucleus: Nucleus) -> Iterator[Record | BadRecord]:
        """Every row, as a record or a bad one."""
        rows = csv.DictReader(read_lines(path), restval="")
        missing = {ADJACENCY, BITS} - set(rows.fieldnames or ())
        if missing:
            raise DataError(f"{path} has no column {' and no column '.join(sorted(missing))}")
        try:
            for row in rows:
                yield _read_row(row, f"line {rows.line_num}", str(nucleus))
        except csv.Error as error:
            raise DataError(f"{path}, line {rows.line_num}: {error}") from error


def _read_row(row: Mapping[str, str], position: str, nucleus: str) -> Record | BadRecord:
    name = row.get(_NAME, "")
    if nucleus != DEFAULT_NUCLEUS:
        return BadRecord(position, name, f"no {nucleus} spectrum")
    try:
        molecule = molecule_of_digits(row[ADJACENCY])
    except MoleculeError as error:
        return BadRecord(position, name, "unreadable structure", str(error))
    try:
        return Record(position, name, molecule, (spectrum_of_bits(row[BITS]),))
    except SpectrumError as error:
        return BadRecord(position, name, "unreadable spectrum", str(error))


def molecule_of_digits(digits: str) -> Molecule:
    """The molecule of an upper triangle of bonds, row by row; unbonded carbons at the end do not
    exist.

    Args:
        digits: 136 of 0 (no bond), 1 to 3 (orders), 6 and 7 (aromatic single and double).

    Raises:
        MoleculeError: another length or digit, a part that is not bonded, a broken valence.
    """
    if len(digits) != len(_PAIRS) or not set(digits) <= {"0", *_BONDS}:
        raise MoleculeError(
            f"{len(digits)} characters {''.join(sorted(set(digits)))[:20]!r} are not "
            f"{len(_PAIRS)} digits 0, 1, 2, 3, 6, 7"
        )
    bonds = [(*pair, digit) for pair, digit in zip(_PAIRS, digits, strict=True) if digit != "0"]
    molecule = Chem.RWMol()
    for _ in range(1 + max((j for _, j, _ in bonds), default=0)):
        molecule.AddAtom(Chem.Atom("C"))
    for i, j, digit in bonds:
        molecule.AddBond(i, j, _BONDS[digit])
    if len(Chem.GetMolFrags(molecule)) > 1:
        raise MoleculeError("a carbon is not bonded to the others")
    return finish_molecule(molecule.GetMol(), f"{molecule.GetNumAtoms()} carbons")


def spectrum_of_bits(bits: str) -> Spectrum:
    """A 13C spectrum with one peak at the centre of each set bin.

    Args:
        bits: 1024 of 0 and 1, a bin of 0.2 ppm each, from 0 ppm.

    Raises:
        SpectrumError: another length or character, or no bit is set.
    """
    if len(bits) != _BINS or not set(bits) <= {"0", "1"}:
        raise SpectrumError(f"{len(bits)} characters are not {_BINS} zeros and ones")
    centres = [round((i + 0.5) * _BIN_PPM, 1) for i, bit in enumerate(bits) if bit == "1"]
    if not centres:
        raise SpectrumError("no bit is set")
    return spectrum_of_shifts(DEFAULT_NUCLEUS, centres)
