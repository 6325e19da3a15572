"""What each layer of the network has to compute: every atom, or every surrounding once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nmrtk.graph import BOND_KINDS
from nmrtk.graph_batch import ATOM_ROWS, GraphBatch

_HASH_SEED = 0
_ODD = (0x1E3779B97F4A7C15, 0x3F58476D1CE4E5B9)  # odd and large: they mix all bits of a product


@dataclass(frozen=True, slots=True)
class LayerGraph:
    """Atoms that a layer updates: A atoms of the batch, U updated ones, M bonds that lead to them.

    Args:
        sources: (M,), int64, atom of the batch from which a bond leads.
        targets: (M,), int64, updated atom to which it leads, counted among the U.
        atoms: (U,), int64, updated atoms.
        kept: (M,), int64, those bonds of the batch; None where every atom is updated, then the
            next is not used either.
        environments: (A,), int64, updated atom that has the surroundings of each atom.
    """

    sources: Tensor
    targets: Tensor
    atoms: Tensor
    kept: Tensor | None
    environments: Tensor


def all_atoms(batch: GraphBatch, layers: int) -> list[LayerGraph]:
    """Every layer updates every atom."""
    atoms = torch.arange(len(batch.atoms), device=batch.atoms.device)
    return [LayerGraph(batch.sources, batch.targets, atoms, None, atoms)] * layers


def shared(batch: GraphBatch, layers: int) -> list[LayerGraph]:
    """Every layer updates one atom of each kind of surroundings.

    After k layers, a state depends on nothing but the atoms and bonds up to k bonds away. Atoms
    are told apart by 64-bit hashes of these, refined from layer to layer. The share of distinct
    surroundings in a batch of many molecules is small at first, so about half the work is saved,
    more among isomers.
    """
    device = batch.atoms.device
    generator = torch.Generator().manual_seed(_HASH_SEED)
    low, high = -(2**63), 2**63 - 1
    atom_codes = torch.randint(low, high, (ATOM_ROWS,), generator=generator).to(device)
    bond_codes = torch.randint(low, high, (BOND_KINDS,), generator=generator).to(device)
    bonds = bond_codes[batch.bonds]
    hashes = _mixed(atom_codes[batch.atoms].sum(1))
    graphs = []
    for _ in range(layers):
        messages = _mixed(hashes[batch.sources] + bonds)
        hashes = _mixed((hashes * _ODD[0]).index_add(0, batch.targets, messages))
        graphs.append(_one_of_each(batch, hashes))
    return graphs


def _one_of_each(batch: GraphBatch, hashes: Tensor) -> LayerGraph:
    values, environments = torch.unique(hashes, return_inverse=True)
    everyone = torch.arange(len(hashes), device=hashes.device)
    atoms = torch.zeros_like(values).scatter_reduce_(0, environments, everyone, "amax")
    kept = torch.nonzero(atoms[environments[batch.targets]] == batch.targets)[:, 0]
    return LayerGraph(
        batch.sources[kept], environments[batch.targets[kept]], atoms, kept, environments
    )


def _mixed(hashes: Tensor) -> Tensor:
    """Hashes whose low bits depend on all bits; integers wrap around."""
    hashes = (hashes ^ (hashes >> 29)) * _ODD[1]
    return hashes ^ (hashes >> 32)
