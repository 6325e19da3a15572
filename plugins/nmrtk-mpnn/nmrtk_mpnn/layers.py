"""What each layer of the network has to compute: every atom, or every surrounding once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nmrtk.graph_batch import ATOM_ROWS, EDGE_KINDS, GraphBatch

_HASH_SEED = 0
_ODD = (0x1E3779B97F4A7C15, 0x3F58476D1CE4E5B9)  # odd and large: they mix all bits of a product


@dataclass(frozen=True, slots=True)
class LayerGraph:
    """What a layer updates: U atoms or kinds of surroundings, from the N of the layer before.

    Args:
        sources: (M,), int64, row of the layer before from which a bond leads.
        targets: (M,), int64, updated row to which it leads.
        own: (U,), int64, row of the layer before that is updated.
        bonds: (M,), int64, those bonds of the batch.
        atoms: (U,), int64, an atom of the batch that has these surroundings.
        environments: (A,), int64, updated row of each atom of the batch.
        shares: whether atoms share rows; if not, all the indices but sources and targets are
            those of the rows themselves.
    """

    sources: Tensor
    targets: Tensor
    own: Tensor
    bonds: Tensor
    atoms: Tensor
    environments: Tensor
    shares: bool


def all_atoms(batch: GraphBatch, layers: int) -> list[LayerGraph]:
    """Every layer updates every atom."""
    device = batch.atoms.device
    atoms = torch.arange(len(batch.atoms), device=device)
    bonds = torch.arange(len(batch.edges), device=device)
    graph = LayerGraph(batch.sources, batch.targets, atoms, bonds, atoms, atoms, shares=False)
    return [graph] * layers


def shared(batch: GraphBatch, layers: int) -> list[LayerGraph]:
    """Every layer updates one row for each kind of surroundings.

    After k layers, a state depends on nothing but the atoms and bonds up to k bonds away. Atoms
    are told apart by 64-bit hashes of these, refined from layer to layer. The share of distinct
    surroundings in a batch of many molecules is small at first, so part of the work is saved, most
    of it among isomers.
    """
    device = batch.atoms.device
    generator = torch.Generator().manual_seed(_HASH_SEED)
    low, high = -(2**63), 2**63 - 1
    atom_codes = torch.randint(low, high, (ATOM_ROWS,), generator=generator).to(device)
    bond_codes = torch.randint(low, high, (EDGE_KINDS,), generator=generator).to(device)
    bonds = bond_codes[batch.edges]
    hashes = _mixed(atom_codes[batch.atoms].sum(1))
    everyone = torch.arange(len(hashes), device=device)
    before = everyone  # row of each atom in the layer before
    graphs = []
    for _ in range(layers):
        messages = _mixed(hashes[batch.sources] + bonds)
        hashes = _mixed((hashes * _ODD[0]).index_add(0, batch.targets, messages))
        values, rows = torch.unique(hashes, return_inverse=True)
        atoms = torch.zeros_like(values).scatter_reduce_(0, rows, everyone, "amax")
        # Bonds that lead to the atom that stands for its row.
        kept = torch.nonzero(atoms[rows[batch.targets]] == batch.targets)[:, 0]
        graphs.append(
            LayerGraph(
                sources=before[batch.sources[kept]],
                targets=rows[batch.targets[kept]],
                own=before[atoms],
                bonds=kept,
                atoms=atoms,
                environments=rows,
                shares=True,
            )
        )
        before = rows
    return graphs


def _mixed(hashes: Tensor) -> Tensor:
    """Hashes whose low bits depend on all bits; integers wrap around."""
    hashes = (hashes ^ (hashes >> 29)) * _ODD[1]
    return hashes ^ (hashes >> 32)
