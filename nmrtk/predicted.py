"""Predicted spectra as objects, for programs in Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmrtk.acs import acs_text
from nmrtk.errors import MoleculeError
from nmrtk.spectrum import Peak, Spectrum


@dataclass(frozen=True, slots=True)
class PredictedSpectrum:
    """The spectrum of one structure, or why there is none.

    Args:
        id: the user's, or the number of the structure.
        smiles: as given.
        nucleus: such as `13C`; empty in case of an error.
        peaks: one for each atom that gives a line, ascending in ppm; equivalent atoms repeat.
            Each has `ppm`, `sigma` in ppm, `multiplicity` (S, D, T, Q) and `atoms`, counted from 0
            in the SMILES.
        code: (N,), the probability that each bin of the codec holds a line.
        error: why there is no prediction, or an empty string.
        solvent: where one was given.

    Example:
        >>> row = {"id": "1", "smiles": "CCO", "nucleus": "13C", "code": [], "peaks": [
        ...     {"ppm": 18.1, "sigma": 0.9, "multiplicity": "Q", "atoms": [0]},
        ...     {"ppm": 57.8, "sigma": 1.1, "multiplicity": "T", "atoms": [1]}]}
        >>> spectrum = PredictedSpectrum.of_row(row)
        >>> print(spectrum)
        13C NMR δ 57.8 (CH2), 18.1 (CH3).
        >>> spectrum.ppm, spectrum.by_atom()
        (array([18.1, 57.8]), {0: 18.1, 1: 57.8})
    """

    id: str | int
    smiles: str
    nucleus: str = ""
    peaks: tuple[Peak, ...] = ()
    code: NDArray[np.float64] | None = None
    error: str = ""
    solvent: str = ""

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> PredictedSpectrum:
        """From a row of `nmrtk predict`."""
        if "error" in row:
            return cls(row["id"], row["smiles"], error=row["error"])
        peaks = tuple(
            Peak(
                peak["ppm"],
                multiplicity=peak["multiplicity"],
                atoms=tuple(peak["atoms"]),
                sigma=peak["sigma"],
            )
            for peak in row["peaks"]
        )
        code = np.array(row["code"], dtype=np.float64)
        solvent = row.get("solvent", "")
        return cls(row["id"], row["smiles"], row["nucleus"], peaks, code, solvent=solvent)

    @property
    def ppm(self) -> NDArray[np.float64]:
        """Shifts, (lines,), ascending."""
        return np.array([peak.ppm for peak in self.peaks])

    @property
    def sigma(self) -> NDArray[np.float64]:
        """Standard deviations in ppm, (lines,); nan where the model gives none."""
        return np.array([np.nan if p.sigma is None else p.sigma for p in self.peaks], np.float64)

    @property
    def multiplicity(self) -> list[str]:
        """Letters S, D, T or Q of the lines."""
        return [peak.multiplicity for peak in self.peaks]

    @property
    def atoms(self) -> list[tuple[int, ...]]:
        """Atoms of the lines, counted from 0 in the SMILES."""
        return [peak.atoms for peak in self.peaks]

    def by_atom(self) -> dict[int, float]:
        """Shift in ppm of each atom that gives a line."""
        return dict(sorted((atom, peak.ppm) for peak in self.peaks for atom in peak.atoms))

    @property
    def spectrum(self) -> Spectrum:
        """The lines as a spectrum.

        Raises:
            MoleculeError: the structure could not be predicted.
        """
        if self.error:
            raise MoleculeError(self.error)
        return Spectrum(self.nucleus, self.peaks, solvent=self.solvent)

    def acs(self) -> str:
        """The spectrum as journals print it.

        Raises:
            MoleculeError: the structure could not be predicted.
        """
        return acs_text(self.spectrum)

    def plot(self, path: str | Path) -> None:
        """Draw structure and spectrum into a `.png`, `.svg` or `.pdf` file.

        Raises:
            MoleculeError: the structure could not be predicted.
            UsageError: the ending is none of these, or matplotlib is missing.
            DataError: the file cannot be written.
        """
        from nmrtk.plotting import save_plot

        save_plot(self, Path(path))

    def __str__(self) -> str:
        return self.error or self.acs()
