"""Spectra of hydrogens, with one line for each heavy atom that carries some.

Hydrogens are no atoms of a molecule, so that the hydrogens of one heavy atom are one site. Sources
list them in either way: one line for the atom, or one for each hydrogen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, groupby

from nmrtk.errors import SpectrumError
from nmrtk.molecule import Molecule
from nmrtk.nucleus import Nucleus
from nmrtk.spectrum import Peak, Spectrum

_CARBON = 6


def join_hydrogens(molecule: Molecule, spectrum: Spectrum, nucleus: Nucleus) -> Spectrum:
    """The spectrum with one line for each heavy atom: the mean of the lines of its hydrogens.

    Assigned lines are joined by their atom. Others are joined where the source says of how many
    atoms they are, or where they are as many as all hydrogens, or as all hydrogens on carbon:
    neighbours in the spectrum that lie close together, no more to an atom than it has hydrogens.

    Args:
        molecule: hydrogens implicit.
        spectrum: of hydrogens.
        nucleus: of the spectrum.

    Raises:
        SpectrumError: the molecule has too few hydrogens for the lines.

    Example:
        >>> from nmrtk.molecule import parse_smiles
        >>> from nmrtk.spectrum import spectrum_of_shifts
        >>> ethanol = spectrum_of_shifts("1H", [1.2, 1.2, 1.2, 2.6, 3.6, 3.8])
        >>> join_hydrogens(parse_smiles("CCO"), ethanol, Nucleus.parse("1H")).shifts
        [1.2, 2.6, 3.7]
    """
    peaks = spectrum.peaks
    if any(peak.atoms for peak in peaks):
        assigned = sorted((peak for peak in peaks if peak.atoms), key=lambda peak: peak.atoms)
        groups = [list(group) for _, group in groupby(assigned, lambda peak: peak.atoms)]
        others = [peak for peak in peaks if not peak.atoms]
        count = None if others else len(groups)
    else:
        sites = [molecule.GetAtomWithIdx(site) for site in nucleus.sites(molecule)]
        hydrogens = [site.GetTotalNumHs() for site in sites]
        on_carbon = [site.GetTotalNumHs() for site in sites if site.GetAtomicNum() == _CARBON]
        count = _atom_count(spectrum, hydrogens, on_carbon)
        ends = accumulate(sizes := _cut([peak.ppm for peak in peaks], count, hydrogens))
        groups = [list(peaks[end - size : end]) for end, size in zip(ends, sizes, strict=True)]
        others = []
    return replace(spectrum, peaks=(*map(_mean, groups), *others), atom_count=count)


def _atom_count(spectrum: Spectrum, hydrogens: Sequence[int], on_carbon: Sequence[int]) -> int:
    """Of how many heavy atoms the lines are.

    Raises:
        SpectrumError: of more than there are.
    """
    lines, said = len(spectrum.peaks), spectrum.atom_count
    if said is not None and said <= len(hydrogens):
        return said
    if said is None and lines <= len(hydrogens):
        return lines
    # Some sources count hydrogens where others count heavy atoms.
    for counts in (hydrogens, on_carbon):
        if lines == sum(counts):
            return len(counts)
    raise SpectrumError(
        f"{lines} lines are too many for {len(hydrogens)} atoms with {sum(hydrogens)} hydrogens"
    )


def _cut(ppm: Sequence[float], atoms: int, hydrogens: Sequence[int]) -> list[int]:
    """Sizes of the groups into which ascending lines fall, one group an atom, so that the widths
    of the groups are least in sum.

    By dynamic programming: `reached[n]` has the best cuts of the first n lines, for each number of
    groups of more than one line, of more than two, ..., which must not be greater than the number
    of atoms with so many hydrogens. Together they say how many groups there are.

    Raises:
        SpectrumError: no cut gives each atom a group.
    """
    most = max(hydrogens)
    limits = tuple(sum(count > size for count in hydrogens) for size in range(1, most))
    excess = len(ppm) - atoms
    nothing = (0,) * len(limits)
    reached: list[dict[tuple[int, ...], tuple[float, int]]] = [{nothing: (0.0, 0)}]
    for end in range(1, len(ppm) + 1):
        best: dict[tuple[int, ...], tuple[float, int]] = {}
        for size in range(1, min(most, end) + 1):
            width = ppm[end - 1] - ppm[end - size]
            for used, (cost, _) in reached[end - size].items():
                now = tuple(n + (place < size - 1) for place, n in enumerate(used))
                if sum(now) > excess or any(n > m for n, m in zip(now, limits, strict=True)):
                    continue
                if now not in best or cost + width < best[now][0]:
                    best[now] = cost + width, size
        reached.append(best)
    finished = [(cost, used) for used, (cost, _) in reached[-1].items() if sum(used) == excess]
    if not finished:
        raise SpectrumError(
            f"{len(ppm)} lines of {atoms} atoms are more than the {sum(hydrogens)} hydrogens of "
            f"{len(hydrogens)} atoms can give"
        )
    sizes, used, end = list[int](), min(finished)[1], len(ppm)
    while end:
        size = reached[end][used][1]
        sizes.append(size)
        used = tuple(n - (place < size - 1) for place, n in enumerate(used))
        end -= size
    return sizes[::-1]


def _mean(peaks: Sequence[Peak]) -> Peak:
    """One line for several; a text that they do not share is left out."""
    first = peaks[0]
    if len(peaks) == 1:
        return first
    same = all(peak.multiplicity == first.multiplicity for peak in peaks)
    ppm = sum(peak.ppm for peak in peaks) / len(peaks)
    return Peak(ppm, multiplicity=first.multiplicity if same else "", atoms=first.atoms)
