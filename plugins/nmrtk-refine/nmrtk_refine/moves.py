"""Changes of a structure that keep its formula and every valence.

A move is applied at once and written to a log, so that it can be undone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nmrtk_refine.codes import MOST_NEIGHBOURS, Graph, is_connected, set_bond
from nmrtk_refine.compiled import Index, below, compiled

LOG_ROWS = 4 * MOST_NEIGHBOURS
"""Changes that a move has at most."""

_MOST_ORDER = 3
_HYDROGEN = -1  # in place of the second atom of a change
_EXCHANGES, _RELOCATIONS, _SWAPS = 8, 12, 18
"""Of 20 moves: up to the first, exchanges; up to the second, relocations; then swaps of
neighbours; the rest move hydrogens."""


@compiled
def move(
    graph: Graph,
    hydrogens_move: NDArray[np.int64],
    random: NDArray[np.uint64],
    log: NDArray[np.int64],
    stack: NDArray[np.int64],
) -> int:
    """Make a random move; returns the number of rows written to the log, 0 if nothing changed.

    Args:
        graph: is changed.
        hydrogens_move: atoms between which hydrogens may move.
        random: state of the generator.
        log: (LOG_ROWS, 4), int64: two atoms, or one and -1, the value before and the one after.
        stack: (A,), scratch.
    """
    choice = below(random, 20)
    if choice >= _SWAPS and len(hydrogens_move) > 1:
        count = _move_hydrogen(graph, hydrogens_move, random, log)
    elif choice >= _RELOCATIONS:
        count = _swap_neighbours(graph, random, log)
    elif choice >= _EXCHANGES:
        count = _relocate(graph, random, log)
    else:
        count = _exchange_bonds(graph, random, log)
    if count == 0:
        return 0
    # Removals first: an atom never has too many neighbours.
    removed = False
    for row in range(count):
        if log[row, 3] < log[row, 2]:
            removed |= log[row, 3] == 0
            _apply(graph, log, row, 3)
    for row in range(count):
        if log[row, 3] > log[row, 2]:
            _apply(graph, log, row, 3)
    if removed and not is_connected(graph, stack):
        undo(graph, log, count)
        return 0
    return count


@compiled
def undo(graph: Graph, log: NDArray[np.int64], count: int) -> None:
    """Take back the move that the first rows of a log describe."""
    for row in range(count):
        if log[row, 3] > log[row, 2]:
            _apply(graph, log, row, 2)
    for row in range(count):
        if log[row, 3] < log[row, 2]:
            _apply(graph, log, row, 2)


@compiled
def _apply(graph: Graph, log: NDArray[np.int64], row: int, column: int) -> None:
    if log[row, 1] == _HYDROGEN:
        graph.hydrogens[log[row, 0]] = log[row, column]
    else:
        set_bond(graph, log[row, 0], log[row, 1], log[row, column])


@compiled
def _write(
    log: NDArray[np.int64], row: int, first: Index, second: Index, old: Index, new: Index
) -> int:
    log[row, 0] = first
    log[row, 1] = second
    log[row, 2] = old
    log[row, 3] = new
    return row + 1


@compiled
def _exchange_bonds(graph: Graph, random: NDArray[np.uint64], log: NDArray[np.int64]) -> int:
    """Exchange the ends of two bonds, or of one component of each (Faulon, J. Chem. Inf. Comput.
    Sci. 1996, 36, 731).
    """
    count = len(graph.degrees)
    a, c = below(random, count), below(random, count)
    if graph.degrees[a] == 0 or graph.degrees[c] == 0:
        return 0
    b = graph.neighbours[a, below(random, graph.degrees[a])]
    d = graph.neighbours[c, below(random, graph.degrees[c])]
    if a in (c, d) or b in (c, d):
        return 0
    ab, cd = graph.bonds[a, b], graph.bonds[c, d]
    part = min(ab, cd) if below(random, 2) else 1
    ac, bd = graph.bonds[a, c], graph.bonds[b, d]
    if ac + part > _MOST_ORDER or bd + part > _MOST_ORDER:
        return 0
    row = _write(log, 0, a, b, ab, ab - part)
    row = _write(log, row, c, d, cd, cd - part)
    row = _write(log, row, a, c, ac, ac + part)
    return _write(log, row, b, d, bd, bd + part)


@compiled
def _relocate(graph: Graph, random: NDArray[np.uint64], log: NDArray[np.int64]) -> int:
    """Take an atom or a path of atoms, with all else that hangs on it, out of a chain or ring,
    close the gap, and put it into another bond.

    By exchanges of bonds that takes two steps, the first of which is often to a structure of high
    energy.
    """
    count = len(graph.degrees)
    first = below(random, count)
    if graph.degrees[first] < 2:
        return 0
    before = graph.neighbours[first, below(random, graph.degrees[first])]
    last, previous = first, before
    while True:
        after = graph.neighbours[last, below(random, graph.degrees[last])]
        if after in (previous, before, first):
            return 0
        if below(random, 2):
            break
        previous, last = last, after
        if graph.degrees[last] < 2:
            return 0
    left = below(random, count)
    if graph.degrees[left] == 0:
        return 0
    right = graph.neighbours[left, below(random, graph.degrees[left])]
    if left in (first, last, before, after) or right in (first, last, before, after):
        return 0
    bonds = graph.bonds
    gap, left_bond, right_bond = bonds[before, after], bonds[left, first], bonds[last, right]
    if max(gap, left_bond, right_bond) == _MOST_ORDER:
        return 0
    row = _write(log, 0, before, first, bonds[before, first], bonds[before, first] - 1)
    row = _write(log, row, last, after, bonds[last, after], bonds[last, after] - 1)
    row = _write(log, row, left, right, bonds[left, right], bonds[left, right] - 1)
    row = _write(log, row, before, after, gap, gap + 1)
    row = _write(log, row, left, first, left_bond, left_bond + 1)
    return _write(log, row, last, right, right_bond, right_bond + 1)


@compiled
def _swap_neighbours(graph: Graph, random: NDArray[np.uint64], log: NDArray[np.int64]) -> int:
    """Exchange some neighbours of an atom, with their bonds, for neighbours of another atom with
    as many bonds.

    With all neighbours two atoms change places; with all of one atom and some of the other, a
    substituent moves along with its atom.
    """
    count = len(graph.degrees)
    a, b = below(random, count), below(random, count)
    if a == b:
        return 0
    degree_a, degree_b = graph.degrees[a], graph.degrees[b]
    bit_of_b = bit_of_a = 0
    for place in range(degree_a):
        if graph.neighbours[a, place] == b:
            bit_of_b = 1 << place
    for place in range(degree_b):
        if graph.neighbours[b, place] == a:
            bit_of_a = 1 << place
    # Larger sets are more interesting: small ones are what the exchange of bonds does.
    chosen_a = below(random, 1 << degree_a)
    if below(random, 2):
        chosen_a = (1 << degree_a) - 1
    chosen_a &= ~bit_of_b
    wanted = 0
    for place in range(degree_a):
        if chosen_a >> place & 1:
            wanted += graph.bonds[a, graph.neighbours[a, place]]
    if wanted == 0:
        return 0
    sets = 1 << degree_b
    offset = below(random, sets)
    chosen_b = 0
    for step in range(sets):
        trial = (offset + step) & (sets - 1)
        if trial & bit_of_a:
            continue
        total = 0
        for place in range(degree_b):
            if trial >> place & 1:
                total += graph.bonds[b, graph.neighbours[b, place]]
        if total == wanted:
            chosen_b = trial
            break
    if chosen_b == 0:
        return 0
    row = 0
    for place in range(degree_a):
        if chosen_a >> place & 1:
            row = _hand_over(graph, a, b, chosen_b, graph.neighbours[a, place], log, row)
            if row < 0:
                return 0
    for place in range(degree_b):
        other = graph.neighbours[b, place]
        if chosen_b >> place & 1 and not _is_chosen(graph, a, chosen_a, other):
            row = _hand_over(graph, b, a, chosen_a, other, log, row)
            if row < 0:
                return 0
    return row


@compiled
def _is_chosen(graph: Graph, atom: Index, chosen: Index, other: Index) -> bool:
    """Whether an atom is among the chosen neighbours of another."""
    for place in range(graph.degrees[atom]):
        if chosen >> place & 1 and graph.neighbours[atom, place] == other:
            return True
    return False


@compiled
def _hand_over(
    graph: Graph,
    giver: Index,
    taker: Index,
    chosen_of_taker: Index,
    other: Index,
    log: NDArray[np.int64],
    row: int,
) -> int:
    """Log the bonds of a chosen neighbour of the giver; -1 where an order gets too high."""
    given, had = graph.bonds[giver, other], graph.bonds[taker, other]
    if _is_chosen(graph, taker, chosen_of_taker, other):
        if given == had:
            return row
        row = _write(log, row, giver, other, given, had)
        return _write(log, row, taker, other, had, given)
    if given + had > _MOST_ORDER:
        return -1
    row = _write(log, row, giver, other, given, 0)
    return _write(log, row, taker, other, had, given + had)


@compiled
def _move_hydrogen(
    graph: Graph,
    hydrogens_move: NDArray[np.int64],
    random: NDArray[np.uint64],
    log: NDArray[np.int64],
) -> int:
    """A hydrogen of one atom and a bond end of another change places."""
    a = hydrogens_move[below(random, len(hydrogens_move))]
    b = hydrogens_move[below(random, len(hydrogens_move))]
    if a == b or graph.hydrogens[a] == 0 or graph.degrees[b] == 0:
        return 0
    c = graph.neighbours[b, below(random, graph.degrees[b])]
    if c == a or graph.bonds[a, c] == _MOST_ORDER:
        return 0
    hydrogens = graph.hydrogens
    bonds = graph.bonds
    row = _write(log, 0, a, _HYDROGEN, hydrogens[a], hydrogens[a] - 1)
    row = _write(log, row, b, _HYDROGEN, hydrogens[b], hydrogens[b] + 1)
    row = _write(log, row, b, c, bonds[b, c], bonds[b, c] - 1)
    return _write(log, row, a, c, bonds[a, c], bonds[a, c] + 1)
