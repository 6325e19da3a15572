"""SD files as nmrshiftdb2 exports them: peaks assigned to the atoms of the molblock."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from nmrtk.errors import DataError, MoleculeError, SpectrumError
from nmrtk.interfaces import BadRecord, Reader, Record
from nmrtk.molecule import Molecule
from nmrtk.nucleus import HYDROGEN_LETTER_NUCLEI, Nucleus
from nmrtk.peaklist import clean_multiplicity
from nmrtk.sources import read_lines
from nmrtk.spectrum import Peak, Spectrum
from nmrtk_formats.molblock import BlockAtom, read_molblock
from nmrtk_formats.values import read_condition, read_quantity

_RECORD_END = "$$$$"
_BLOCK_END = "M  END"
_MAX_LINES = 100_000
"""More lines without an end of the record are no SD file."""
_SAMPLE = 200
"""Records that tell whether a file counts atoms from 0 or from 1."""

_ITEM = re.compile(r">.*?<([^>]*)>")
_SPECTRUM = re.compile(r"Spectrum (\d+[A-Z][a-z]?) (\d+)")
_CONDITION = re.compile(r"(?:^|\s)(\d+):")
_PEAK = re.compile(
    r"\s*(?P<ppm>[^;]*);\s*(?P<intensity>[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)?(?P<letter>[^;]*)"
    r"(?:;\s*(?P<atom>\d*)\s*)?"
)
_CALCULATED = ("Program", "NMRModel")
"""Items that only calculated spectra have."""
_HYDROGENS = {"S": 0, "D": 1, "T": 2, "Q": 3}


@dataclass(frozen=True, slots=True)
class _Entry:
    """The lines of a record."""

    number: int
    block: list[str]
    items: Mapping[str, str]  # wrapped values hold newlines

    @property
    def position(self) -> str:
        return f"record {self.number}"

    @property
    def id(self) -> str:
        number = self.items.get("nmrshiftdb2 ID", "").strip()
        return f"nmrshiftdb2:{number}" if number else self.block[0].strip() if self.block else ""

    def spectra(self) -> Iterator[tuple[str, str, str]]:
        """Item name, nucleus and number of each one-dimensional spectrum."""
        for name in self.items:
            if match := _SPECTRUM.fullmatch(name):
                yield name, match[1], match[2]

    def conditions(self, item: str) -> dict[str, str]:
        """Values of an item by the number of the spectrum: `0:298 1:Unreported`."""
        parts = _CONDITION.split(self.items.get(item, ""))
        return {
            number: value.replace("\n", "").strip()
            for number, value in zip(parts[1::2], parts[2::2], strict=True)
        }


@dataclass(frozen=True, slots=True)
class _Line:
    """A peak as it is written; `atom` is the number in the file."""

    ppm: float
    intensity: float | None
    letter: str
    atom: int | None


class NmrshiftdbReader(Reader):
    """Reads SD records with items such as `Spectrum 13C 0`: `17.6;0.0Q;10|18.3;0.0T;0|`.

    Atoms are counted from 0 over all atoms of the molblock. Some exporters count from 1: where
    elements and multiplicities of the first records say so, all records are read in that way, and
    a record that fits only the other way is read in the other way. An index of an explicit
    hydrogen becomes that of its heavy atom. Calculated spectra are left out and listed.
    """

    def recognizes(self, path: Path, head: bytes) -> bool:
        """Whether it is an SD file with items of nmrshiftdb2, as far as the bytes show any."""
        lines = head.split(b"\n", 4)
        if len(lines) < 5 or not re.search(rb"V[23]000\s*$", lines[3]) or b"<NMREDATA" in head:
            return False
        if re.search(rb"(?m)^>.*<(Spectrum \d|nmrshiftdb2)", head):
            return True
        large = re.search(rb"(?m)^>", head) is None
        return large and bool({".sd", ".sdf"} & set(path.suffixes))

    def read(self, path: Path, nucleus: Nucleus) -> Iterator[Record | BadRecord]:
        """Every record up to `$$$$`; the last one may lack it."""
        base = _base_of_file(path)
        for entry in _read_entries(path):
            yield _read_record(entry, str(nucleus), base)


def _read_entries(path: Path) -> Iterator[_Entry]:
    number, lines = 1, list[str]()
    for line in read_lines(path):
        if line.startswith(_RECORD_END):
            yield _split_entry(number, lines)
            number, lines = number + 1, []
            continue
        lines.append(line.rstrip("\n"))
        if len(lines) > _MAX_LINES:
            raise DataError(
                f"{path}: record {number} has no {_RECORD_END} in {_MAX_LINES} lines: not an SD "
                "file, or damaged"
            )
    if any(line.strip() for line in lines):
        yield _split_entry(number, lines)


def _split_entry(number: int, lines: list[str]) -> _Entry:
    ends = (i for i, line in enumerate(lines, 1) if line.rstrip() == _BLOCK_END)
    end = next(ends, 0)
    items: dict[str, str] = {}
    rest = iter(lines[end:])
    for line in rest:
        if match := _ITEM.match(line):
            value = []
            for text in rest:
                if not text.strip():
                    break
                value.append(text)
            items[match[1].strip()] = "\n".join(value)
    return _Entry(number, lines[:end], items)


def _read_record(entry: _Entry, nucleus: str, file_base: int) -> Record | BadRecord:
    wanted = [(name, number) for name, found, number in entry.spectra() if found == nucleus]
    if not entry.block:
        return BadRecord(entry.position, entry.id, "no structure", f"no line {_BLOCK_END!r}")
    if not wanted:
        return BadRecord(entry.position, entry.id, f"no {nucleus} spectrum")
    try:
        molecule, atoms = _molecule_of(entry)
    except MoleculeError as error:
        return BadRecord(entry.position, entry.id, "unreadable structure", str(error))
    base = _base_of_record(entry, atoms, file_base)
    calculated = {n for item in _CALCULATED for n in entry.conditions(item)}
    solvents = entry.conditions("Solvent")
    fields = entry.conditions("Field Strength [MHz]")
    temperatures = entry.conditions("Temperature [K]")
    spectra, problems = [], []
    for name, number in wanted:
        if number in calculated:
            problems.append(f"calculated spectrum: {name} was not measured")
            continue
        try:
            lines = _read_peaks(entry.items[name], nucleus)
            peaks = _assign(lines, atoms, Nucleus.parse(nucleus), molecule, base)
        except SpectrumError as error:
            problems.append(f"unreadable spectrum: {name}: {error}")
            continue
        assigned = {atom for peak in peaks for atom in peak.atoms}
        spectra.append(
            Spectrum(
                nucleus,
                tuple(peaks),
                atom_count=len(assigned) if all(peak.atoms for peak in peaks) else None,
                solvent=read_condition(solvents.get(number, "")),
                field_mhz=read_quantity(fields.get(number, "")),
                temperature_k=read_quantity(temperatures.get(number, "")),
            )
        )
    return Record(entry.position, entry.id, molecule, tuple(spectra), problems=tuple(problems))


def _molecule_of(entry: _Entry) -> tuple[Molecule, list[BlockAtom]]:
    return read_molblock(entry.block, entry.items.get("SMILES", "").replace("\n", "").strip())


def _read_peaks(text: str, nucleus: str) -> list[_Line]:
    """The peaks of an item, as they are written.

    Raises:
        SpectrumError: one is not a peak, or there is none.
    """
    # A wrapped value may be broken inside a number: the lines are joined with nothing between.
    parts = [part for part in text.replace("\n", "").split("|") if part.strip()]
    lines = []
    for number, part in enumerate(parts, 1):
        match = _PEAK.fullmatch(part)
        try:
            if match is None:
                raise ValueError
            intensity, atom = match["intensity"], match["atom"]
            lines.append(
                _Line(
                    Peak(float(match["ppm"])).ppm,
                    # 0.0 is what nmrshiftdb2 writes for an intensity that nobody gave.
                    (float(intensity) or None) if intensity else None,
                    clean_multiplicity(match["letter"], nucleus),
                    int(atom) if atom else None,
                )
            )
        except ValueError:
            raise SpectrumError(
                f"peak {number}, {part.strip()[:40]!r}, is not shift;intensity multiplicity;atom"
            ) from None
    if not lines:
        raise SpectrumError("it has no peaks")
    return lines


def _assign(
    lines: Sequence[_Line],
    atoms: Sequence[BlockAtom],
    nucleus: Nucleus,
    molecule: Molecule,
    base: int,
) -> list[Peak]:
    """Peaks with atoms of the molecule; hydrogens of one atom with one shift are one peak.

    Raises:
        SpectrumError: a peak belongs to an atom that is not there or gives no line.
    """
    sites = set(nucleus.sites(molecule))
    peaks = {}
    for number, line in enumerate(lines):
        target: tuple[int, ...] = ()
        if line.atom is not None:
            index = line.atom - base
            if not 0 <= index < len(atoms):
                raise SpectrumError(f"atom {line.atom} does not exist: there are {len(atoms)}")
            atom = atoms[index]
            if atom.target not in sites or not _gives_line(atom, nucleus):
                raise SpectrumError(f"atom {line.atom} is {atom.element}, which gives no {nucleus}")
            target = (atom.target,)
        key = (line.ppm, *target) if target else (line.ppm, None, number)
        peaks[key] = Peak(line.ppm, line.intensity, line.letter, target)
    return list(peaks.values())


def _gives_line(atom: BlockAtom, nucleus: Nucleus) -> bool:
    if nucleus.element == "H":
        return atom.element == "H" or atom.hydrogens > 0
    return atom.element == nucleus.element


def _base_of_file(path: Path) -> int:
    """0 or 1: how most of the first records count atoms."""
    votes = [0, 0]
    try:
        for entry in islice(_read_entries(path), _SAMPLE):
            try:
                _, atoms = _molecule_of(entry) if entry.block else (None, [])
            except MoleculeError:
                continue
            misfits = _misfits(entry, atoms)
            if misfits[0] != misfits[1]:
                votes[misfits.index(min(misfits))] += 1
    except DataError:
        pass  # Found again, and reported, when the records are read.
    return votes.index(max(votes))


def _base_of_record(entry: _Entry, atoms: Sequence[BlockAtom], file_base: int) -> int:
    misfits = _misfits(entry, atoms)
    other = 1 - file_base
    return other if misfits[file_base] and not misfits[other] else file_base


def _misfits(entry: _Entry, atoms: Sequence[BlockAtom]) -> list[int]:
    """Peaks that contradict their atom if atoms are counted from 0, and if from 1."""
    misfits = [0, 0]
    for name, found, _ in entry.spectra():
        nucleus = Nucleus.parse(found)
        try:
            lines = _read_peaks(entry.items[name], found)
        except SpectrumError:
            continue
        for line in lines:
            if line.atom is not None:
                for base in (0, 1):
                    misfits[base] += not _fits(line, line.atom - base, atoms, nucleus)
    return misfits


def _fits(line: _Line, index: int, atoms: Sequence[BlockAtom], nucleus: Nucleus) -> bool:
    if not 0 <= index < len(atoms) or not _gives_line(atoms[index], nucleus):
        return False
    hydrogens = _HYDROGENS.get(line.letter) if str(nucleus) in HYDROGEN_LETTER_NUCLEI else None
    return hydrogens is None or hydrogens == atoms[index].hydrogens
