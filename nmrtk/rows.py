"""Rows that users give and get: structures and peak lists in, results out, one at a time.

A row that cannot be read becomes a row with an error, so that the good ones are never lost.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nmrtk.acs_reader import parse_spectrum
from nmrtk.errors import DataError, MoleculeError, NmrtkError, SpectrumError, UsageError
from nmrtk.formula import Formula
from nmrtk.molecule import Molecule
from nmrtk.nucleus import Nucleus
from nmrtk.row_lines import (
    Line,
    Table,
    decimal,
    file_lines,
    sd_records,
    standard_input_lines,
)
from nmrtk.spectrum import Peak, Spectrum

Row = dict[str, Any]
Id = str | int
_AnyRow = TypeVar("_AnyRow")

STANDARD_INPUT = "-"

_STRUCTURE_FORMATS = {
    ".jsonl": ".jsonl",
    ".smi": ".smi",
    ".smiles": ".smi",
    ".csv": ".csv",
    ".tsv": ".csv",
    ".sdf": ".sdf",
    ".sd": ".sdf",
}
_QUERY_FORMATS = {".jsonl": ".jsonl", ".csv": ".csv", ".tsv": ".csv", ".txt": ".txt"}
_LONGEST_QUOTE = 60


@dataclass(frozen=True, slots=True)
class StructureRow:
    """A structure as a user gave it.

    Args:
        position: where it stands, such as `line 4`.
        id: the user's, or the number of the row.
        smiles: as given; of an SD record, canonical.
        error: why the row cannot be read, or an empty string.
    """

    position: str
    id: Id
    smiles: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class QueryRow:
    """A peak list as a user gave it.

    Args:
        position: where it stands, such as `line 4`.
        id: the user's, or the number of the row.
        spectrum: the lines, or None where the row cannot be read.
        formula: of the compound, where given.
        error: why the row cannot be read, or an empty string.
        contains: patterns that the compound has, where given.
        lacks: patterns that it does not have, where given.
        mass: in dalton, where given.
        text: where lines of further nuclei stand, if they were given.
    """

    position: str
    id: Id
    spectrum: Spectrum | None
    formula: Formula | None = None
    error: str = ""
    contains: tuple[Molecule, ...] = ()
    lacks: tuple[Molecule, ...] = ()
    mass: float | None = None
    text: str = ""


def read_structures(source: str) -> Iterator[StructureRow]:
    """Structures of a `.jsonl`, `.smi`, `.csv` or `.sdf` file, plain or gzip, in bounded memory.

    Args:
        source: the file, or `-` for JSON lines or SMILES from standard input.

    Raises:
        UsageError: the ending of the file is none of these.
        DataError: it cannot be opened, has no column `smiles`, or is empty.
    """
    lines, kind = _lines(source, _kind(source, _STRUCTURE_FORMATS), ".smi")
    reader: Callable[[Iterator[Line]], Iterator[StructureRow]] = {
        ".jsonl": _json_structures,
        ".smi": _smiles_structures,
        ".csv": lambda text: _table_structures(text, source),
        ".sdf": _sd_structures,
    }[kind]
    return _not_empty(reader(lines), source)


def read_queries(source: str, nucleus: Nucleus) -> Iterator[QueryRow]:
    """Peak lists of a file, plain or gzip.

    `.jsonl` has one query a line. `.csv` has either a column `peaks`, and then one query a line,
    or a column `ppm`, and then one peak a line of a single query. `.txt` has one peak list a line.

    Args:
        source: the file, or `-` for JSON lines or plain peak lists from standard input.
        nucleus: whose lines these are.

    Raises:
        UsageError: the ending of the file is none of these.
        DataError: it cannot be opened, lacks its columns, or is empty.
    """
    lines, kind = _lines(source, _kind(source, _QUERY_FORMATS), ".txt")
    reader: Callable[[Iterator[Line]], Iterator[QueryRow]] = {
        ".jsonl": lambda text: _json_queries(text, nucleus),
        ".txt": lambda text: _text_queries(text, nucleus),
        ".csv": lambda text: _table_queries(text, nucleus, source),
    }[kind]
    return _not_empty(reader(lines), source)


def query_row(position: str, fields: Mapping[str, Any], nucleus: Nucleus, number: int) -> QueryRow:
    """A query from the fields `id`, `peaks`, `formula`, `contains`, `lacks`, `mass` and `also`; in
    case of an error, a row with it.

    Args:
        position: where it stands.
        fields: `peaks` is a list of shifts, of pairs of shift and multiplicity, of objects with
            `ppm`, or a text; `contains` and `lacks` are a SMARTS or a list of them; `also` is the
            text of further spectra as in a paper, or a list of such texts.
        nucleus: whose lines these are.
        number: of the row, for want of an id.
    """
    row_id = _id(fields, number)
    try:
        spectrum = _spectrum(fields.get("peaks"), nucleus)
        return QueryRow(
            position,
            row_id,
            spectrum,
            _formula(fields.get("formula")),
            contains=_patterns(fields, "contains"),
            lacks=_patterns(fields, "lacks"),
            mass=_mass(fields.get("mass")),
            text=_further_text(fields),
        )
    except NmrtkError as error:
        return QueryRow(position, row_id, None, error=str(error))


def _further_text(fields: Mapping[str, Any]) -> str:
    """What stands in `also`, and in `peaks` where that is a text.

    Raises:
        SpectrumError: `also` is no text.
    """
    given = fields.get("also")
    texts = [] if given is None else given if isinstance(given, list) else [given]
    if not all(isinstance(text, str) for text in texts):
        raise SpectrumError('also: write a text such as "1H NMR (400 MHz, CDCl3) δ 3.72, 1.24"')
    peaks = fields.get("peaks")
    # Plain peaks behind a text would be taken for lines of its last nucleus.
    return ". ".join([peaks, *texts] if isinstance(peaks, str) else texts)


# --- files


def _kind(source: str, formats: Mapping[str, str]) -> str:
    """The format that the ending says; of standard input, an empty text."""
    if source == STANDARD_INPUT:
        return ""
    name = source.lower().removesuffix(".gz")
    for ending, kind in formats.items():
        if name.endswith(ending):
            return kind
    known = ", ".join(sorted(set(formats.values())))
    raise UsageError(f"{source}: its ending says no known format; allowed: {known}, also with .gz")


def _lines(source: str, kind: str, plain: str) -> tuple[Iterator[Line], str]:
    """Lines (of SD files, records), and the format: of standard input, what it looks like.

    Raises:
        DataError: the file cannot be opened, or there is no line.
    """
    if source == STANDARD_INPUT:
        lines = standard_input_lines()
    else:
        lines = (sd_records if kind == ".sdf" else file_lines)(Path(source))
    # At once, so that a wrong name is told before a model is loaded.
    first = next(lines, None)
    if first is None:
        raise _empty(source)
    if not kind:
        kind = ".jsonl" if first.text.lstrip().startswith("{") else plain
    return itertools.chain([first], lines), kind


def _not_empty(rows: Iterator[_AnyRow], source: str) -> Iterator[_AnyRow]:
    empty = True
    for row in rows:
        empty = False
        yield row
    if empty:
        raise _empty(source)


def _empty(source: str) -> DataError:
    name = "standard input" if source == STANDARD_INPUT else source
    return DataError(f"{name} is empty: there is no row in it")


# --- JSON lines


def _json_objects(lines: Iterable[Line]) -> Iterator[tuple[Line, Row, str]]:
    """Each line with its object, or with what is wrong with it."""
    for line in lines:
        fields: Any = {}
        error = line.error
        if not error:
            try:
                fields = json.loads(line.text)
            except (ValueError, RecursionError) as problem:
                error = f"{_quote(line.text)} is not JSON: {problem}"
        if not isinstance(fields, dict):
            fields, error = {}, f"{_quote(line.text)} is not a JSON object in braces"
        yield line, fields, error


def _json_structures(lines: Iterable[Line]) -> Iterator[StructureRow]:
    for number, (line, fields, error) in enumerate(_json_objects(lines), start=1):
        smiles = fields.get("smiles")
        if not error and not isinstance(smiles, str):
            error = "the row has no text 'smiles'" if smiles is None else f"smiles={smiles!r}"
            error += '; write {"id": "a", "smiles": "CCO"}'
        text = smiles if isinstance(smiles, str) else ""
        yield StructureRow(f"line {line.number}", _id(fields, number), text, error)


def _json_queries(lines: Iterable[Line], nucleus: Nucleus) -> Iterator[QueryRow]:
    for number, (line, fields, error) in enumerate(_json_objects(lines), start=1):
        position = f"line {line.number}"
        if error:
            yield QueryRow(position, _id(fields, number), None, error=error)
        else:
            yield query_row(position, fields, nucleus, number)


# --- plain text


def _smiles_structures(lines: Iterable[Line]) -> Iterator[StructureRow]:
    number = 0
    for line in lines:
        smiles, _, name = line.text.strip().partition("\t")
        if not name:
            smiles, _, name = line.text.strip().partition(" ")
        if smiles.startswith("#") or (number == 0 and smiles.lower() == "smiles"):
            continue
        number += 1
        row_id = name.strip() or str(number)
        yield StructureRow(f"line {line.number}", row_id, smiles.strip(), line.error)


def _text_queries(lines: Iterable[Line], nucleus: Nucleus) -> Iterator[QueryRow]:
    number = 0
    for line in lines:
        if line.text.lstrip().startswith("#"):
            continue
        number += 1
        position = f"line {line.number}"
        if line.error:
            yield QueryRow(position, str(number), None, error=line.error)
        else:
            yield query_row(position, {"peaks": line.text.strip()}, nucleus, number)


# --- tables


def _table_structures(lines: Iterable[Line], source: str) -> Iterator[StructureRow]:
    table = Table(lines)
    if not table.columns:
        return
    table.require(source, "smiles")
    for number, record in enumerate(table.records(), start=1):
        smiles = record.fields.get("smiles", "")
        yield StructureRow(record.position, _id(record.fields, number), smiles, record.error)


def _table_queries(lines: Iterable[Line], nucleus: Nucleus, source: str) -> Iterator[QueryRow]:
    table = Table(lines)
    if not table.columns:
        return
    if table.require(source, "peaks", "ppm") == "ppm":
        yield _peak_table(table, nucleus)
        return
    for number, record in enumerate(table.records(), start=1):
        if record.error:
            yield QueryRow(record.position, str(number), None, error=record.error)
        else:
            yield query_row(record.position, record.fields, nucleus, number)


def _peak_table(table: Table, nucleus: Nucleus) -> QueryRow:
    """One spectrum from a table with a peak a line; `count` repeats it."""
    peaks: list[Peak] = []
    for record in table.records():
        try:
            if record.error:
                raise SpectrumError(record.error)
            count = decimal(record.fields.get("count") or "1", table.delimiter)
            if not 1 <= count <= 1000 or count != int(count):
                raise SpectrumError(f"count {count:g} is not a number of atoms from 1 to 1000")
            ppm = decimal(record.fields.get("ppm", ""), table.delimiter)
            letter = record.fields.get("multiplicity", "").upper()
            peaks += [Peak(ppm, multiplicity=letter)] * int(count)
        except SpectrumError as error:
            return QueryRow(record.position, "1", None, error=str(error))
    if not peaks:
        return QueryRow("line 2", "1", None, error="the peak list is empty")
    return QueryRow("line 2", "1", Spectrum(str(nucleus), tuple(peaks)))


# --- SD files


def _sd_structures(records: Iterable[Line]) -> Iterator[StructureRow]:
    from rdkit import Chem
    from rdkit.rdBase import BlockLogs

    from nmrtk.molecule import canonical_smiles, finish_molecule

    for record in records:
        position = f"record {record.number}"
        row_id = record.text.partition("\n")[0].strip() or str(record.number)
        try:
            if record.error:
                raise MoleculeError(record.error)
            with BlockLogs():
                molecule = Chem.MolFromMolBlock(record.text, sanitize=False, removeHs=False)
            if molecule is None:
                raise MoleculeError("RDKit cannot read the molblock")
            smiles = canonical_smiles(finish_molecule(molecule, row_id), stereo=True)
            yield StructureRow(position, row_id, smiles)
        except MoleculeError as error:
            yield StructureRow(position, row_id, "", str(error))


# --- fields


def _id(fields: Mapping[str, Any], number: int) -> Id:
    value = fields.get("id")
    if value is None or value == "":
        return str(number)
    return value if isinstance(value, str | int) else json.dumps(value)


def _formula(value: Any) -> Formula | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise UsageError(f"the formula {_quote(value)} is not a text such as C9H8O4")
    return Formula.parse(value)


def _patterns(fields: Mapping[str, Any], name: str) -> tuple[Molecule, ...]:
    value = fields.get(name)
    if value is None or value == "":
        return ()
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UsageError(
            f"{name}={_quote(value)} is neither a SMARTS such as C(=O)[OH] nor a list of them"
        )
    from nmrtk.substructure import parse_patterns

    return parse_patterns(texts)


def _mass(value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(
            f"the mass {_quote(value)} is not a number of dalton such as 180.0423"
        ) from None


def _spectrum(peaks: Any, nucleus: Nucleus) -> Spectrum:
    if isinstance(peaks, str):
        return parse_spectrum(peaks, str(nucleus))
    if peaks is None:
        raise SpectrumError("the row has no 'peaks'; write \"peaks\": [57.8, 18.1]")
    if not isinstance(peaks, list):
        raise SpectrumError(f"peaks={_quote(peaks)} is not a list of shifts")
    if not peaks:
        raise SpectrumError("the peak list is empty")
    return Spectrum(
        str(nucleus), tuple(_peak(item, place) for place, item in enumerate(peaks, start=1))
    )


def _peak(item: Any, place: int) -> Peak:
    ppm: Any = item
    letter: Any = ""
    if isinstance(item, dict):
        ppm, letter = item.get("ppm"), item.get("multiplicity")
    elif isinstance(item, list):
        if not 1 <= len(item) <= 2:
            raise SpectrumError(
                f"peak {place}: {_quote(item)} is not a pair of shift and multiplicity"
            )
        ppm, letter = item[0], item[1] if len(item) == 2 else ""
    if isinstance(ppm, bool) or not isinstance(ppm, int | float):
        raise SpectrumError(f"peak {place}: {_quote(ppm)} is not a number; write the shift in ppm")
    if letter is not None and not isinstance(letter, str):
        raise SpectrumError(
            f"peak {place}: the multiplicity {_quote(letter)} is not a text such as S, D, T or Q"
        )
    try:
        return Peak(float(ppm), multiplicity=(letter or "").strip().upper())
    except OverflowError:
        raise SpectrumError(f"peak {place}: the shift {_quote(ppm)} is impossible") from None
    except SpectrumError as error:
        raise SpectrumError(f"peak {place}: {error}") from None


def _quote(value: Any) -> str:
    try:
        text = repr(value.strip() if isinstance(value, str) else value)
    except ValueError:
        # Python refuses to print integers of more than some thousand digits.
        return "a huge number"
    return text if len(text) <= _LONGEST_QUOTE else text[: _LONGEST_QUOTE - 3] + "..."
