"""A small network for the inner loop: what the model would say of an environment, at once.

It passes messages as the encoder `mpnn` does, but is narrow and sees only as far as `DEPTH` bonds.
The state of an atom after k layers depends on nothing but its environment of radius k, which has a
code: states are kept by their codes, and a move costs the few that are new.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nmrtk_refine.codes import BOND_KINDS, DEPTH, Graph
from nmrtk_refine.compiled import Index, compiled

MOST_HYDROGENS, MOST_DEGREE = 7, 7
"""Numbers of hydrogens and of neighbours that have an embedding; larger ones have the last."""

LEAST_SCALE = 0.01
"""In the unit of scales."""

_PREFIX = "network_"
_MULTIPLIED_TOGETHER = 32  # rows; with more, OpenBLAS would start threads beside the chains


class Network(NamedTuple):
    """Weights, float32: width D, hidden width H, V kinds of atoms, B kinds of bonds.

    Args:
        kinds: (V,), uint64, codes of the kinds of atoms, ascending.
        kind_states: (V + 1, D), of each; the last is that of an unknown one.
        hydrogen_states: (MOST_HYDROGENS + 1, D), by the number of hydrogens.
        degree_states: (MOST_DEGREE + 1, D), by the number of neighbours.
        gates: (DEPTH, B, D), factors of a neighbour's state, by bond.
        offsets: (DEPTH, B, D), added to that.
        wide: (DEPTH, D, H), and `wide_bias`, (DEPTH, H).
        narrow: (DEPTH, H, D), and `narrow_bias`, (DEPTH, D).
        read: (D, R), and `read_bias`, (R,).
        out: (R, 2), to shift and scale, and `out_bias`, (2,).
        units: (3,), centre and spread of the shifts and unit of the scales, in ppm.
    """

    kinds: NDArray[np.uint64]
    kind_states: NDArray[np.float32]
    hydrogen_states: NDArray[np.float32]
    degree_states: NDArray[np.float32]
    gates: NDArray[np.float32]
    offsets: NDArray[np.float32]
    wide: NDArray[np.float32]
    wide_bias: NDArray[np.float32]
    narrow: NDArray[np.float32]
    narrow_bias: NDArray[np.float32]
    read: NDArray[np.float32]
    read_bias: NDArray[np.float32]
    out: NDArray[np.float32]
    out_bias: NDArray[np.float32]
    units: NDArray[np.float32]


class Memo(NamedTuple):
    """What one chain has worked out, in tables of 2^k places that newer entries take over, and
    memory for one structure of A atoms.

    Args:
        keys: (DEPTH - 1, 2^k), uint64, codes of environments of radius 1 and more.
        states: (DEPTH - 1, 2^k, D), float32, after as many layers.
        value_keys: (2^j,), uint64, codes of environments of radius `DEPTH`.
        values: (2^j, 2), float32, shifts and scales in ppm.
        answers: (A, 2), float32, likewise, of the atoms that were asked for last.
        layers: (DEPTH, A, D), float32, states before each layer, where they are needed.
        needed: (DEPTH, A), whether they are.
        new: (DEPTH + 1, A), int64, atoms whose state after so many layers is to be worked out.
        new_counts: (DEPTH + 1,), int64, how many.
        twins: (DEPTH + 1, A), int64, of an atom with the environment of another one that is worked
            out, that one; else -1.
        inputs: (A, D), float32, of a layer, one row for each new atom, as are `hidden`, (A, H),
            `outputs`, (A, D), and `read`, (A, R).
    """

    keys: NDArray[np.uint64]
    states: NDArray[np.float32]
    value_keys: NDArray[np.uint64]
    values: NDArray[np.float32]
    answers: NDArray[np.float32]
    layers: NDArray[np.float32]
    needed: NDArray[np.bool_]
    new: NDArray[np.int64]
    new_counts: NDArray[np.int64]
    twins: NDArray[np.int64]
    inputs: NDArray[np.float32]
    hidden: NDArray[np.float32]
    outputs: NDArray[np.float32]
    read: NDArray[np.float32]


def no_network() -> Network:
    """One that is never asked."""

    def nothing(*shape: int) -> NDArray[np.float32]:
        return np.zeros(shape, np.float32)

    return Network(
        kinds=np.zeros(0, np.uint64),
        kind_states=nothing(1, 0),
        hydrogen_states=nothing(MOST_HYDROGENS + 1, 0),
        degree_states=nothing(MOST_DEGREE + 1, 0),
        gates=nothing(DEPTH, BOND_KINDS, 0),
        offsets=nothing(DEPTH, BOND_KINDS, 0),
        wide=nothing(DEPTH, 0, 0),
        wide_bias=nothing(DEPTH, 0),
        narrow=nothing(DEPTH, 0, 0),
        narrow_bias=nothing(DEPTH, 0),
        read=nothing(0, 0),
        read_bias=nothing(0),
        out=nothing(0, 2),
        out_bias=nothing(2),
        units=nothing(3),
    )


def network_tensors(network: Network) -> dict[str, Tensor]:
    """For a file, weights as 16-bit floats."""
    tensors = {
        _PREFIX + name: torch.from_numpy(array.astype(np.float16))
        for name, array in network._asdict().items()
        if name != "kinds"
    }
    return tensors | {_PREFIX + "kinds": torch.from_numpy(network.kinds.view(np.int64))}


def network_of(tensors: Mapping[str, Tensor]) -> Network:
    """What `network_tensors` wrote.

    Raises:
        KeyError: something is missing.
    """
    weights: dict[str, Any] = {
        name: tensors[_PREFIX + name].numpy().astype(np.float32)
        for name in Network._fields
        if name != "kinds"
    }
    return Network(kinds=tensors[_PREFIX + "kinds"].numpy().view(np.uint64), **weights)


def new_memo(
    network: Network, atoms: int, places: int = 1 << 14, value_places: int = 1 << 17
) -> Memo:
    """An empty one for structures of so many atoms; numbers of places are powers of two."""

    def floats(*shape: int) -> NDArray[np.float32]:
        return np.zeros(shape, np.float32)

    width = network.kind_states.shape[1]
    return Memo(
        keys=np.zeros((DEPTH - 1, places), np.uint64),
        states=floats(DEPTH - 1, places, width),
        value_keys=np.zeros(value_places, np.uint64),
        values=floats(value_places, 2),
        answers=floats(atoms, 2),
        layers=floats(DEPTH, atoms, width),
        needed=np.zeros((DEPTH, atoms), np.bool_),
        new=np.zeros((DEPTH + 1, atoms), np.int64),
        new_counts=np.zeros(DEPTH + 1, np.int64),
        twins=np.zeros((DEPTH + 1, atoms), np.int64),
        inputs=floats(atoms, width),
        hidden=floats(atoms, network.wide.shape[2]),
        outputs=floats(atoms, width),
        read=floats(atoms, network.read.shape[1]),
    )


@compiled
def ask_network(
    network: Network,
    memo: Memo,
    graph: Graph,
    codes: NDArray[np.uint64],
    atoms: NDArray[np.int64],
) -> None:
    """Write shifts and scales of some atoms to `memo.answers`.

    All atoms pass a layer together: its weights stay near the processor, and what they are
    multiplied with is a matrix.

    Args:
        network: weights.
        memo: is added to.
        graph: the structure, after `write_codes`.
        codes: (DEPTH + 1, A), of its atoms.
        atoms: (N,), indices.
    """
    memo.needed[:] = False
    memo.twins[:] = -1
    memo.new_counts[:] = 0
    for atom in atoms:
        place = _place(memo.value_keys, codes[DEPTH, atom])
        if memo.value_keys[place] == codes[DEPTH, atom]:
            _copy(memo.values[place], memo.answers[atom])
        else:
            _work_out(memo, graph, codes, DEPTH, atom)
    if memo.new_counts[DEPTH] == 0:
        return
    for layer in range(DEPTH - 1, 0, -1):
        for atom in range(len(graph.degrees)):
            if memo.needed[layer, atom]:
                place = _place(memo.keys[layer - 1], codes[layer, atom])
                if memo.keys[layer - 1, place] == codes[layer, atom]:
                    _copy(memo.states[layer - 1, place], memo.layers[layer, atom])
                else:
                    _work_out(memo, graph, codes, layer, atom)
    for atom in range(len(graph.degrees)):
        if memo.needed[0, atom]:
            _write_first_state(network, graph, atom, memo.layers[0, atom])
    for layer in range(1, DEPTH):
        _pass_layer(network, memo, graph, layer)
        for number in range(memo.new_counts[layer]):
            atom = memo.new[layer, number]
            place = _place(memo.keys[layer - 1], codes[layer, atom])
            memo.keys[layer - 1, place] = codes[layer, atom]
            _copy(memo.outputs[number], memo.states[layer - 1, place])
            _copy(memo.outputs[number], memo.layers[layer, atom])
        for atom in range(len(graph.degrees)):
            if memo.twins[layer, atom] >= 0:
                _copy(memo.layers[layer, memo.twins[layer, atom]], memo.layers[layer, atom])
    _pass_layer(network, memo, graph, DEPTH)
    _read_out(network, memo)
    for number in range(memo.new_counts[DEPTH]):
        atom = memo.new[DEPTH, number]
        place = _place(memo.value_keys, codes[DEPTH, atom])
        memo.value_keys[place] = codes[DEPTH, atom]
        _copy(memo.answers[atom], memo.values[place])
    for atom in atoms:
        if memo.twins[DEPTH, atom] >= 0:
            _copy(memo.answers[memo.twins[DEPTH, atom]], memo.answers[atom])


@compiled
def _place(keys: NDArray[np.uint64], code: np.uint64) -> Index:
    """Where in a table of 2^k places an environment is kept, if it is."""
    return np.int64(code & np.uint64(len(keys) - 1))


@compiled
def _copy(source: NDArray[np.float32], target: NDArray[np.float32]) -> None:
    # Numba copies slices slowly.
    for column in range(len(source)):
        target[column] = source[column]


@compiled
def _work_out(
    memo: Memo, graph: Graph, codes: NDArray[np.uint64], layer: Index, atom: Index
) -> None:
    """Note that an atom's state after a layer is new, and which states before it are needed."""
    count = memo.new_counts[layer]
    for number in range(count):
        other = memo.new[layer, number]
        if codes[layer, other] == codes[layer, atom]:
            memo.twins[layer, atom] = other
            return
    memo.new[layer, count] = atom
    memo.new_counts[layer] = count + 1
    memo.needed[layer - 1, atom] = True
    for place in range(graph.degrees[atom]):
        memo.needed[layer - 1, graph.neighbours[atom, place]] = True


