"""Errors of predicted spectra against observed ones, line by line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nmrtk.interfaces import Example
from nmrtk.nucleus import Nucleus
from nmrtk.scoring import BoolArray, FloatArray
from nmrtk.spectrum import Peak, Spectrum

UNKNOWN = "unknown"
"""Stands for the multiplicity of lines whose letters are missing or do not fit the structure."""


@dataclass(frozen=True, slots=True)
class LineErrors:
    """Errors of L lines.

    Args:
        errors: (L,), predicted minus observed shift in ppm.
        sigmas: (L,), in ppm; None where the predictor gives none.
        letters: (L,), multiplicity of each line, or `unknown`.
        molecules: (L,), int64, index of the example of each line, ascending.
    """

    errors: FloatArray
    sigmas: FloatArray | None
    letters: NDArray[np.str_]
    molecules: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.errors)

    def only(self, chosen: BoolArray) -> LineErrors:
        """Those of the lines (L,) that are chosen."""
        sigmas = None if self.sigmas is None else self.sigmas[chosen]
        return LineErrors(self.errors[chosen], sigmas, self.letters[chosen], self.molecules[chosen])


def spectra_errors(
    nucleus: Nucleus,
    examples: Sequence[Example],
    predicted: Sequence[Spectrum],
    *,
    within_multiplicity: bool = True,
) -> LineErrors:
    """Errors of the lines of complete spectra, without regard to which atom gives which line.

    Both sides are sorted: within multiplicities where the letters of both agree with the
    structure, else all together. That is how the model is compared in training.

    Args:
        nucleus: whose lines.
        examples: B molecules with observed spectra.
        predicted: B spectra with one line a site; multiplicities may be left to their atoms.
        within_multiplicity: with False, always sort all lines of a molecule together.
    """
    rows: list[tuple[float, float | None, str, int]] = []
    for index, (example, spectrum) in enumerate(zip(examples, predicted, strict=True)):
        expected = nucleus.multiplicities(example.molecule)
        if not example.spectrum.is_complete(len(expected)):
            continue
        of_site = dict(zip(nucleus.sites(example.molecule), expected, strict=True))
        ours = [(p.ppm, _letter(p, of_site), p.sigma) for p in spectrum.peaks]
        theirs = [(p.ppm, p.multiplicity) for p in example.spectrum.peaks]
        fits = within_multiplicity and sorted(letter for _, letter in theirs) == sorted(expected)
        if fits and sorted(letter for _, letter, _ in ours) == sorted(expected):
            ours.sort(key=lambda line: (line[1], line[0]))
            theirs.sort(key=lambda line: (line[1], line[0]))
        rows += [
            (one[0] - other[0], one[2], (fits and other[1]) or UNKNOWN, index)
            for one, other in zip(ours, theirs, strict=True)
        ]
    return _line_errors(rows)


def atom_errors(
    nucleus: Nucleus, examples: Sequence[Example], predicted: Sequence[Spectrum]
) -> LineErrors:
    """Errors of observed lines that are assigned to atoms, each against the line that is predicted
    for its atom; spectra need not be complete.

    Args:
        nucleus: whose lines.
        examples: B molecules with observed spectra.
        predicted: B spectra; lines that do not name their one atom are compared with nothing.
    """
    rows: list[tuple[float, float | None, str, int]] = []
    for index, (example, spectrum) in enumerate(zip(examples, predicted, strict=True)):
        letters = nucleus.multiplicities(example.molecule)
        of_site = dict(zip(nucleus.sites(example.molecule), letters, strict=True))
        ours = {peak.atoms[0]: peak for peak in spectrum.peaks if len(peak.atoms) == 1}
        rows += [
            (ours[atom].ppm - peak.ppm, ours[atom].sigma, of_site[atom] or UNKNOWN, index)
            for peak in example.spectrum.peaks
            for atom in peak.atoms
            if atom in ours
        ]
    return _line_errors(rows)


def _letter(peak: Peak, of_site: dict[int, str]) -> str:
    if peak.multiplicity or len(peak.atoms) != 1:
        return peak.multiplicity
    return of_site.get(peak.atoms[0], "")


def _line_errors(rows: Sequence[tuple[float, float | None, str, int]]) -> LineErrors:
    sigmas = [sigma for _, sigma, _, _ in rows if sigma is not None]
    return LineErrors(
        np.array([error for error, _, _, _ in rows], np.float64),
        np.array(sigmas, np.float64) if len(sigmas) == len(rows) else None,
        np.array([letter for _, _, letter, _ in rows], np.str_),
        np.array([index for _, _, _, index in rows], np.int64),
    )
