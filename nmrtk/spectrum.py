"""Spectra as lists of lines."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from nmrtk.errors import SpectrumError

PPM_LIMIT = 10_000.0
"""Shifts beyond this magnitude, in ppm, are errors of the record: no nucleus reaches them."""


@dataclass(frozen=True, slots=True)
class Peak:
    """One observed or predicted line of one atom; equivalent atoms have one each.

    Args:
        ppm: chemical shift.
        intensity: in the units of the source, or None.
        multiplicity: a letter such as S, D, T, Q, or an empty string where unknown.
        atoms: 0-based indices into the molecule, heavy atoms only; empty where unknown.
        sigma: standard deviation in ppm of a predicted line, or None.

    Raises:
        SpectrumError: the shift is not a finite number of a size that occurs.
    """

    ppm: float
    intensity: float | None = None
    multiplicity: str = ""
    atoms: tuple[int, ...] = ()
    sigma: float | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.ppm) or abs(self.ppm) > PPM_LIMIT:
            raise SpectrumError(
                f"the shift {self.ppm:g} ppm is impossible (allowed: -{PPM_LIMIT:g} to "
                f"{PPM_LIMIT:g})"
            )


@dataclass(frozen=True, slots=True)
class Spectrum:
    """The lines of one nucleus, ascending in ppm, with the conditions of the measurement.

    Args:
        nucleus: such as `13C`.
        peaks: sorted on construction.
        atom_count: number of distinct atoms that have a line, where the source says so.
        solvent: as the source names it, or an empty string.
        field_mhz: proton or nucleus frequency as the source gives it, in MHz.
        temperature_k: in kelvin.
    """

    nucleus: str
    peaks: tuple[Peak, ...]
    atom_count: int | None = None
    solvent: str = ""
    field_mhz: float | None = None
    temperature_k: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "peaks", tuple(sorted(self.peaks, key=lambda p: p.ppm)))

    @property
    def shifts(self) -> list[float]:
        """Shifts in ppm, ascending."""
        return [peak.ppm for peak in self.peaks]

    def is_complete(self, site_count: int) -> bool:
        """Whether every one of `site_count` atoms of the nucleus has exactly one line."""
        atoms = len(self.peaks) if self.atom_count is None else self.atom_count
        return len(self.peaks) == site_count == atoms


def spectrum_of_shifts(nucleus: str, shifts: Iterable[float]) -> Spectrum:
    """A spectrum of bare lines."""
    return Spectrum(nucleus, tuple(Peak(float(ppm)) for ppm in shifts))
