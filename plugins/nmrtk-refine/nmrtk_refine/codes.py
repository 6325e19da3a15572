"""Codes of atom environments, fast enough to be computed for every move.

The code of radius 0 is that of an atom: kind, hydrogens, neighbours. The code of radius r joins
the code of radius r - 1 with those of the neighbours, mixed with the bonds that lead there, summed
so that their order does not matter. A bond is described by its order and the smallest ring that
it lies in; between unsaturated atoms of a ring the order is left out, so that all Kekulé structures
of a molecule have the same codes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmrtk_refine.compiled import Index, compiled, mixed

RADIUS = 3
"""Largest radius that tables hold."""

DEPTH = 4
"""Largest radius of all: what the small network sees."""

MOST_ATOMS = 60
"""Heavy atoms that a structure may have: sets of atoms are bits of a number."""

MOST_NEIGHBOURS = 6
"""Neighbours that an atom may have."""

_DEEPER = 6
"""Further rounds before two structures count as the same."""

_NO_RING, _RING_3, _RING_4, _RING_5, _RING_6, _RING_7 = range(6)
_CONJUGATED = 4  # instead of the order 1 or 2
_RINGS = 6
BOND_KINDS = 5 * _RINGS
"""Orders, one of them for conjugated bonds, times smallest rings."""

_BOND_CODES = np.random.default_rng(13).integers(0, 2**63, BOND_KINDS).astype(np.uint64)
_OWN = np.uint64(0x1E3779B97F4A7C15)
_ONE = np.uint64(1)
_NONE = np.uint64(0)


class Graph(NamedTuple):
    """A structure in the inner loop: A atoms.

    Args:
        kinds: (A,), uint64, codes of the kinds of atoms.
        valences: (A,), int64.
        hydrogens: (A,), int64.
        bonds: (A, A), int8, orders.
        neighbours: (A, MOST_NEIGHBOURS), int64, the first `degrees` of each row.
        degrees: (A,), int64.
        masks: (A,), uint64, neighbours as bits.
        edges: (A, MOST_NEIGHBOURS), uint64, codes of the bonds to the neighbours, as
            `write_first_codes` left them.
        bond_kinds: (A, MOST_NEIGHBOURS), uint8, numbers of these codes, below `BOND_KINDS`.
        reach: (2, A, MOST_NEIGHBOURS), uint64, scratch: atoms two and three bonds beyond an atom
            in the direction of each neighbour, as bits.
    """

    kinds: NDArray[np.uint64]
    valences: NDArray[np.int64]
    hydrogens: NDArray[np.int64]
    bonds: NDArray[np.int8]
    neighbours: NDArray[np.int64]
    degrees: NDArray[np.int64]
    masks: NDArray[np.uint64]
    edges: NDArray[np.uint64]
    bond_kinds: NDArray[np.uint8]
    reach: NDArray[np.uint64]


def new_graph(kinds: NDArray[np.uint64], valences: NDArray[np.int64]) -> Graph:
    """A graph without bonds and hydrogens."""
    count = len(kinds)
    return Graph(
        np.array(kinds, np.uint64),
        np.array(valences, np.int64),
        np.zeros(count, np.int64),
        np.zeros((count, count), np.int8),
        np.zeros((count, MOST_NEIGHBOURS), np.int64),
        np.zeros(count, np.int64),
        np.zeros(count, np.uint64),
        np.zeros((count, MOST_NEIGHBOURS), np.uint64),
        np.zeros((count, MOST_NEIGHBOURS), np.uint8),
        np.zeros((2, count, MOST_NEIGHBOURS), np.uint64),
    )


@compiled
def set_bond(graph: Graph, first: Index, second: Index, order: Index) -> None:
    """Give a bond another order; 0 removes it."""
    before = graph.bonds[first, second]
    graph.bonds[first, second] = order
    graph.bonds[second, first] = order
    if before == 0 and order > 0:
        _link(graph, first, second)
        _link(graph, second, first)
    elif before > 0 and order == 0:
        _unlink(graph, first, second)
        _unlink(graph, second, first)


@compiled
def _link(graph: Graph, atom: Index, other: Index) -> None:
    graph.neighbours[atom, graph.degrees[atom]] = other
    graph.degrees[atom] += 1
    graph.masks[atom] |= _ONE << np.uint64(other)


@compiled
def _unlink(graph: Graph, atom: Index, other: Index) -> None:
    place = 0
    while graph.neighbours[atom, place] != other:
        place += 1
    graph.degrees[atom] -= 1
    graph.neighbours[atom, place] = graph.neighbours[atom, graph.degrees[atom]]
    graph.masks[atom] &= ~(_ONE << np.uint64(other))


@compiled
def is_connected(graph: Graph, stack: NDArray[np.int64]) -> bool:
    """Whether all atoms hang together. `stack` (A,) is scratch."""
    count = len(graph.degrees)
    seen = _ONE
    stack[0] = 0
    size = found = 1
    while size:
        size -= 1
        atom = stack[size]
        for place in range(graph.degrees[atom]):
            other = graph.neighbours[atom, place]
            bit = _ONE << np.uint64(other)
            if seen & bit == _NONE:
                seen |= bit
                stack[size] = other
                size += 1
                found += 1
    return found == count


@compiled
def write_codes(graph: Graph, codes: NDArray[np.uint64]) -> float:
    """Write the codes (DEPTH + 1, A); returns the bonds in small rings, those of three counting
    two.
    """
    small = write_first_codes(graph, codes)
    write_further_codes(graph, codes)
    return small


@compiled
def write_first_codes(graph: Graph, codes: NDArray[np.uint64]) -> float:
    """Write the codes of radius 0 and 1 and those of the bonds; returns what `write_codes` does."""
    count = len(graph.degrees)
    for atom in range(count):
        codes[0, atom] = mixed(
            graph.kinds[atom] + np.uint64(16 * graph.hydrogens[atom] + graph.degrees[atom]) * _OWN
        )
    _write_reach(graph)
    small = 0.0
    for atom in range(count):
        spare = graph.valences[atom] - graph.hydrogens[atom] - graph.degrees[atom]
        for place in range(graph.degrees[atom]):
            other = graph.neighbours[atom, place]
            if other < atom:
                continue
            back = 0
            while graph.neighbours[other, back] != atom:
                back += 1
            ring = _ring_class(graph, atom, place, other, back)
            order = graph.bonds[atom, other]
            if ring == _RING_3:
                small += 2.0
            elif ring == _RING_4:
                small += 1.0
            if (
                ring >= _RING_5
                and order < 3
                and spare > 0
                and graph.valences[other] - graph.hydrogens[other] > graph.degrees[other]
            ):
                order = _CONJUGATED
            kind = order * _RINGS + ring
            code = _BOND_CODES[kind]
            graph.bond_kinds[atom, place] = kind
            graph.bond_kinds[other, back] = kind
            graph.edges[atom, place] = code
            graph.edges[other, back] = code
    _join_neighbours(graph, codes[0], codes[1])
    return small


@compiled
def write_further_codes(graph: Graph, codes: NDArray[np.uint64]) -> None:
    """Write the codes of the larger radii, after `write_first_codes`."""
    for radius in range(2, DEPTH + 1):
        _join_neighbours(graph, codes[radius - 1], codes[radius])


@compiled
def _write_reach(graph: Graph) -> None:
    """Write, for each atom and neighbour, what lies two and three bonds beyond the atom on ways
    that start with the neighbour and do not turn back.
    """
    for step in range(2):
        for atom in range(len(graph.degrees)):
            for place in range(graph.degrees[atom]):
                other = graph.neighbours[atom, place]
                found = _NONE
                for further in range(graph.degrees[other]):
                    beyond = graph.neighbours[other, further]
                    if beyond == atom:
                        continue
                    if step == 0:
                        found |= graph.masks[beyond]
                    else:
                        found |= graph.reach[0, other, further]
                if step == 0:
                    found &= ~(_ONE << np.uint64(other))
                graph.reach[step, atom, place] = found


@compiled
def _ring_class(graph: Graph, first: Index, place: Index, second: Index, back: Index) -> int:
    """Class of the smallest ring of a bond: where ways from both ends meet.

    Smaller rings are found first, so that ways that pass an atom twice do not count.
    """
    if graph.degrees[first] < 2 or graph.degrees[second] < 2:
        return _NO_RING
    near = graph.masks[first] & ~(_ONE << np.uint64(second))
    other_near = graph.masks[second] & ~(_ONE << np.uint64(first))
    if near & other_near != _NONE:
        return _RING_3
    second_shell, third_shell = graph.reach[0, second, back], graph.reach[1, second, back]
    if second_shell & other_near != _NONE:
        return _RING_4
    other_second_shell = graph.reach[0, first, place]
    if second_shell & other_second_shell != _NONE:
        return _RING_5
    if third_shell & other_second_shell != _NONE:
        return _RING_6
    if third_shell & graph.reach[1, first, place] != _NONE:
        return _RING_7
    return _NO_RING


@compiled
def _join_neighbours(graph: Graph, before: NDArray[np.uint64], after: NDArray[np.uint64]) -> None:
    for atom in range(len(before)):
        total = _NONE
        for place in range(graph.degrees[atom]):
            other = graph.neighbours[atom, place]
            message = (before[other] + graph.edges[atom, place]) * _OWN
            total += message ^ (message >> np.uint64(29))
        after[atom] = mixed(before[atom] * _OWN + total)


@compiled
def structure_code(
    graph: Graph, codes: NDArray[np.uint64], scratch: NDArray[np.uint64]
) -> np.uint64:
    """Code of the whole structure, from the codes of its atoms. `scratch` is (2, A)."""
    scratch[0] = codes[DEPTH]
    for number in range(_DEEPER):
        _join_neighbours(graph, scratch[number % 2], scratch[1 - number % 2])
    total = _NONE
    for code in scratch[_DEEPER % 2]:
        total += mixed(code)
    return total
