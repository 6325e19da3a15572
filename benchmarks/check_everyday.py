"""Check the table of everyday 13C lines against chemistry and against nmrshiftdb2.

Every row must be sound in itself: a SMILES that RDKit reads, as many lines as carbons,
multiplicity letters that agree with the attached hydrogens, no compound twice. Where
nmrshiftdb2 holds a complete 13C spectrum of the compound, the sorted lines are compared
with the nearest of its spectra. The exit code is 1 if a row is unsound or a line differs
by more than the tolerance.

    python benchmarks/check_everyday.py path/to/nmrshiftdb2.jsonl.gz
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdkit import Chem
from rdkit.rdBase import BlockLogs

TABLE = Path(__file__).resolve().parents[1] / "nmrtk" / "data" / "everyday_13c.csv"
COLUMNS = ["name", "smiles", "solvent", "peaks", "source"]
TOKEN = re.compile(r"(-?\d+(?:\.\d+)?)([SDTQ])(?:\((\d+)C\))?")
LETTERS = "SDTQ"  # the letter's position is the number of attached hydrogens
SKELETON_LENGTH = 14  # first block of an InChIKey: connectivity without stereo


@dataclass(frozen=True)
class Row:
    """One compound of the table as it is written."""

    name: str
    smiles: str
    solvent: str
    peaks: str
    source: str


@dataclass(frozen=True)
class Comparison:
    """A row against the nearest spectrum of the same skeleton."""

    name: str
    differences: list[float]
    worst_line: float
    spectra: int

    @property
    def largest(self) -> float:
        """Largest absolute difference of a line, in ppm."""
        return max(self.differences)

    @property
    def mean(self) -> float:
        """Mean absolute difference of the lines, in ppm."""
        return sum(self.differences) / len(self.differences)


def read_table(path: Path) -> list[Row]:
    """Rows of the CSV file, in file order."""
    with path.open(encoding="utf-8", newline="") as handle:
        reader = csv.DictReader(handle)
        if reader.fieldnames != COLUMNS:
            raise SystemExit(f"{path}: columns are {reader.fieldnames}, expected {COLUMNS}")
        return [Row(**record) for record in reader]


def parse_peaks(text: str) -> list[tuple[float, str]]:
    """One (ppm, letter) for each carbon; equivalent carbons repeat."""
    lines: list[tuple[float, str]] = []
    for token in text.split(" "):
        match = TOKEN.fullmatch(token)
        if match is None:
            raise ValueError(f"unreadable peak {token!r}")
        ppm, letter, count = match.groups()
        lines += [(float(ppm), letter)] * int(count or 1)
    return lines


def carbon_letters(molecule: Chem.Mol) -> Counter[str]:
    """How many carbons of the molecule carry 0, 1, 2 and 3 hydrogens, as letters."""
    hydrogens = (a.GetTotalNumHs() for a in molecule.GetAtoms() if a.GetSymbol() == "C")
    return Counter(LETTERS[n] if n < len(LETTERS) else f"CH{n}" for n in hydrogens)


def show_letters(letters: Counter[str]) -> str:
    """A multiplicity count in the order S, D, T, Q, for messages."""
    return " ".join(f"{letters[letter]}{letter}" for letter in LETTERS if letters[letter])


def faults_of(row: Row) -> list[str]:
    """What is wrong with the row by itself; empty when it is sound."""
    faults = [f"column {column} is empty" for column in COLUMNS if not getattr(row, column)]
    molecule = Chem.MolFromSmiles(row.smiles)
    if molecule is None:
        return [*faults, f"RDKit cannot read the SMILES {row.smiles}"]
    try:
        lines = parse_peaks(row.peaks)
    except ValueError as error:
        return [*faults, str(error)]
    expected = carbon_letters(molecule)
    found = Counter(letter for _, letter in lines)
    if len(lines) != expected.total():
        faults.append(f"{len(lines)} lines for {expected.total()} carbons")
    if found != expected:
        faults.append(f"letters {show_letters(found)}, molecule has {show_letters(expected)}")
    shifts = [ppm for ppm, _ in lines]
    if shifts != sorted(shifts) and shifts != sorted(shifts, reverse=True):
        faults.append("peaks are not in order")
    return faults


def inchikey_of(smiles: str) -> str | None:
    """InChIKey of a SMILES, or None where RDKit cannot read it."""
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        return None
    key: str = Chem.MolToInchiKey(molecule)
    return key


def find_duplicates(keyed_rows: Iterable[tuple[str | None, Row]]) -> list[str]:
    """Messages for compounds that occur twice, by InChIKey or by name."""
    seen: dict[str, str] = {}
    faults = []
    for key, row in keyed_rows:
        for mark in filter(None, (key, row.name.lower())):
            if mark in seen:
                faults.append(f"{row.name}: same compound as {seen[mark]}")
                break
            seen[mark] = row.name
    return faults


def complete_carbon_spectra(record: dict[str, Any]) -> Iterator[list[float]]:
    """Sorted shifts of those 13C spectra of a record that cover every carbon."""
    molecule = Chem.MolFromSmiles(record["smiles"])
    if molecule is None:
        return
    carbons = sum(atom.GetSymbol() == "C" for atom in molecule.GetAtoms())
    for spectrum in record["spectra"]:
        complete = spectrum["atoms"] == len(spectrum["peaks"]) == carbons
        if spectrum["nucleus"] == "13C" and complete:
            yield sorted(ppm for ppm, _ in spectrum["peaks"])


def read_references(path: Path, skeletons: set[str]) -> dict[str, list[list[float]]]:
    """Complete 13C spectra of the wanted skeletons in nmrshiftdb2."""
    references: dict[str, list[list[float]]] = defaultdict(list)
    with gzip.open(path, "rt", encoding="utf-8") as handle:
        for line in handle:
            record = json.loads(line)
            skeleton = record["inchikey"][:SKELETON_LENGTH]
            if skeleton in skeletons:
                references[skeleton].extend(complete_carbon_spectra(record))
    return {skeleton: spectra for skeleton, spectra in references.items() if spectra}


def compare(row: Row, spectra: list[list[float]]) -> Comparison | None:
    """The row against the spectrum whose largest difference is smallest."""
    shifts = sorted(ppm for ppm, _ in parse_peaks(row.peaks))
    candidates = [
        [abs(a - b) for a, b in zip(shifts, spectrum, strict=True)]
        for spectrum in spectra
        if len(spectrum) == len(shifts)
    ]
    if not candidates:
        return None
    differences = min(candidates, key=lambda values: (max(values), sum(values)))
    worst_line = shifts[differences.index(max(differences))]
    return Comparison(row.name, differences, worst_line, len(candidates))


def print_comparisons(comparisons: list[Comparison], tolerance: float) -> None:
    """A table of the differences, the largest first."""
    print(f"{'compound':34}{'lines':>6}{'spectra':>9}{'mean':>7}{'max':>7}{'at ppm':>9}")
    for item in sorted(comparisons, key=lambda c: c.largest, reverse=True):
        flag = "  TOO FAR" if item.largest > tolerance else ""
        print(
            f"{item.name:34.34}{len(item.differences):6d}{item.spectra:9d}"
            f"{item.mean:7.2f}{item.largest:7.2f}{item.worst_line:9.1f}{flag}"
        )


def print_summary(rows: list[Row], comparisons: list[Comparison], tolerance: float) -> None:
    """Counts and overall differences."""
    print(f"\nrows                      {len(rows)}")
    print(f"rows with a counterpart   {len(comparisons)}")
    differences = [value for item in comparisons for value in item.differences]
    if differences:
        too_far = sum(item.largest > tolerance for item in comparisons)
        mean = sum(differences) / len(differences)
        within_one = sum(value <= 1.0 for value in differences) / len(differences)
        print(f"carbons compared          {len(differences)}")
        print(f"mean absolute difference  {mean:.2f} ppm")
        print(f"carbons within 1 ppm      {within_one:.1%}")
        print(f"largest difference        {max(differences):.2f} ppm")
        print(f"rows over {tolerance:g} ppm           {too_far}")


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Command line of the script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("database", type=Path, help="nmrshiftdb2 as gzipped JSON lines")
    parser.add_argument("--table", type=Path, default=TABLE, help="default: %(default)s")
    parser.add_argument(
        "--tolerance", type=float, default=3.0, metavar="PPM", help="default: %(default)s"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the check; the return value is the exit code."""
    options = parse_arguments(arguments)
    rows = read_table(options.table)
    with BlockLogs():  # RDKit would repeat what the faults say
        keyed_rows = [(inchikey_of(row.smiles), row) for row in rows]
        faults = [f"{row.name}: {fault}" for row in rows for fault in faults_of(row)]
    faults += find_duplicates(keyed_rows)
    if faults:
        print("unsound rows:", *faults, sep="\n  ")
        return 1

    skeletons = {key[:SKELETON_LENGTH] for key, _ in keyed_rows if key}
    references = read_references(options.database, skeletons)
    comparisons = [
        comparison
        for key, row in keyed_rows
        if key and (spectra := references.get(key[:SKELETON_LENGTH]))
        if (comparison := compare(row, spectra))
    ]
    print_comparisons(comparisons, options.tolerance)
    print_summary(rows, comparisons, options.tolerance)
    return int(any(item.largest > options.tolerance for item in comparisons))


if __name__ == "__main__":
    sys.exit(main())