@compiled
def _write_first_state(
    network: Network, graph: Graph, atom: Index, state: NDArray[np.float32]
) -> None:
    row = np.searchsorted(network.kinds, graph.kinds[atom])
    if row < len(network.kinds) and network.kinds[row] != graph.kinds[atom]:
        row = len(network.kinds)
    hydrogens = min(graph.hydrogens[atom], MOST_HYDROGENS)
    degree = min(graph.degrees[atom], MOST_DEGREE)
    for column in range(len(state)):
        state[column] = (
            network.kind_states[row, column]
            + network.hydrogen_states[hydrogens, column]
            + network.degree_states[degree, column]
        )


@compiled
def _pass_layer(network: Network, memo: Memo, graph: Graph, layer: Index) -> None:
    """Write the states of the new atoms after a layer to `memo.outputs`."""
    states, count = memo.layers[layer - 1], memo.new_counts[layer]
    gates, offsets = network.gates[layer - 1], network.offsets[layer - 1]
    for number in range(count):
        atom, total = memo.new[layer, number], memo.inputs[number]
        _copy(states[atom], total)
        for place in range(graph.degrees[atom]):
            state, bond = states[graph.neighbours[atom, place]], graph.bond_kinds[atom, place]
            for column in range(len(total)):
                message = state[column] * gates[bond, column] + offsets[bond, column]
                total[column] += max(message, np.float32(0))
    _multiply(memo.inputs, network.wide[layer - 1], count, memo.hidden)
    _rectify(memo.hidden, network.wide_bias[layer - 1], count)
    _multiply(memo.hidden, network.narrow[layer - 1], count, memo.outputs)
    bias = network.narrow_bias[layer - 1]
    for number in range(count):
        before = states[memo.new[layer, number]]
        for column in range(len(bias)):
            memo.outputs[number, column] += before[column] + bias[column]


