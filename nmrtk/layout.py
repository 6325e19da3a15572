"""The columns of a data set file, and what they say of each molecule and spectrum."""

from __future__ import annotations

import math
from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import NDArray

from nmrtk.columns import check_ends, read_labels, read_ragged, read_texts
from nmrtk.molecule import Molecule, restore_order
from nmrtk.spectrum import Peak, Spectrum

NO_COUNT = -1
"""Stands for an unknown number of atoms."""


@dataclass(frozen=True, slots=True)
class Columns:
    """All columns of a data set; the letters M, S and P count molecules, spectra and peaks."""

    id: list[str]
    smiles: list[str]
    order: tuple[NDArray[np.int32], NDArray[np.int64]]
    inchikey: list[str]
    split: list[str]
    site_count: NDArray[np.int32]  # (M,)
    spectra_end: NDArray[np.int64]  # (M,)
    solvent: list[str]
    field_mhz: NDArray[np.float64]  # (S,)
    temperature_k: NDArray[np.float64]  # (S,)
    atom_count: NDArray[np.int32]  # (S,)
    peaks_end: NDArray[np.int64]  # (S,)
    ppm: NDArray[np.float64]  # (P,)
    intensity: NDArray[np.float64]  # (P,)
    multiplicity: list[str]
    atoms: tuple[NDArray[np.int32], NDArray[np.int64]]

    @classmethod
    def read(cls, file: h5py.File) -> Columns:
        """Read all, and check that their lengths agree.

        Raises:
            KeyError, ValueError, IndexError, OSError: they are not what `DataSetWriter` writes.
        """
        molecules, spectra, peaks = file["molecules"], file["spectra"], file["peaks"]
        columns = cls(
            id=read_texts(molecules, "id"),
            smiles=read_texts(molecules, "smiles"),
            order=read_ragged(molecules, "order"),
            inchikey=read_texts(molecules, "inchikey"),
            split=read_labels(molecules, "split"),
            site_count=molecules["site_count"][:],
            spectra_end=molecules["spectra_end"][:],
            solvent=read_labels(spectra, "solvent"),
            field_mhz=spectra["field_mhz"][:],
            temperature_k=spectra["temperature_k"][:],
            atom_count=spectra["atom_count"][:],
            peaks_end=spectra["peaks_end"][:],
            ppm=peaks["ppm"][:],
            intensity=peaks["intensity"][:],
            multiplicity=read_labels(peaks, "multiplicity"),
            atoms=read_ragged(peaks, "atoms"),
        )
        check_ends(columns.spectra_end, len(columns.peaks_end), "spectra_end")
        check_ends(columns.peaks_end, len(columns.ppm), "peaks_end")
        lengths = [
            {len(columns.id), len(columns.smiles), len(columns.order[1]), len(columns.inchikey)},
            {len(columns.id), len(columns.split), len(columns.site_count)},
            {len(columns.id), len(columns.spectra_end)},
            {len(columns.peaks_end), len(columns.solvent), len(columns.field_mhz)},
            {len(columns.peaks_end), len(columns.temperature_k), len(columns.atom_count)},
            {len(columns.ppm), len(columns.intensity), len(columns.multiplicity)},
            {len(columns.ppm), len(columns.atoms[1])},
        ]
        if any(len(found) > 1 for found in lengths):
            raise ValueError("its columns differ in length")
        return columns

    def complete(self) -> NDArray[np.bool_]:
        """Whether each spectrum has one line for every site of its molecule, (S,)."""
        lines = np.diff(self.peaks_end, prepend=0)
        spectra_each = np.diff(self.spectra_end, prepend=0)
        sites = np.repeat(self.site_count, spectra_each)
        unknown = self.atom_count == NO_COUNT
        complete: NDArray[np.bool_] = (lines == sites) & (unknown | (self.atom_count == lines))
        return complete

    def assigned(self) -> NDArray[np.bool_]:
        """Whether any line of each spectrum is assigned, (S,)."""
        atoms_before = np.concatenate(([0], self.atoms[1]))
        peaks_before = np.concatenate(([0], self.peaks_end))
        assigned: NDArray[np.bool_] = np.diff(atoms_before[peaks_before]) > 0
        return assigned

    def spectra_of(self, row: int) -> range:
        """Indices of the spectra of a molecule."""
        return _row_range(self.spectra_end, row)

    def molecule(self, row: int) -> Molecule:
        """The molecule of a row, atoms in the order of its source."""
        values, ends = self.order
        span = _row_range(ends, row)
        return restore_order(self.smiles[row], values[span.start : span.stop].tolist())

    def spectrum(self, index: int, nucleus: str) -> Spectrum:
        """A spectrum with its lines."""
        lines = _row_range(self.peaks_end, index)
        span = slice(lines.start, lines.stop)
        values, ends = self.atoms
        first = _row_range(ends, lines.start).start if lines else 0
        peaks = []
        for ppm, intensity, multiplicity, end in zip(
            self.ppm[span].tolist(),
            self.intensity[span].tolist(),
            self.multiplicity[span],
            ends[span].tolist(),
            strict=True,
        ):
            atoms = tuple(values[first:end].tolist()) if end > first else ()
            peaks.append(Peak(ppm, _optional(intensity), multiplicity, atoms))
            first = end
        count = int(self.atom_count[index])
        return Spectrum(
            nucleus,
            tuple(peaks),
            atom_count=None if count == NO_COUNT else count,
            solvent=self.solvent[index],
            field_mhz=_optional(self.field_mhz[index].item()),
            temperature_k=_optional(self.temperature_k[index].item()),
        )


def _optional(value: float) -> float | None:
    return None if math.isnan(value) else value


def _row_range(ends: NDArray[np.int64], row: int) -> range:
    return range(int(ends[row - 1]) if row else 0, int(ends[row]))
