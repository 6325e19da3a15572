"""Structures as the networks see them that are trained with torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nmrtk_refine.kinds import Isomer, Kind, write_bond_kinds
from nmrtk_refine.network import MOST_DEGREE, MOST_HYDROGENS


@dataclass(frozen=True, slots=True)
class BondGraph:
    """A structure: A atoms, E bonds in both directions.

    Args:
        kinds: (A,).
        hydrogens: (A,), int64.
        degrees: (A,), int64, neighbours.
        sources: (E,), int64, atom from which a bond leads.
        targets: (E,), int64, atom to which it leads.
        bonds: (E,), int64, kind of the bond.
    """

    kinds: tuple[Kind, ...]
    hydrogens: NDArray[np.int64]
    degrees: NDArray[np.int64]
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    bonds: NDArray[np.int64]

    @classmethod
    def of(cls, isomer: Isomer) -> BondGraph:
        """The graph of a structure."""
        graph = isomer.graph()
        write_bond_kinds(graph)
        places = np.arange(graph.neighbours.shape[1]) < graph.degrees[:, None]
        return cls(
            isomer.kinds,
            graph.hydrogens,
            graph.degrees,
            graph.neighbours[places],
            np.repeat(np.arange(len(isomer.kinds)), graph.degrees),
            graph.bond_kinds[places].astype(np.int64),
        )


@dataclass(frozen=True, slots=True)
class GraphBatch:
    """B structures as one graph: A atoms, E bonds in both directions.

    Args:
        kinds: (A,), int64, rows of the kinds of atoms that a network knows; the last row is that of
            any other.
        hydrogens: (A,), int64.
        degrees: (A,), int64.
        sources: (E,), int64.
        targets: (E,), int64.
        bonds: (E,), int64.
        owners: (A,), int64, structure of each atom.
        starts: (B,), first atom of each structure.
    """

    kinds: Tensor
    hydrogens: Tensor
    degrees: Tensor
    sources: Tensor
    targets: Tensor
    bonds: Tensor
    owners: Tensor
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, graphs: Sequence[BondGraph], rows: Mapping[Kind, int]) -> GraphBatch:
        """Join structures.

        Args:
            graphs: at least one.
            rows: of the kinds of atoms.
        """
        sizes = np.array([len(one.kinds) for one in graphs])
        starts = np.cumsum(sizes) - sizes
        moved = np.repeat(starts, [len(one.sources) for one in graphs])
        kinds = [rows.get(kind, len(rows)) for one in graphs for kind in one.kinds]

        def joined(name: str) -> NDArray[np.int64]:
            return np.concatenate([getattr(one, name) for one in graphs])

        return cls(
            torch.tensor(kinds),
            torch.from_numpy(joined("hydrogens").clip(max=MOST_HYDROGENS)),
            torch.from_numpy(joined("degrees").clip(max=MOST_DEGREE)),
            torch.from_numpy(joined("sources") + moved),
            torch.from_numpy(joined("targets") + moved),
            torch.from_numpy(joined("bonds")),
            torch.from_numpy(np.repeat(np.arange(len(graphs)), sizes)),
            starts,
        )


class FirstStates(nn.Module):
    """States of atoms before any message.

    Args:
        kinds: number of kinds of atoms that are told apart from any other.
        width: of a state.
    """

    def __init__(self, kinds: int, width: int) -> None:
        super().__init__()
        self.kinds = nn.Embedding(kinds + 1, width)
        self.hydrogens = nn.Embedding(MOST_HYDROGENS + 1, width)
        self.degrees = nn.Embedding(MOST_DEGREE + 1, width)

    def forward(self, batch: GraphBatch) -> Tensor:
        """States (A, width)."""
        states: Tensor = (
            self.kinds(batch.kinds) + self.hydrogens(batch.hydrogens) + self.degrees(batch.degrees)
        )
        return states


def with_messages(states: Tensor, batch: GraphBatch, gates: Tensor, offsets: Tensor) -> Tensor:
    """States (A, width) and what the neighbours say, by the kind of bond that leads to each.

    Args:
        states: (A, width).
        batch: the structures.
        gates: (BOND_KINDS, width).
        offsets: (BOND_KINDS, width).
    """
    messages = torch.relu(
        functional.embedding(batch.sources, states) * functional.embedding(batch.bonds, gates)
        + functional.embedding(batch.bonds, offsets)
    )
    return states.index_add(0, batch.targets, messages)