@compiled
def _read_out(network: Network, memo: Memo) -> None:
    """Write the answers of the new atoms from their states after the last layer."""
    count = memo.new_counts[DEPTH]
    _multiply(memo.outputs, network.read, count, memo.read)
    _rectify(memo.read, network.read_bias, count)
    centre, spread, unit = network.units[0], network.units[1], network.units[2]
    for number in range(count):
        shift, scale = network.out_bias[0], network.out_bias[1]
        for column in range(len(network.read_bias)):
            shift += memo.read[number, column] * network.out[column, 0]
            scale += memo.read[number, column] * network.out[column, 1]
        atom = memo.new[DEPTH, number]
        memo.answers[atom, 0] = centre + spread * shift
        memo.answers[atom, 1] = unit * (LEAST_SCALE + np.log1p(np.exp(scale)))


@compiled
def _rectify(rows: NDArray[np.float32], bias: NDArray[np.float32], count: Index) -> None:
    for row in range(count):
        for column in range(len(bias)):
            rows[row, column] = max(rows[row, column] + bias[column], np.float32(0))


@compiled
def _multiply(
    rows: NDArray[np.float32],
    matrix: NDArray[np.float32],
    count: Index,
    result: NDArray[np.float32],
) -> None:
    """Write the products of the first rows with a matrix."""
    for start in range(0, count, _MULTIPLIED_TOGETHER):
        end = min(start + _MULTIPLIED_TOGETHER, count)
        np.dot(rows[start:end], matrix, result[start:end])
