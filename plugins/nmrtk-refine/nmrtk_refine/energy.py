"""The energy of a structure in the inner loop: lines under tables of environments, and a prior."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmrtk_refine.codes import DEPTH, RADIUS, Graph
from nmrtk_refine.compiled import Index, compiled

SHIFT, INVERSE_SCALE, LOG_WIDTH, PRIOR = range(4)
"""Columns of `Table.values`: shift in ppm, reciprocal of the Laplace scale, log of its double,
energy of the environment in the prior."""

MOST_HYDROGENS = 4

_MISSING = 12.0  # for a line that no atom can have, and for an atom without a line
_WRONG_LETTER = 4.0
_FAR = 1e30
_FIRST_UNSEEN = np.float32(4.0)  # in place of the first energy of an environment that is unknown


class Table(NamedTuple):
    """Environments of all radii in one hash table of 2^k places, looked up from the largest.

    Args:
        keys: (2^k,), uint64, 0 where free.
        rows: (2^k,), int32, row of `values`.
        values: (E + 1, 4), float32; the last row is that of an unknown atom.
        exact: (E + 1,), whether a row holds what the model itself says, so that the small network
            is not asked.
        first_keys: (2^j,), uint64, 0 where free: environments of radius 1 alone, few enough to
            stay near the processor.
        first_energies: (2^j,), float32, of these in the prior, given the atom.
    """

    keys: NDArray[np.uint64]
    rows: NDArray[np.int32]
    values: NDArray[np.float32]
    exact: NDArray[np.bool_]
    first_keys: NDArray[np.uint64]
    first_energies: NDArray[np.float32]


class Target(NamedTuple):
    """What structures are compared with: L lines.

    Args:
        lines: (L,), in ppm, ascending in each group.
        letters: (L,), int64, hydrogens that the letter of a line stands for, or -1.
        starts: (G + 1,), int64, where the lines of each group begin; one group for each number of
            hydrogens, or a single one.
        sites: (S,), int64, atoms that give a line.
        is_site: (A,), likewise.
        distinct: number of distinct lines, or -1 where that says nothing.
        prior_weight: of the environments.
        ring_weight: of bonds in rings of three and four.
        overlap_weight: of each kind of site more than there are distinct lines.
        split_weight: of each distinct line more than there are kinds of sites.
    """

    lines: NDArray[np.float64]
    letters: NDArray[np.int64]
    starts: NDArray[np.int64]
    sites: NDArray[np.int64]
    is_site: NDArray[np.bool_]
    distinct: int
    prior_weight: float
    ring_weight: float
    overlap_weight: float
    split_weight: float


class Scratch(NamedTuple):
    """Memory of the inner loop.

    Args:
        places: (MOST_HYDROGENS + 1, A), int64, sites of each group in the order of their shifts.
        sizes: (MOST_HYDROGENS + 1,), int64, number of them.
        order: (A,), int64, sites as they stood last, -1 before the first time: nearly sorted.
        costs: (A + L,), float64, row of a matching.
        stack: (A,), int64.
        codes: (2, A), uint64.
    """

    places: NDArray[np.int64]
    sizes: NDArray[np.int64]
    order: NDArray[np.int64]
    costs: NDArray[np.float64]
    stack: NDArray[np.int64]
    codes: NDArray[np.uint64]


def new_scratch(atoms: int, lines: int) -> Scratch:
    """Memory for so many atoms and lines."""
    return Scratch(
        np.zeros((MOST_HYDROGENS + 1, atoms), np.int64),
        np.zeros(MOST_HYDROGENS + 1, np.int64),
        np.full(atoms, -1, np.int64),
        np.zeros(atoms + lines),
        np.zeros(atoms, np.int64),
        np.zeros((2, atoms), np.uint64),
    )


@compiled
def find_row(table: Table, codes: NDArray[np.uint64], atom: int) -> Index:
    """Row of the largest environment of an atom that the table holds."""
    last = np.uint64(len(table.keys) - 1)
    for radius in range(RADIUS, -1, -1):
        code = codes[radius, atom]
        place = code & last
        while table.keys[place] != np.uint64(0):
            if table.keys[place] == code:
                row: Index = table.rows[place]
                return row
            place = (place + np.uint64(1)) & last
    return len(table.values) - 1


@compiled
def first_energy(table: Table, code: np.uint64) -> np.float32:
    """Energy of an environment of radius 1 in the prior, given the atom."""
    last = np.uint64(len(table.first_keys) - 1)
    place = code & last
    while table.first_keys[place] != np.uint64(0):
        if table.first_keys[place] == code:
            known: np.float32 = table.first_energies[place]
            return known
        place = (place + np.uint64(1)) & last
    return _FIRST_UNSEEN


@compiled
def energy(
    graph: Graph,
    target: Target,
    codes: NDArray[np.uint64],
    values: NDArray[np.float32],
    small_rings: float,
    scratch: Scratch,
) -> float:
    """Energy in nats: of the lines given the structure, and of the structure."""
    total = 0.0
    for atom in range(len(values)):
        total += values[atom, PRIOR]
    total = target.prior_weight * total + target.ring_weight * small_rings
    groups = len(target.starts) - 1
    distinct = _sort_sites(graph.hydrogens, target.sites, groups, codes[DEPTH], values, scratch)
    for group in range(groups):
        first, end = target.starts[group], target.starts[group + 1]
        size = scratch.sizes[group]
        if size == 0 or size != end - first:
            total += _uneven_matching(
                graph.hydrogens,
                target.lines,
                target.letters,
                first,
                end,
                values,
                scratch.places[group],
                size,
                scratch.costs,
            )
            continue
        for place in range(size):
            atom = scratch.places[group, place]
            total += values[atom, LOG_WIDTH] + _pair(
                graph.hydrogens, target.lines, target.letters, values, atom, first + place
            )
    if target.distinct >= 0:
        more = distinct - target.distinct
        total += target.overlap_weight * max(more, 0) + target.split_weight * max(-more, 0)
    return total


@compiled
def _sort_sites(
    hydrogens: NDArray[np.int64],
    sites: NDArray[np.int64],
    groups: int,
    codes: NDArray[np.uint64],
    values: NDArray[np.float32],
    scratch: Scratch,
) -> int:
    """Sort the sites of each group by their shifts; returns the number of kinds of them."""
    places, sizes, order = scratch.places, scratch.sizes, scratch.order
    sizes[:] = 0
    if order[0] < 0:
        order[: len(sites)] = sites
    for atom in order[: len(sites)]:
        group = hydrogens[atom] if groups > 1 else 0
        place = sizes[group]
        shift, code = values[atom, SHIFT], codes[atom]
        while place > 0:
            other = places[group, place - 1]
            # Equivalent atoms stand together even where others have just their shift.
            if values[other, SHIFT] < shift or (
                values[other, SHIFT] == shift and codes[other] <= code
            ):
                break
            places[group, place] = other
            place -= 1
        places[group, place] = atom
        sizes[group] += 1
    done = 0
    for group in range(groups):
        for place in range(sizes[group]):
            order[done] = places[group, place]
            done += 1
    distinct = len(sites)
    for group in range(groups):
        for place in range(1, sizes[group]):
            if codes[places[group, place]] == codes[places[group, place - 1]]:
                distinct -= 1
    return distinct


@compiled
def _pair(
    hydrogens: NDArray[np.int64],
    lines: NDArray[np.float64],
    letters: NDArray[np.int64],
    values: NDArray[np.float32],
    atom: Index,
    line: Index,
) -> float:
    cost: float = abs(lines[line] - values[atom, SHIFT]) * values[atom, INVERSE_SCALE]
    if letters[line] >= 0 and letters[line] != hydrogens[atom]:
        cost += _WRONG_LETTER
    return cost


@compiled
def _uneven_matching(
    hydrogens: NDArray[np.int64],
    lines: NDArray[np.float64],
    letters: NDArray[np.int64],
    first: Index,
    end: Index,
    values: NDArray[np.float32],
    places: NDArray[np.int64],
    size: Index,
    costs: NDArray[np.float64],
) -> float:
    """Cost of the cheapest matching of sorted sites with the lines of a group, in other number.

    Several of the longer side go to one of the shorter, in order, so that each is used.
    """
    count = end - first
    if size == 0 or count == 0:
        return _MISSING * (size + count)
    total = 0.0
    for place in range(size):
        total += values[places[place], LOG_WIDTH]
    long, short = max(size, count), min(size, count)
    slack = long - short
    if count > size:
        total += _MISSING * slack
    # costs[j]: of the longer side so far, its last one at place j of the shorter.
    for place in range(short):
        costs[place] = _FAR
    for place in range(long):
        for other in range(min(place, short - 1), max(place - slack, 0) - 1, -1):
            best = costs[other] if place else 0.0
            if other and costs[other - 1] < best:
                best = costs[other - 1]
            site, line = (place, other) if size > count else (other, place)
            costs[other] = best + _pair(
                hydrogens, lines, letters, values, places[site], first + line
            )
    cheapest: float = costs[short - 1]
    return total + cheapest
