"""Spectra as journals print them: `13C NMR (CDCl3) δ 170.1 (C), 57.8 (CH2).`"""

from __future__ import annotations

from itertools import groupby

from nmrtk.nucleus import HYDROGEN_LETTER_NUCLEI, Nucleus
from nmrtk.spectrum import Peak, Spectrum

_GROUPS = {"S": "C", "D": "CH", "T": "CH2", "Q": "CH3"}
_DIGITS, _HYDROGEN_DIGITS = 1, 2


def acs_text(spectrum: Spectrum) -> str:
    """A spectrum as one sentence, from high to low shift.

    Lines of equivalent atoms, those that agree in everything but the atom, are one with their
    number. Field and solvent are told where the spectrum has them.

    Example:
        >>> peaks = (Peak(18.1, multiplicity="Q"), Peak(57.8, multiplicity="T"))
        >>> acs_text(Spectrum("13C", peaks, solvent="CDCl3"))
        '13C NMR (CDCl3) δ 57.8 (CH2), 18.1 (CH3).'
    """
    conditions = [
        *([f"{spectrum.field_mhz:.0f} MHz"] if spectrum.field_mhz else []),
        *([spectrum.solvent] if spectrum.solvent else []),
    ]
    head = " ".join(
        [f"{spectrum.nucleus} NMR", *([f"({', '.join(conditions)})"] if conditions else [])]
    )
    if not spectrum.peaks:
        return f"{head}: no line."
    lines = [
        _line(spectrum.nucleus, ppm, multiplicity, len(list(peaks)))
        for (ppm, _, multiplicity), peaks in groupby(reversed(spectrum.peaks), _key)
    ]
    return f"{head} δ {', '.join(lines)}."


def _key(peak: Peak) -> tuple[float, float | None, str]:
    return peak.ppm, peak.sigma, peak.multiplicity


def _line(nucleus: str, ppm: float, multiplicity: str, count: int) -> str:
    of_hydrogens = Nucleus.parse(nucleus).is_implicit
    digits = _HYDROGEN_DIGITS if of_hydrogens else _DIGITS
    shift = f"{ppm:.{digits}f}"
    notes = [_GROUPS.get(multiplicity, multiplicity)] if multiplicity else []
    if nucleus not in HYDROGEN_LETTER_NUCLEI:
        notes = [multiplicity] if multiplicity else []
    # Of hydrogens the lines are those of the atoms that carry them: their number is another.
    if count > 1 and not of_hydrogens:
        notes.append(f"{count}{nucleus.lstrip('0123456789')}")
    # A minus sign, since a hyphen would be read as a range.
    shift = shift.replace("-", "\N{MINUS SIGN}")
    return f"{shift} ({', '.join(notes)})" if notes else shift
