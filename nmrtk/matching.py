"""Which observed line is compared with which site of a structure.

Lines need no assignment to atoms. Within a group of sites, sorting both sides is the assignment
with the least absolute error; where lines are missing, the best choice of sites is found by
dynamic programming over the two sorted lists.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nmrtk.interfaces import AtomLines
from nmrtk.molecule import Molecule
from nmrtk.nucleus import Nucleus
from nmrtk.spectrum import Spectrum

_GROUP_SPAN = 1e5  # ppm; more than any difference of shifts, so that groups never overlap
_FAR = 1e6  # ppm; where padding stands
# Networks that diverge predict anything, even no number: for the matching it ends here, so that
# there are still as many sites as lines, and training can say that the loss is not finite.
_MOST_PPM = 4e4


@dataclass(frozen=True, slots=True)
class LineGroups:
    """Groups of sites and the observed lines of each: L lines, S sites.

    Args:
        site_groups: (S,), int64, group of each site.
        line_groups: (L,), int64, ascending.
        shifts: (L,), float32, observed, in ppm, ascending within a group.
        complete: whether the spectrum has one line for every site.
    """

    site_groups: NDArray[np.int64]
    line_groups: NDArray[np.int64]
    shifts: NDArray[np.float32]
    complete: bool


def line_groups(molecule: Molecule, spectrum: Spectrum, nucleus: Nucleus) -> LineGroups:
    """Groups within which the lines of a spectrum are compared with the sites of a molecule.

    Lines are compared with sites of the same multiplicity where the letters of the spectrum agree
    with the hydrogens of the structure, else all with all. A spectrum may lack lines; one with more
    lines than sites, or with two of one atom, is compared with nothing.
    """
    expected = nucleus.multiplicities(molecule)
    complete = spectrum.is_complete(len(expected))
    peaks = spectrum.peaks
    if len(peaks) > min(len(expected), spectrum.atom_count or len(peaks)):
        peaks = ()
    sites, lines = Counter(expected), Counter(peak.multiplicity for peak in peaks)
    if lines == sites if complete else lines <= sites:
        rank = {letter: index for index, letter in enumerate(sorted(sites))}
    else:
        rank = dict.fromkeys([*sites, *lines], 0)
    sorted_lines = sorted((rank[peak.multiplicity], peak.ppm) for peak in peaks)
    return LineGroups(
        np.array([rank[letter] for letter in expected], np.int64),
        np.array([group for group, _ in sorted_lines], np.int64),
        np.array([ppm for _, ppm in sorted_lines], np.float32),
        complete,
    )


def matched_shifts(
    lines: AtomLines, site_groups: Tensor, groups: Tensor, shifts: Tensor
) -> tuple[Tensor, Tensor]:
    """Predicted shifts and scales (L,) that belong to observed lines.

    Args:
        lines: predicted, (A,).
        site_groups: (A,), int64, group of each site, distinct between molecules.
        groups: (L,), int64, group of each observed line, ascending.
        shifts: (L,), observed, in ppm, ascending within a group.
    """
    predicted = lines.shift.detach().nan_to_num(0.0).clamp(-_MOST_PPM, _MOST_PPM)
    used = _used_sites(predicted, site_groups, groups, shifts)
    order = torch.argsort(site_groups[used].double() * _GROUP_SPAN + predicted[used].double())
    return lines.shift[used][order], lines.scale[used][order]


def _used_sites(predicted: Tensor, site_groups: Tensor, groups: Tensor, shifts: Tensor) -> Tensor:
    """Whether a line belongs to each site, bool (A,)."""
    size = 1 + max(int(site_groups.max()) if len(site_groups) else 0, 0)
    site_counts = torch.bincount(site_groups, minlength=size)
    line_counts = torch.bincount(groups, minlength=size)
    used = (line_counts > 0)[site_groups]
    partial = torch.nonzero((line_counts > 0) & (line_counts < site_counts))[:, 0]
    if not len(partial):
        return used

    # Padded tables of the groups that lack lines: sites and lines ascending.
    row_of = torch.full((size,), -1, device=predicted.device)
    row_of[partial] = torch.arange(len(partial), device=predicted.device)
    sites = torch.nonzero(row_of[site_groups] >= 0)[:, 0]
    keys = row_of[site_groups[sites]].double() * _GROUP_SPAN + predicted[sites].double()
    sites = sites[torch.argsort(keys)]
    counts, wanted = site_counts[partial], line_counts[partial]
    columns = _positions(counts)
    rows = row_of[site_groups[sites]]
    table = predicted.new_full((len(partial), int(counts.max())), _FAR)
    table[rows, columns] = predicted[sites]
    observed = torch.nonzero(row_of[groups] >= 0)[:, 0]
    targets = predicted.new_zeros(len(partial), int(wanted.max()))
    targets[row_of[groups[observed]], _positions(wanted)] = shifts[observed].to(predicted.dtype)

    chosen = _choose(table, targets, wanted)
    used[sites] = chosen[rows, columns]
    return used


def _choose(sites: Tensor, lines: Tensor, wanted: Tensor) -> Tensor:
    """The choice of sites whose sorted shifts fit the lines with the least absolute error.

    Args:
        sites: (G, S), ascending in each row, padded with `_FAR`.
        lines: (G, L), ascending in each row, padded.
        wanted: (G,), number of lines of each row.

    Returns:
        bool (G, S).
    """
    rows = torch.arange(len(sites), device=sites.device)
    # best[:, j]: least error of the lines so far with the first j sites.
    best = sites.new_zeros(len(sites), sites.shape[1] + 1)
    ends = []
    for line in range(lines.shape[1]):
        error = best[:, :-1] + (sites - lines[:, line, None]).abs()
        least, end = error.cummin(1)
        ends.append(end)
        best = torch.cat([torch.full_like(best[:, :1], torch.inf), least], dim=1)
    chosen = torch.zeros_like(sites, dtype=torch.bool)
    last = torch.full_like(wanted, sites.shape[1])
    for line in reversed(range(lines.shape[1])):
        has = wanted > line
        place = ends[line][rows, last - 1]
        chosen[rows[has], place[has]] = True
        last = torch.where(has, place, last)
    return chosen


def _positions(counts: Tensor) -> Tensor:
    """0 .. n - 1 for each of the counts, one after the other."""
    starts = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    return torch.arange(len(starts), device=counts.device) - starts
