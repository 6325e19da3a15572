"""Data sets: molecules with their measured spectra of one nucleus, in one HDF5 file."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from nmrtk import __version__
from nmrtk.atomic import atomic_path
from nmrtk.columns import (
    ColumnWriter,
    LabelWriter,
    RaggedWriter,
    TextWriter,
)
from nmrtk.errors import DataError, MoleculeError, SpectrumError, UsageError
from nmrtk.hdf5 import create_hdf5
from nmrtk.interfaces import Example, Record
from nmrtk.layout import NO_COUNT, Columns
from nmrtk.molecule import Molecule, inchikey, restore_order, smiles_and_order
from nmrtk.nucleus import Nucleus
from nmrtk.spectrum import Spectrum
from nmrtk.splits import SPLITS, SplitChoice, rows_of_split, skeleton_of, split_of_skeleton

FORMAT = "nmrtk data set"
FORMAT_VERSION = 1


class DataSetWriter:
    """Writes a data set, a record at a time, in bounded memory.

    A context manager; the file appears under its name when the block ends without an error.

    Args:
        path: the file to make.
        nucleus: of all spectra.

    Raises:
        DataError: the file cannot be written, or the block ends without a record.
    """

    def __init__(self, path: Path, nucleus: Nucleus) -> None:
        self.path = path
        self.nucleus = nucleus
        self.provenance: dict[str, Any] = {}
        """What is stored beside date, versions and counts, such as the sources."""
        self._elements: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()

    def __enter__(self) -> DataSetWriter:
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self.path))
            self._file, self._sink = stack.enter_context(create_hdf5(temporary))
            molecules = self._file.create_group("molecules")
            spectra = self._file.create_group("spectra")
            peaks = self._file.create_group("peaks")
            self._id = TextWriter(molecules, "id")
            self._smiles = TextWriter(molecules, "smiles")
            self._order = RaggedWriter(molecules, "order", np.int32)
            self._inchikey = TextWriter(molecules, "inchikey")
            self._split = LabelWriter(molecules, "split")
            self._site_count = ColumnWriter(molecules, "site_count", np.int32)
            self._spectra_end = ColumnWriter(molecules, "spectra_end", np.int64)
            self._solvent = LabelWriter(spectra, "solvent")
            self._field = ColumnWriter(spectra, "field_mhz", np.float64)
            self._temperature = ColumnWriter(spectra, "temperature_k", np.float64)
            self._atom_count = ColumnWriter(spectra, "atom_count", np.int32)
            self._peaks_end = ColumnWriter(spectra, "peaks_end", np.int64)
            self._ppm = ColumnWriter(peaks, "ppm", np.float64)
            self._intensity = ColumnWriter(peaks, "intensity", np.float64)
            self._multiplicity = LabelWriter(peaks, "multiplicity")
            self._atoms = RaggedWriter(peaks, "atoms", np.int32)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            with self._stack:
                self._finish()
        else:
            # Closes and removes the unfinished file before the error goes on.
            self._stack.__exit__(kind, error, traceback)

    def append(self, record: Record) -> None:
        """Add one record; a missing InChIKey is computed, a missing split follows from it.

        Raises:
            MoleculeError: the structure does not survive being stored.
            SpectrumError: there is no spectrum, one is of another nucleus or has no lines, or a
                line belongs to an atom that gives none.
        """
        key = record.inchikey or inchikey(record.molecule)
        split = record.split or split_of_skeleton(key)
        if split not in SPLITS:
            raise UsageError(f"{split!r} is not a split: choose {', '.join(SPLITS)}")
        smiles, order = _storable(record.molecule)
        sites = self.nucleus.sites(record.molecule)
        if not record.spectra:
            raise SpectrumError("there is no spectrum")
        for spectrum in record.spectra:
            check_spectrum(spectrum, self.nucleus, sites)
        self._id.append(record.id)
        self._smiles.append(smiles)
        self._order.append(order)
        self._inchikey.append(key)
        self._split.append(split)
        self._site_count.append(len(sites))
        for spectrum in record.spectra:
            self._append_spectrum(spectrum)
        self._counts.update(molecules=1)
        self._spectra_end.append(self._counts["spectra"])
        self._elements.update({atom.GetSymbol() for atom in record.molecule.GetAtoms()})
        self._sink.check()

    def _append_spectrum(self, spectrum: Spectrum) -> None:
        self._counts.update(spectra=1, peaks=len(spectrum.peaks))
        self._solvent.append(spectrum.solvent)
        self._field.append(_number(spectrum.field_mhz))
        self._temperature.append(_number(spectrum.temperature_k))
        count = spectrum.atom_count
        self._atom_count.append(NO_COUNT if count is None else count)
        self._peaks_end.append(self._counts["peaks"])
        for peak in spectrum.peaks:
            self._ppm.append(peak.ppm)
            self._intensity.append(_number(peak.intensity))
            self._multiplicity.append(peak.multiplicity)
            self._atoms.append(peak.atoms)

    def _finish(self) -> None:
        if not self._counts["molecules"]:
            raise DataError(f"{self.path}: a data set needs at least one record")
        for column in (
            *(self._id, self._smiles, self._order, self._inchikey, self._split),
            *(self._site_count, self._spectra_end),
            *(self._solvent, self._field, self._temperature, self._atom_count, self._peaks_end),
            *(self._ppm, self._intensity, self._multiplicity, self._atoms),
        ):
            column.close()
        provenance = {
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "versions": {
                "nmrtk": __version__,
                "rdkit": version("rdkit"),
                "h5py": version("h5py"),
            },
            "counts": dict(self._counts),
            **self.provenance,
        }
        self._file.attrs.update(
            format=FORMAT,
            format_version=FORMAT_VERSION,
            nucleus=str(self.nucleus),
            elements=json.dumps(dict(self._elements.most_common())),
            provenance=json.dumps(provenance),
        )


class DataSet:
    """Reads a data set. A context manager.

    Args:
        path: a file that `nmrtk data import` made.

    Raises:
        DataError: it is missing, is no nmrtk data set, is damaged, or needs a newer nmrtk.

    Example:
        with DataSet(Path("c13.h5")) as data:
            training = data.examples(SplitRule(), "train")
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _require_hdf5(path)
        with _read_errors(path), h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise DataError(f"{path} is an HDF5 file, but not an nmrtk data set: {_MAKE_ONE}")
            if int(file.attrs["format_version"]) > FORMAT_VERSION:
                raise DataError(
                    f"{path} has format version {file.attrs['format_version']}; nmrtk "
                    f"{__version__} reads up to {FORMAT_VERSION}: install a newer nmrtk"
                )
            self.nucleus = Nucleus.parse(file.attrs["nucleus"])
            self.provenance: dict[str, Any] = json.loads(file.attrs["provenance"])
            self._elements: dict[str, int] = json.loads(file.attrs["elements"])
            self._columns = Columns.read(file)

    def __enter__(self) -> DataSet:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left open: all columns were read on construction."""

    def __len__(self) -> int:
        return len(self._columns.id)

    def require_nucleus(self, nucleus: Nucleus | str) -> None:
        """Make sure that the spectra are of a nucleus.

        Raises:
            DataError: they are of another; names both.
        """
        if str(nucleus) != str(self.nucleus):
            raise DataError(
                f"{self.path} holds {self.nucleus} spectra, but {nucleus} is needed: import the "
                f"sources again with --nucleus {nucleus}, or choose {self.nucleus} throughout"
            )

    def skeletons(self) -> list[str]:
        """The skeleton of every molecule: the first 14 letters of its InChIKey."""
        return [skeleton_of(key) for key in self._columns.inchikey]

    def splits(self) -> list[str]:
        """The stored split of every molecule."""
        return list(self._columns.split)

    def records(self, rows: Iterable[int] | None = None) -> Iterator[Record]:
        """Molecules with all their spectra.

        Args:
            rows: which, counted from 0; None for all.

        Raises:
            DataError: the data set is damaged.
        """
        columns, nucleus = self._columns, str(self.nucleus)
        for row in range(len(self)) if rows is None else rows:
            with _read_errors(self.path):
                record = Record(
                    position=f"row {row}",
                    id=columns.id[row],
                    molecule=columns.molecule(row),
                    spectra=tuple(columns.spectrum(i, nucleus) for i in columns.spectra_of(row)),
                    inchikey=columns.inchikey[row],
                    split=columns.split[row],
                )
            yield record

    def examples(
        self,
        rule: SplitChoice,
        split: str,
        *,
        complete_only: bool = True,
        other_spectra: bool = False,
    ) -> list[Example]:
        """One example for each molecule of a split.

        Records of one InChIKey are one molecule.

        Args:
            rule: how to split.
            split: `train`, `val` or `test`.
            complete_only: take the first spectrum that has one line for every atom of the
                nucleus, and leave out molecules without one; else fall back to the spectrum
                with the most lines. Assigned spectra go before others.
            other_spectra: give the molecule's other complete spectra too.

        Raises:
            UsageError: the split is unknown or empty, or holds no complete spectrum.
            DataError: the data set is damaged.
        """
        columns = self._columns
        complete = columns.complete()
        lines = np.diff(columns.peaks_end, prepend=0)
        assigned = columns.assigned()
        chosen: dict[str, tuple[int, int]] = {}  # InChIKey: row, spectrum
        best: dict[str, tuple[bool, int, bool]] = {}
        others: dict[str, list[int]] = {}
        for row in rows_of_split(rule, split, columns.split, self.skeletons()).tolist():
            key = columns.inchikey[row]
            for index in columns.spectra_of(row):
                if complete_only and not complete[index]:
                    continue
                if other_spectra and complete[index]:
                    others.setdefault(key, []).append(index)
                rank = bool(complete[index]), int(lines[index]), bool(assigned[index])
                if key not in best or rank > best[key]:
                    chosen[key], best[key] = (row, index), rank
        if not chosen:
            raise UsageError(
                f"no molecule of the split {split!r} of {self.path} has a complete {self.nucleus} "
                "spectrum: allow incomplete ones (in a recipe: incomplete = 'lines')"
            )
        with _read_errors(self.path):
            return [
                Example(
                    id=columns.id[row] or key,
                    molecule=columns.molecule(row),
                    spectrum=columns.spectrum(index, str(self.nucleus)),
                    skeleton=skeleton_of(key),
                    other_spectra=tuple(
                        columns.spectrum(other, str(self.nucleus))
                        for other in others.get(key, [])
                        if other != index
                    ),
                )
                for key, (row, index) in chosen.items()
            ]

    def summary(self) -> dict[str, Any]:
        """Sizes, nucleus, elements, splits and provenance, ready for JSON."""
        columns = self._columns
        complete = columns.complete()
        with_complete = np.zeros(len(self), dtype=bool)
        owner = np.repeat(np.arange(len(self)), np.diff(columns.spectra_end, prepend=0))
        with_complete[owner[complete]] = True
        names = np.array(columns.split, dtype=np.str_)
        heavy_atoms = np.diff(columns.order[1], prepend=0)
        assigned = np.diff(columns.atoms[1], prepend=0) > 0
        solvents = Counter(solvent for solvent in columns.solvent if solvent)
        return {
            "path": str(self.path),
            "format_version": FORMAT_VERSION,
            "nucleus": str(self.nucleus),
            "molecules": len(self),
            "distinct_molecules": len(set(columns.inchikey)),
            "distinct_skeletons": len(set(self.skeletons())),
            "spectra": len(columns.peaks_end),
            "complete_spectra": int(complete.sum()),
            "peaks": len(columns.ppm),
            "assigned_peaks": int(assigned.sum()),
            "shift_range_ppm": _range(columns.ppm),
            "heavy_atoms_range": _range(heavy_atoms),
            "splits": {
                split: {
                    "molecules": int((names == split).sum()),
                    "with_complete_spectrum": int(with_complete[names == split].sum()),
                }
                for split in SPLITS
            },
            "elements": self._elements,
            "solvents": dict(solvents.most_common()),
            "provenance": self.provenance,
        }


_MAKE_ONE = "make one with `nmrtk data import`"


def check_spectrum(spectrum: Spectrum, nucleus: Nucleus, sites: Sequence[int]) -> None:
    """Make sure that a spectrum can be stored with its molecule.

    Args:
        spectrum: to check.
        nucleus: of the data set.
        sites: atoms of the molecule that give a line.

    Raises:
        SpectrumError: it is of another nucleus, has no lines, or names atoms that give none.
    """
    if spectrum.nucleus != str(nucleus):
        raise SpectrumError(f"a {spectrum.nucleus} spectrum is not a {nucleus} spectrum")
    if not spectrum.peaks:
        raise SpectrumError("the spectrum has no lines")
    if not sites:
        raise SpectrumError(f"the molecule has no {nucleus.element} to give {nucleus} lines")
    if wrong := {atom for peak in spectrum.peaks for atom in peak.atoms} - set(sites):
        raise SpectrumError(
            f"a line is assigned to atom {min(wrong)}, which gives no {nucleus} line"
        )


def _storable(molecule: Molecule) -> tuple[str, list[int]]:
    smiles, order = smiles_and_order(molecule)
    restored = restore_order(smiles, order)
    if _atom_types(restored) != _atom_types(molecule):
        raise MoleculeError(f"{smiles!r} does not give back the structure that was read")
    return smiles, order


def _atom_types(molecule: Molecule) -> list[tuple[int, int, int]]:
    return [
        (atom.GetAtomicNum(), atom.GetFormalCharge(), atom.GetTotalNumHs())
        for atom in molecule.GetAtoms()
    ]


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _range(values: NDArray[Any]) -> list[float]:
    return [values.min().item(), values.max().item()]


def _require_hdf5(path: Path) -> None:
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise DataError(f"{path} is a folder, not a data set: {_MAKE_ONE}")
        with path.open("rb"):
            pass
    except FileNotFoundError as error:
        raise DataError(f"the data set {path} does not exist: {_MAKE_ONE}") from error
    except OSError as error:
        raise DataError(f"the data set {path} cannot be read: {error.strerror}") from error
    if size == 0:
        raise DataError(f"{path} is empty, not a data set: {_MAKE_ONE}")
    if not h5py.is_hdf5(path):
        raise DataError(f"{path} is not an HDF5 file: {_MAKE_ONE}")


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (
        *(OSError, RuntimeError, MemoryError),  # HDF5 finds torn or altered blocks
        *(LookupError, TypeError, ValueError),  # parts are missing or are not what they should be
        *(UsageError, MoleculeError, SpectrumError),  # the values make no sense
    ) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"the data set {path} is damaged ({reason}): import its sources again"
        ) from error
