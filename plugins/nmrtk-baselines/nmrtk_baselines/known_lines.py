"""Lines of the training spectra, and predictions that are spread as they are."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from nmrtk.interfaces import Example
from nmrtk.matching import line_groups
from nmrtk.molecule import Molecule
from nmrtk.nucleus import Nucleus
from nmrtk.spectrum import Peak, Spectrum

Shifts = NDArray[np.float64]


class KnownLines:
    """Lines of training spectra by multiplicity, the empty text where a nucleus has none.

    Args:
        nucleus: whose lines.
        examples: at least one with a line.

    Attributes:
        spectra: for each example the shifts of each letter; empty where lines lack or letters do
            not fit the structure.
    """

    def __init__(self, nucleus: Nucleus, examples: Sequence[Example]) -> None:
        self.spectra = [_by_letter(nucleus, example) for example in examples]
        self._all = [ppm for example in examples for ppm in example.spectrum.shifts]
        self._usual: defaultdict[str, list[float]] = defaultdict(list)
        self._having: dict[str, NDArray[np.bool_]] = {}
        for index, lines in enumerate(self.spectra):
            for letter, shifts in lines.items():
                self._usual[letter].extend(shifts)
                having = self._having.setdefault(letter, np.zeros(len(examples), np.bool_))
                having[index] = True

    def usual(self, letter: str, count: int) -> Shifts:
        """So many shifts, spread as all of a letter, or as all lines where none has it."""
        return spread(self._usual.get(letter, self._all), count)

    def having(self, letter: str) -> NDArray[np.bool_]:
        """Which of the spectra have lines of a letter, (T,)."""
        return self._having.get(letter, np.zeros(len(self.spectra), np.bool_))


def spread(shifts: Sequence[float], count: int) -> Shifts:
    """So many shifts that are spread as these are: the same, where they are as many."""
    return np.quantile(shifts, (np.arange(count) + 0.5) / count, method="hazen")


def spread_lines(
    nucleus: Nucleus, molecule: Molecule, shifts: Callable[[str, int], Shifts]
) -> Spectrum:
    """A line for every site; which site of its multiplicity has it stays open.

    Args:
        nucleus: whose lines.
        molecule: to predict.
        shifts: gives so many shifts for a letter.
    """
    counts = Counter(nucleus.multiplicities(molecule))
    peaks = [
        Peak(ppm, multiplicity=letter)
        for letter, count in counts.items()
        for ppm in shifts(letter, count).tolist()
    ]
    return Spectrum(str(nucleus), tuple(peaks), len(peaks))


def _by_letter(nucleus: Nucleus, example: Example) -> dict[str, list[float]]:
    letters = sorted(set(nucleus.multiplicities(example.molecule)))
    groups = line_groups(example.molecule, example.spectrum, nucleus)
    # Where letters do not fit, all lines are of one group.
    if not groups.complete or groups.site_groups.max(initial=0) != len(letters) - 1:
        return {}
    lines: defaultdict[str, list[float]] = defaultdict(list)
    for group, ppm in zip(groups.line_groups.tolist(), groups.shifts.tolist(), strict=True):
        lines[letters[group]].append(ppm)
    return dict(lines)
