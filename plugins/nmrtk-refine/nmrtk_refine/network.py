"""A small network for the inner loop: what the model would say of an environment, at once.

It passes messages as the encoder `mpnn` does, but is narrow and sees only as far as `DEPTH` bonds.
The state of an atom after k layers depends on nothing but its environment of radius k, which has a
code: states are kept by their codes, and a move costs the few that are new.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numba
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
_State = Callable[["Network", "Memo", Graph, NDArray[np.uint64], Index], Index]


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
    """What one chain has worked out, in tables of 2^k places that newer entries take over.

    Args:
        keys: (DEPTH + 1, 2^k), uint64, codes of environments by radius.
        states: (DEPTH + 1, 2^k, D), float32.
        value_keys: (2^j,), uint64, codes of environments of radius `DEPTH`.
        values: (2^j, 2), float32, shifts and scales in ppm.
        own: (DEPTH, D), scratch, as are `total`, (DEPTH, D), and `hidden`, (H or R,).
    """

    keys: NDArray[np.uint64]
    states: NDArray[np.float32]
    value_keys: NDArray[np.uint64]
    values: NDArray[np.float32]
    own: NDArray[np.float32]
    total: NDArray[np.float32]
    hidden: NDArray[np.float32]


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


def new_memo(network: Network, places: int = 1 << 14, value_places: int = 1 << 17) -> Memo:
    """An empty one; numbers of places are powers of two."""
    width = network.kind_states.shape[1]
    hidden = max(network.wide.shape[2], network.read.shape[1])
    return Memo(
        np.zeros((DEPTH + 1, places), np.uint64),
        np.zeros((DEPTH + 1, places, width), np.float32),
        np.zeros(value_places, np.uint64),
        np.zeros((value_places, 2), np.float32),
        np.zeros((DEPTH, width), np.float32),
        np.zeros((DEPTH, width), np.float32),
        np.zeros(hidden, np.float32),
    )


@compiled
def _place(memo: Memo, codes: NDArray[np.uint64], layer: Index, atom: Index) -> tuple[Index, bool]:
    """Where the state of an atom after so many layers is kept, and whether it is there."""
    code = codes[layer, atom]
    place = np.int64(code & np.uint64(memo.keys.shape[1] - 1))
    known = memo.keys[layer, place] == code
    memo.keys[layer, place] = code
    return place, known


@numba.njit(nogil=True, fastmath={"contract"})
def _add_product(
    vector: NDArray[np.float32], matrix: NDArray[np.float32], result: NDArray[np.float32]
) -> None:
    """Add vector (N,) times matrix (N, M), N a multiple of 4, to a result (M,)."""
    for row in range(0, len(vector), 4):
        a, b, c, d = vector[row], vector[row + 1], vector[row + 2], vector[row + 3]
        if a == 0 and b == 0 and c == 0 and d == 0:
            continue
        for column in range(len(result)):
            result[column] += (
                a * matrix[row, column]
                + b * matrix[row + 1, column]
                + c * matrix[row + 2, column]
                + d * matrix[row + 3, column]
            )


@compiled
def _first_state(
    network: Network, memo: Memo, graph: Graph, codes: NDArray[np.uint64], atom: Index
) -> Index:
    """See `_state_after`: before the first layer."""
    place, known = _place(memo, codes, 0, atom)
    if known:
        return place
    state = memo.states[0, place]
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
    return place


def _state_after(layer: int, state_before: _State) -> _State:
    """A compiled function that gives the place in `memo.states[layer]` of an atom's state after so
    many layers. One for each layer, since Numba cannot keep a function that calls itself.
    """

    @compiled
    def state_after(
        network: Network, memo: Memo, graph: Graph, codes: NDArray[np.uint64], atom: Index
    ) -> Index:
        place, known = _place(memo, codes, layer, atom)
        if known:
            return place
        states, own, total = memo.states[layer - 1], memo.own[layer - 1], memo.total[layer - 1]
        own[:] = states[state_before(network, memo, graph, codes, atom)]
        total[:] = own
        gates, offsets = network.gates[layer - 1], network.offsets[layer - 1]
        for number in range(graph.degrees[atom]):
            other = graph.neighbours[atom, number]
            # Used at once: working out the next neighbour may take over its place.
            state = states[state_before(network, memo, graph, codes, other)]
            bond = graph.bond_kinds[atom, number]
            for column in range(len(total)):
                message = state[column] * gates[bond, column] + offsets[bond, column]
                total[column] += max(message, np.float32(0))
        hidden = memo.hidden[: network.wide.shape[2]]
        hidden[:] = network.wide_bias[layer - 1]
        _add_product(total, network.wide[layer - 1], hidden)
        for row in range(len(hidden)):
            hidden[row] = max(hidden[row], np.float32(0))
        result = memo.states[layer, place]
        for column in range(len(result)):
            result[column] = own[column] + network.narrow_bias[layer - 1, column]
        _add_product(hidden, network.narrow[layer - 1], result)
        return place

    return state_after


_last_state: _State = _first_state
for _layer in range(1, DEPTH + 1):
    _last_state = _state_after(_layer, _last_state)


@compiled
def network_value(
    network: Network, memo: Memo, graph: Graph, codes: NDArray[np.uint64], atom: Index
) -> Index:
    """Place in `memo.values` of an atom's shift and scale.

    Args:
        network: weights.
        memo: is added to.
        graph: the structure, after `write_codes`.
        codes: (DEPTH + 1, A), of its atoms.
        atom: index.
    """
    code = codes[DEPTH, atom]
    value_place = np.int64(code & np.uint64(len(memo.value_keys) - 1))
    if memo.value_keys[value_place] == code:
        return value_place
    state = memo.states[DEPTH, _last_state(network, memo, graph, codes, atom)]
    hidden = memo.hidden[: len(network.read_bias)]
    hidden[:] = network.read_bias
    _add_product(state, network.read, hidden)
    shift, scale = network.out_bias[0], network.out_bias[1]
    for row in range(len(hidden)):
        if hidden[row] > 0:
            shift += hidden[row] * network.out[row, 0]
            scale += hidden[row] * network.out[row, 1]
    centre, spread, unit = network.units[0], network.units[1], network.units[2]
    memo.values[value_place, 0] = centre + spread * shift
    memo.values[value_place, 1] = unit * (LEAST_SCALE + np.log1p(np.exp(scale)))
    memo.value_keys[value_place] = code
    return value_place
