"""Lines that nobody has assigned, given to atoms by their order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nmrtk.graph import molecular_graph
from nmrtk.interfaces import Example
from nmrtk.matching import LineGroups, line_groups
from nmrtk.molecule import Molecule
from nmrtk.nucleus import Nucleus
from nmrtk.site_classes import fit_class_shifts, site_classes
from nmrtk.spectrum import Peak
from nmrtk_baselines.environments import environments

_ROUNDS = 3
# Wider environments would mostly be those of one molecule, and say what was given to it before.
_RADIUS = 1


def assign_by_order(nucleus: Nucleus, examples: Sequence[Example]) -> list[Example]:
    """Examples with complete spectra, every line assigned to the site that has its rank.

    Within a multiplicity the lines are given in the order of expected shifts. At first those are
    the means of coarse classes of atoms, which need no assignment; then the median shifts of
    environments of one bond, as they were assigned in the round before.

    Args:
        nucleus: whose lines.
        examples: those whose spectra lack lines are left out.
    """
    groups = [line_groups(example.molecule, example.spectrum, nucleus) for example in examples]
    kept = [(e, g) for e, g in zip(examples, groups, strict=True) if g.complete and len(g.shifts)]
    if not kept:
        return []
    sites = [nucleus.sites(example.molecule) for example, _ in kept]
    classes = [
        site_classes(molecular_graph(example.molecule))[some]
        for (example, _), some in zip(kept, sites, strict=True)
    ]
    means = fit_class_shifts(nucleus, [example for example, _ in kept], classes).means
    keys = [_site_keys(e.molecule, some) for (e, _), some in zip(kept, sites, strict=True)]
    expected = [means[some] for some in classes]
    for _ in range(_ROUNDS):
        shifts = [_in_order(e, lines) for e, (_, lines) in zip(expected, kept, strict=True)]
        found: defaultdict[int, list[float]] = defaultdict(list)
        for some, ppm in zip(keys, shifts, strict=True):
            for key, value in zip(some, ppm.tolist(), strict=True):
                found[key].append(value)
        medians = {key: float(np.median(values)) for key, values in found.items()}
        expected = [np.array([medians[key] for key in some]) for some in keys]
    return [
        _assigned(example, some, _in_order(e, lines))
        for e, (example, lines), some in zip(expected, kept, sites, strict=True)
    ]


def _site_keys(molecule: Molecule, sites: Sequence[int]) -> list[int]:
    keys = environments(molecule, _RADIUS)[-1]
    return [keys[site] for site in sites]


def _in_order(expected: NDArray[np.floating], lines: LineGroups) -> NDArray[np.float64]:
    """Observed shift (S,) of each site."""
    shifts = np.empty(len(expected))
    shifts[np.lexsort((expected, lines.site_groups))] = lines.shifts
    return shifts


def _assigned(example: Example, sites: Sequence[int], shifts: NDArray[np.float64]) -> Example:
    peaks = (Peak(ppm, atoms=(site,)) for site, ppm in zip(sites, shifts.tolist(), strict=True))
    return replace(example, spectrum=replace(example.spectrum, peaks=tuple(peaks)))
