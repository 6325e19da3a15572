"""Annealing: one chain of moves, and the structures of low energy that it passes."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmrtk_refine.codes import (
    DEPTH,
    MOST_NEIGHBOURS,
    Graph,
    set_bond,
    structure_code,
    write_codes,
    write_first_codes,
    write_further_codes,
)
from nmrtk_refine.compiled import below, compiled, entry_point, uniform
from nmrtk_refine.energy import (
    INVERSE_SCALE,
    LOG_WIDTH,
    PRIOR,
    SHIFT,
    Scratch,
    Table,
    Target,
    energy,
    find_row,
    first_energy,
    new_scratch,
)
from nmrtk_refine.moves import LOG_ROWS, move, undo
from nmrtk_refine.network import Memo, Network, ask_network, new_memo

_NONE = np.uint64(0)
_ATTEMPTS = 200
_COOL_EVERY = 64
_LEAST_CHANCE = 1e-300
_SLACK = 3.0
"""Nats by which a move that makes the prior worse may fit the lines better: more is so rare that
the move is turned down before that is worked out; docs/experiments.md, entry 21."""
_ROUGH_SLACK = 4.0
"""Nats by which the energy by the table may rise more than that with the network."""


class Kept(NamedTuple):
    """The structures of lowest energy that a chain has passed, each once.

    Args:
        places: (P,), int64, open hash table of rows plus one; 0 where free.
        codes: (S,), uint64, structure codes.
        energies: (S,).
        bonds: (S, A * (A - 1) / 2), int8, lower triangles.
        hydrogens: (S, A), int8.
        size: (1,), int64, rows in use.
        limit: (1,), energy from which on nothing is kept.
    """

    places: NDArray[np.int64]
    codes: NDArray[np.uint64]
    energies: NDArray[np.float64]
    bonds: NDArray[np.int8]
    hydrogens: NDArray[np.int8]
    size: NDArray[np.int64]
    limit: NDArray[np.float64]


class Workplace(NamedTuple):
    """Memory of one chain.

    Args:
        codes: (2, DEPTH + 1, A), uint64, of the structure and of a trial.
        values: (2, A, 4), float32, likewise, by the table alone.
        rough: (2,), energies with these.
        fine: (2, A, 4), float32, values with the network's where the table is not exact.
        first: (2, A), float32, likewise: energies of the environments of radius 1.
        rows: (A,), int64, rows of the table.
        asked: (A,), int64, scratch: atoms that the network is asked about.
        network: small one.
        memo: what it has worked out.
        log: (LOG_ROWS, 4), int64.
        random: (1,), uint64, state of the generator.
        scratch: of the energy.
        fine_scratch: likewise, with the fine values.
    """

    codes: NDArray[np.uint64]
    values: NDArray[np.float32]
    rough: NDArray[np.float64]
    fine: NDArray[np.float32]
    first: NDArray[np.float32]
    rows: NDArray[np.int64]
    asked: NDArray[np.int64]
    network: Network
    memo: Memo
    log: NDArray[np.int64]
    random: NDArray[np.uint64]
    scratch: Scratch
    fine_scratch: Scratch


def new_kept(atoms: int, capacity: int) -> Kept:
    """Room for so many structures."""
    return Kept(
        np.zeros(1 << (2 * capacity).bit_length(), np.int64),
        np.zeros(capacity, np.uint64),
        np.zeros(capacity),
        np.zeros((capacity, atoms * (atoms - 1) // 2), np.int8),
        np.zeros((capacity, atoms), np.int8),
        np.zeros(1, np.int64),
        np.full(1, math.inf),
    )


def new_workplace(atoms: int, lines: int, seed: int, network: Network) -> Workplace:
    """Memory for structures and lines of this size."""
    return Workplace(
        np.zeros((2, DEPTH + 1, atoms), np.uint64),
        np.zeros((2, atoms, 4), np.float32),
        np.zeros(2),
        np.zeros((2, atoms, 4), np.float32),
        np.zeros((2, atoms), np.float32),
        np.zeros(atoms, np.int64),
        np.zeros(atoms, np.int64),
        network,
        new_memo(network, atoms),
        np.zeros((LOG_ROWS, 4), np.int64),
        np.array([seed], np.uint64),
        new_scratch(atoms, lines),
        new_scratch(atoms, lines),
    )


@entry_point
def anneal(
    graph: Graph,
    hydrogens_move: NDArray[np.int64],
    table: Table,
    target: Target,
    work: Workplace,
    kept: Kept,
    moves: int,
    hot: float,
    cold: float,
) -> float:
    """Move at temperatures that fall geometrically, accepting as Metropolis does.

    Args:
        graph: connected; is left at the last structure.
        hydrogens_move: atoms between which hydrogens may move.
        table: environments.
        target: lines and weights.
        work: memory.
        kept: what is found is added.
        moves: number of moves that are tried.
        hot: first temperature, in nats.
        cold: last temperature.

    Returns:
        The energy of the last structure.
    """
    now = 0
    current = evaluate(graph, table, target, work)
    _keep(kept, graph, work, now, current)
    temperature = hot
    factor = (cold / hot) ** (_COOL_EVERY / max(moves, _COOL_EVERY))
    for step in range(moves):
        if step % _COOL_EVERY == 0 and step:
            temperature *= factor
        changes = move(graph, hydrogens_move, work.random, work.log, work.scratch.stack)
        if changes == 0:
            continue
        # How far the energy may rise is drawn first: most moves can be turned down early.
        allowed = -temperature * math.log(max(uniform(work.random), _LEAST_CHANCE))
        trial = _evaluate_move(graph, table, target, work, now, allowed)
        if trial - current <= allowed:
            now = 1 - now
            current = trial
            if current < kept.limit[0]:
                _keep(kept, graph, work, now, current)
        else:
            undo(graph, work.log, changes)
    return current


@compiled
def evaluate(graph: Graph, table: Table, target: Target, work: Workplace) -> float:
    """Energy of the graph; what it rests on goes to the first side."""
    codes, values, first = work.codes[0], work.values[0], work.first[0]
    small_rings = write_codes(graph, codes)
    for atom in range(len(values)):
        first[atom] = first_energy(table, codes[1, atom])
        row = work.rows[atom] = find_row(table, codes, atom)
        for column in range(4):
            values[atom, column] = table.values[row, column]
    _write_fine(graph, table, target, work, 0, False)
    work.rough[0] = energy(graph, target, codes, values, small_rings, work.scratch)
    return energy(graph, target, codes, work.fine[0], small_rings, work.fine_scratch)


@compiled
def _evaluate_move(
    graph: Graph, table: Table, target: Target, work: Workplace, now: int, allowed: float
) -> float:
    """Energy of the graph after a move, or infinity where it is turned down early: where the prior
    alone rises by too much, or the energy by the table. What it rests on goes to the other side.

    Args:
        graph: after the move.
        table: environments.
        target: lines and weights.
        work: memory.
        now: side of the structure before the move.
        allowed: what the energy may rise by.
    """
    codes, before = work.codes[1 - now], work.codes[now]
    first, first_before = work.first[1 - now], work.first[now]
    most = allowed + _SLACK
    small_rings = write_first_codes(graph, codes)
    rise = 0.0
    for atom in range(len(first)):
        if codes[1, atom] == before[1, atom]:
            first[atom] = first_before[atom]
        else:
            first[atom] = first_energy(table, codes[1, atom])
            rise += first[atom] - first_before[atom]
    if target.prior_weight * rise > most:
        return math.inf
    write_further_codes(graph, codes)
    values, values_before = work.values[1 - now], work.values[now]
    rise = 0.0
    for atom in range(len(first)):
        # Column by column: Numba copies slices slowly.
        if codes[DEPTH, atom] == before[DEPTH, atom]:
            for column in range(4):
                values[atom, column] = values_before[atom, column]
        else:
            row = work.rows[atom] = find_row(table, codes, atom)
            for column in range(4):
                values[atom, column] = table.values[row, column]
            rise += values[atom, PRIOR] - values_before[atom, PRIOR]
    if target.prior_weight * rise > most:
        return math.inf
    rough = energy(graph, target, codes, values, small_rings, work.scratch)
    work.rough[1 - now] = rough
    if rough - work.rough[now] > allowed + _ROUGH_SLACK:
        return math.inf
    _write_fine(graph, table, target, work, 1 - now, True)
    return energy(graph, target, codes, work.fine[1 - now], small_rings, work.fine_scratch)


@compiled
def _write_fine(
    graph: Graph, table: Table, target: Target, work: Workplace, side: int, after_move: bool
) -> None:
    """Write the fine values of a side, after its codes, rows and values.

    Args:
        graph: the structure.
        table: environments.
        target: lines and weights.
        work: memory.
        side: which.
        after_move: whether atoms whose environment is that on the other side have its values.
    """
    codes, values, fine = work.codes[side], work.values[side], work.fine[side]
    codes_before, fine_before = work.codes[1 - side], work.fine[1 - side]
    asked = 0
    for atom in range(len(values)):
        known = after_move and codes[DEPTH, atom] == codes_before[DEPTH, atom]
        for column in range(4):
            fine[atom, column] = fine_before[atom, column] if known else values[atom, column]
        if not known and target.is_site[atom] and not table.exact[work.rows[atom]]:
            work.asked[asked] = atom
            asked += 1
    if len(work.network.read) == 0:
        return
    ask_network(work.network, work.memo, graph, codes, work.asked[:asked])
    for number in range(asked):
        atom = work.asked[number]
        scale = work.memo.answers[atom, 1]
        fine[atom, SHIFT] = work.memo.answers[atom, 0]
        fine[atom, INVERSE_SCALE] = 1 / scale
        fine[atom, LOG_WIDTH] = math.log(2 * scale)


@compiled
def _keep(kept: Kept, graph: Graph, work: Workplace, side: int, value: float) -> None:
    code = structure_code(graph, work.codes[side], work.scratch.codes)
    last = np.uint64(len(kept.places) - 1)
    place = code & last
    while kept.places[place] != 0:
        if kept.codes[kept.places[place] - 1] == code:
            return
        place = (place + np.uint64(1)) & last
    if kept.size[0] == len(kept.codes):
        _drop_half(kept)
        if value >= kept.limit[0]:
            return
        place = code & last
        while kept.places[place] != 0:
            place = (place + np.uint64(1)) & last
    row = kept.size[0]
    kept.size[0] += 1
    kept.places[place] = row + 1
    kept.codes[row] = code
    kept.energies[row] = value
    entry = 0
    for first in range(len(graph.degrees)):
        kept.hydrogens[row, first] = graph.hydrogens[first]
        for second in range(first):
            kept.bonds[row, entry] = graph.bonds[first, second]
            entry += 1


@compiled
def _drop_half(kept: Kept) -> None:
    """Keep the better half, and from now on nothing worse than that."""
    size = kept.size[0]
    kept.limit[0] = np.sort(kept.energies[:size])[size // 2]
    rows = 0
    all_alike = kept.limit[0] <= np.min(kept.energies[:size])
    for row in range(size):
        if kept.energies[row] < kept.limit[0] or (all_alike and row < size // 2):
            kept.codes[rows] = kept.codes[row]
            kept.energies[rows] = kept.energies[row]
            kept.bonds[rows] = kept.bonds[row]
            kept.hydrogens[rows] = kept.hydrogens[row]
            rows += 1
    kept.size[0] = rows
    kept.places[:] = 0
    last = np.uint64(len(kept.places) - 1)
    for row in range(rows):
        place = kept.codes[row] & last
        while kept.places[place] != 0:
            place = (place + np.uint64(1)) & last
        kept.places[place] = row + 1


@entry_point
def random_structure(graph: Graph, hydrogens: NDArray[np.int8], random: NDArray[np.uint64]) -> bool:
    """Give a graph without bonds random ones that use up every valence and connect all atoms.

    Args:
        graph: is changed.
        hydrogens: (A,), of each atom.
        random: state of the generator.

    Returns:
        Whether that worked out.
    """
    count = len(hydrogens)
    free = np.zeros(count, np.int64)
    order = np.zeros(count, np.int64)
    for _ in range(_ATTEMPTS):
        graph.bonds[:] = 0
        graph.degrees[:] = 0
        graph.masks[:] = 0
        for atom in range(count):
            graph.hydrogens[atom] = hydrogens[atom]
            free[atom] = graph.valences[atom] - hydrogens[atom]
        if _random_tree(graph, free, order, random) and _fill_up(graph, free, random):
            return True
    return False


@compiled
def _random_tree(
    graph: Graph,
    free: NDArray[np.int64],
    order: NDArray[np.int64],
    random: NDArray[np.uint64],
) -> bool:
    """Join all atoms, those that can have several neighbours first."""
    count = len(free)
    for place in range(count):
        chosen = below(random, place + 1)
        order[place] = order[chosen]
        order[chosen] = place
    size = 0
    for place in range(count):
        if free[order[place]] > 1:
            order[size], order[place] = order[place], order[size]
            size += 1
    for place in range(1, count):
        atom = order[place]
        open_count = 0
        for other in range(place):
            if free[order[other]] > 0:
                open_count += 1
        if open_count == 0 or free[atom] == 0:
            return False
        chosen = below(random, open_count)
        for other in range(place):
            if free[order[other]] > 0:
                if chosen == 0:
                    set_bond(graph, atom, order[other], 1)
                    free[atom] -= 1
                    free[order[other]] -= 1
                    break
                chosen -= 1
    return True


@compiled
def _fill_up(graph: Graph, free: NDArray[np.int64], random: NDArray[np.uint64]) -> bool:
    """Use up what is free by further bonds."""
    count = len(free)
    for _ in range(_ATTEMPTS * count):
        left = 0
        for atom in range(count):
            left += free[atom]
        if left == 0:
            return True
        a = below(random, count)
        b = below(random, count)
        if free[a] == 0 or a == b:
            continue
        if free[b] > 0:
            if graph.bonds[a, b] < 3 and graph.degrees[a] < MOST_NEIGHBOURS:
                set_bond(graph, a, b, graph.bonds[a, b] + 1)
                free[a] -= 1
                free[b] -= 1
        elif free[a] > 1 and graph.degrees[b] > 0:
            # Into a bond of others.
            c = graph.neighbours[b, below(random, graph.degrees[b])]
            if c != a and graph.bonds[a, b] < 3 and graph.bonds[a, c] < 3:
                set_bond(graph, b, c, graph.bonds[b, c] - 1)
                set_bond(graph, a, b, graph.bonds[a, b] + 1)
                set_bond(graph, a, c, graph.bonds[a, c] + 1)
                free[a] -= 2
    return False
