"""13C lines of solvents, so that they are recognised among those of a compound."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nmrtk.nucleus import DEFAULT_NUCLEUS
from nmrtk.spectrum import Spectrum

TOLERANCE_PPM = 0.5
"""A line this near to one of the solvent that is named may be the solvent's: referencing moves it,
and deuterium splits it."""

UNNAMED_TOLERANCE_PPM = 0.25
"""The same for a solvent that is not named."""


@dataclass(frozen=True, slots=True)
class Solvent:
    """A deuterated solvent.

    Args:
        name: as chemists write it.
        shifts: of its carbons in ppm, from TMS.
        synonyms: other spellings, in lower case without blanks and signs.
        usual: whether its lines are looked for where no solvent is named.
    """

    name: str
    shifts: tuple[float, ...]
    synonyms: tuple[str, ...]
    usual: bool = False


SOLVENTS = (
    Solvent("CDCl3", (77.16,), ("cdcl3", "chloroform", "chloroformd", "chloroformd1"), True),
    Solvent(
        "DMSO-d6", (39.52,), ("dmsod6", "dmso", "dimethylsulfoxide", "dimethylsulphoxide"), True
    ),
    Solvent("CD3OD", (49.00,), ("cd3od", "methanol", "methanold4", "meod"), True),
    Solvent("acetone-d6", (29.84, 206.26), ("acetoned6", "acetone", "cd32co"), True),
    Solvent("C6D6", (128.06,), ("c6d6", "benzene", "benzened6"), True),
    Solvent("CD3CN", (1.32, 118.26), ("cd3cn", "acetonitrile", "acetonitriled3")),
    Solvent("CD2Cl2", (53.84,), ("cd2cl2", "dichloromethane", "methylenechloride", "dcm")),
    Solvent("THF-d8", (25.31, 67.21), ("thfd8", "thf", "tetrahydrofuran")),
    Solvent("toluene-d8", (20.43, 125.13, 127.96, 128.87, 137.48), ("toluened8", "toluene")),
)
"""Solvents with the shifts that H. E. Gottlieb, V. Kotlyar and A. Nudelman, J. Org. Chem. 1997, 62,
7512, and G. R. Fulmer et al., Organometallics 2010, 29, 2176, tabulate."""


def find_solvent(text: str) -> Solvent | None:
    """The solvent that a text names, or None.

    Example:
        >>> find_solvent("Chloroform-D1 (CDCl3)").name
        'CDCl3'
        >>> find_solvent("101 MHz") is None
        True
    """
    for part in (text, *re.split(r"[()]", text)):
        plain = re.sub(r"[^a-z0-9]", "", part.lower())
        if not plain:
            continue
        for solvent in SOLVENTS:
            if plain in solvent.synonyms or any(
                len(word) > 4 and plain.startswith(word) for word in solvent.synonyms
            ):
                return solvent
    return None


def solvent_lines(spectrum: Spectrum) -> dict[float, str]:
    """Shifts of a spectrum that lie where a solvent has a line, with the name of the solvent.

    Where the spectrum names a solvent of the table, only its lines count, else those of the usual
    ones. A line with a letter for attached hydrogens is none: deuterated solvents have no hydrogen.
    """
    if spectrum.nucleus != DEFAULT_NUCLEUS:
        return {}
    named = find_solvent(spectrum.solvent) if spectrum.solvent else None
    tolerance = TOLERANCE_PPM if named else UNNAMED_TOLERANCE_PPM
    found: dict[float, str] = {}
    for solvent in (named,) if named else [one for one in SOLVENTS if one.usual]:
        for peak in spectrum.peaks:
            near = any(abs(peak.ppm - ppm) <= tolerance for ppm in solvent.shifts)
            if near and not peak.multiplicity.strip("S"):
                found.setdefault(peak.ppm, solvent.name)
    return found
