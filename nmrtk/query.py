"""What is known of an unknown compound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rdkit.Chem import rdMolDescriptors

from nmrtk.errors import SpectrumError, UsageError
from nmrtk.formula import HYDROGEN, Formula
from nmrtk.formula_checks import require_possible
from nmrtk.molecule import Molecule
from nmrtk.nucleus import DEFAULT_NUCLEUS, HYDROGEN_LETTER_NUCLEI, Nucleus
from nmrtk.rows import Id
from nmrtk.solvents import solvent_lines
from nmrtk.spectrum import Spectrum
from nmrtk.substructure import fits_patterns

if TYPE_CHECKING:
    from nmrtk.library import Library

DEFAULT_TOP = 10
DEFAULT_SECONDS = 30.0
DEFAULT_MASS_TOLERANCE_PPM = 10.0

MOST_LINES = 200
"""Distinct lines beyond this number are no spectrum of one compound that a search could find."""

PLAUSIBLE_PPM = {DEFAULT_NUCLEUS: (-300.0, 450.0)}
"""Range in ppm of the lines of a nucleus, for those where it is known."""

LIGHTEST, HEAVIEST = 12.0, 5000.0
"""Range of the mass in dalton that is looked for."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is known of an unknown compound.

    Args:
        id: the user's.
        spectrum: its lines.
        formula: its molecular formula, or None.
        library: structures to look it up among, or None.
        top: number of candidates wanted.
        seconds: that the search may take.
        deadline: when generators must end, on the clock of `time.monotonic`; `elucidate` sets it.
        contains: patterns that it has, as `nmrtk.substructure.parse_smarts` reads them.
        lacks: patterns that it does not have.
        mass: monoisotopic mass of the neutral compound in dalton, or None.
        mass_tolerance_ppm: relative error of the mass, in millionths.

    Raises:
        SpectrumError: no compound can have these lines: there is none, there are too many, one
            lies where no line can be, or the formula has too few atoms for them.
        UsageError: no structure has the formula, or the mass is impossible.
    """

    id: Id
    spectrum: Spectrum
    formula: Formula | None = None
    library: Library | None = None
    top: int = DEFAULT_TOP
    seconds: float = DEFAULT_SECONDS
    deadline: float = math.inf
    contains: tuple[Molecule, ...] = ()
    lacks: tuple[Molecule, ...] = ()
    mass: float | None = None
    mass_tolerance_ppm: float = DEFAULT_MASS_TOLERANCE_PPM

    def __post_init__(self) -> None:
        if not self.spectrum.peaks:
            raise SpectrumError("the peak list is empty")
        self._check_lines()
        self._check_mass()
        if self.formula is not None:
            self._check_formula(self.formula)

    @property
    def line_count(self) -> int:
        """Number of distinct shifts that are the compound's; each comes from an atom of its own.

        Lines where a solvent has one do not count where the formula has too few atoms for all.
        """
        count = len(set(self.spectrum.shifts))
        if self.formula is None:
            return count
        atoms = self.formula[Nucleus.parse(self.spectrum.nucleus).element]
        if count <= atoms:
            return count
        return max(count - len(solvent_lines(self.spectrum)), min(count, atoms))

    @property
    def least_sites(self) -> int:
        """Number of atoms that a candidate needs at least: one for each distinct line that can be
        no solvent's.
        """
        return max(len(set(self.spectrum.shifts)) - len(solvent_lines(self.spectrum)), 1)

    def allows(self, molecule: Molecule) -> bool:
        """Whether a molecule has what `contains` asks for, and nothing that `lacks` forbids."""
        return fits_patterns(molecule, self.contains, self.lacks)

    def has_mass_of(self, molecule: Molecule) -> bool:
        """Whether a molecule has the mass that is known; true where none is."""
        if self.mass is None:
            return True
        gap = abs(rdMolDescriptors.CalcExactMolWt(molecule) - self.mass)
        return bool(gap <= self.mass * self.mass_tolerance_ppm * 1e-6)

    def _check_lines(self) -> None:
        spectrum = self.spectrum
        count = len(set(spectrum.shifts))
        if count > MOST_LINES:
            raise SpectrumError(
                f"there are {count} distinct lines, too many for one compound (allowed: up to "
                f"{MOST_LINES}): list the peaks, not the points of the spectrum"
            )
        low, high = PLAUSIBLE_PPM.get(spectrum.nucleus, (-math.inf, math.inf))
        for ppm in spectrum.shifts:
            if not low <= ppm <= high:
                raise SpectrumError(
                    f"no {spectrum.nucleus} line lies at {ppm:g} ppm (allowed: {low:g} to "
                    f"{high:g}): write shifts in ppm, not in Hz"
                )

    def _check_mass(self) -> None:
        if self.mass is not None and not LIGHTEST <= self.mass <= HEAVIEST:
            raise UsageError(
                f"the mass {self.mass:g} is outside {LIGHTEST:g} to {HEAVIEST:g}: write the "
                "monoisotopic mass of the neutral compound in dalton"
            )
        if not 0 < self.mass_tolerance_ppm <= 1e5:
            raise UsageError(
                f"the mass tolerance {self.mass_tolerance_ppm:g} ppm is outside 0 to 100000"
            )

    def _check_formula(self, formula: Formula) -> None:
        nucleus = Nucleus.parse(self.spectrum.nucleus)
        atoms = formula[nucleus.element]
        if not atoms:
            raise SpectrumError(
                f"the formula {formula} has no {nucleus.element}, so it gives no {nucleus} "
                "line: check formula and nucleus"
            )
        require_possible(formula)
        if self.line_count > atoms:
            # The solvent that may have given one of them is told, where there is one.
            solvent = sorted(set(solvent_lines(self.spectrum).values()))
            seen = f" (some may be of {' or '.join(solvent)})" if solvent else ""
            raise SpectrumError(
                f"there are {len(set(self.spectrum.shifts))} distinct lines{seen}, but {formula} "
                f"has only {atoms} {nucleus.element}: check the formula, or remove lines of "
                "solvent and impurities"
            )


def spectrum_notes(query: Query) -> list[str]:
    """What is odd about the lines, though not impossible."""
    notes: list[str] = []
    spectrum, formula = query.spectrum, query.formula
    nucleus = Nucleus.parse(spectrum.nucleus)
    lines = len(set(spectrum.shifts))
    if spectrum.solvent or (formula is not None and lines > formula[nucleus.element]):
        for ppm, name in sorted(solvent_lines(spectrum).items()):
            notes.append(f"the line at {ppm:g} ppm may be the solvent's: {name} has one there")
    if formula is None:
        return notes
    atoms = formula[nucleus.element]
    if len(spectrum.peaks) > max(atoms, lines):
        notes.append(
            f"{len(spectrum.peaks)} lines for {atoms} {nucleus.element}: repeated shifts were "
            "taken as one"
        )
    if spectrum.nucleus in HYDROGEN_LETTER_NUCLEI:
        hydrogens = least_hydrogens(spectrum)
        if hydrogens > formula[HYDROGEN]:
            notes.append(
                f"the multiplicities need at least {hydrogens} hydrogens, but {formula} has "
                f"{formula[HYDROGEN]}"
            )
    return notes


def least_hydrogens(spectrum: Spectrum) -> int:
    """Hydrogens that the distinct lines of a spectrum show by their letters."""
    lines = {(peak.ppm, peak.multiplicity) for peak in spectrum.peaks}
    return sum({"D": 1, "T": 2, "Q": 3}.get(letter, 0) for _, letter in lines)
