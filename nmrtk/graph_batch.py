"""Molecules prepared for a graph network, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nmrtk.configuration import RELATIONS, configuration_relations
from nmrtk.environments import environment_counts
from nmrtk.errors import MoleculeError
from nmrtk.graph import ATOM_CARDINALITIES, BOND_KINDS, molecular_graph
from nmrtk.molecule import Molecule
from nmrtk.nucleus import Nucleus
from nmrtk.site_classes import site_classes

ATOM_ROWS = sum(ATOM_CARDINALITIES)
"""Number of categories of all atom fields together: values of `GraphBatch.atoms` are below it."""

EDGE_KINDS = BOND_KINDS + RELATIONS
"""Number of kinds of edges: values of `GraphBatch.edges` are below it."""

_ATOM_OFFSETS = torch.tensor([0, *np.cumsum(ATOM_CARDINALITIES)[:-1]])


@dataclass(frozen=True, slots=True)
class PreparedMolecule:
    """One molecule as arrays: A atoms, E directed edges (bonds, and relations of configuration), S
    sites, H environments.

    Args:
        atoms: (A, fields), categories.
        sources: (E,), atom from which a directed edge leads.
        targets: (E,), atom to which it leads.
        edges: (E,), its kind: that of a bond, or `BOND_KINDS` plus that of a relation.
        sites: (S,), atoms that give a line, ascending.
        classes: (S,), coarse class of each.
        environments: (H,), hashed atom environments that occur.
        counts: (H,), how often.
    """

    atoms: NDArray[np.uint8]
    sources: NDArray[np.int32]
    targets: NDArray[np.int32]
    edges: NDArray[np.uint8]
    sites: NDArray[np.int32]
    classes: NDArray[np.int16]
    environments: NDArray[np.int16]
    counts: NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class GraphBatch:
    """B molecules as one graph without edges between them.

    Args:
        atoms: (A, fields), int64, rows of one table of embeddings for all fields.
        sources: (E,), int64.
        targets: (E,), int64.
        edges: (E,), int64, below `EDGE_KINDS`.
        atom_molecules: (A,), int64, row of the molecule of each atom, ascending.
        atom_counts: (B,), float32, number of atoms.
        sites: (S,), int64, index of the atom of each site.
        classes: (S,), int64.
        site_molecules: (S,), int64, row of the molecule of each site, ascending.
        environments: (H,), int64.
        environment_starts: (B,), int64, where the environments of each molecule begin.
        environment_roots: (H,), float32, square roots of the counts.
    """

    atoms: Tensor
    sources: Tensor
    targets: Tensor
    edges: Tensor
    atom_molecules: Tensor
    atom_counts: Tensor
    sites: Tensor
    classes: Tensor
    site_molecules: Tensor
    environments: Tensor
    environment_starts: Tensor
    environment_roots: Tensor

    def __len__(self) -> int:
        return len(self.atom_counts)

    def to(self, device: torch.device | str) -> GraphBatch:
        """The batch on another device."""
        return GraphBatch(*(getattr(self, field.name).to(device) for field in fields(self)))


def prepare_molecules(molecules: Sequence[Molecule], nucleus: Nucleus) -> list[PreparedMolecule]:
    """Everything that the encoders need of each molecule.

    Raises:
        MoleculeError: one has no atoms.
    """
    atom_counts = np.array([molecule.GetNumAtoms() for molecule in molecules], dtype=np.int64)
    if not atom_counts.all():
        raise MoleculeError("the molecule has no atoms: a graph needs at least one")
    graph = molecular_graph(*molecules)
    kinds, classes = graph.bond_kinds, site_classes(graph).astype(np.int16)
    edge_counts = [2 * molecule.GetNumBonds() for molecule in molecules]
    starts = np.cumsum(atom_counts) - atom_counts
    offsets = np.repeat(starts, edge_counts).astype(np.int32)
    sources, targets = graph.sources - offsets, graph.targets - offsets
    prepared = []
    atom_end = edge_end = 0
    for molecule, atom_count, edge_count in zip(
        molecules, atom_counts.tolist(), edge_counts, strict=True
    ):
        atoms = slice(atom_end, atom_end := atom_end + atom_count)
        edges = slice(edge_end, edge_end := edge_end + edge_count)
        sites = np.array(nucleus.sites(molecule), dtype=np.int32)
        prepared.append(
            PreparedMolecule(
                graph.atoms[atoms],
                *_with_relations(molecule, sources[edges], targets[edges], kinds[edges]),
                sites,
                classes[atoms][sites],
                *environment_counts(molecule),
            )
        )
    return prepared


def _with_relations(
    molecule: Molecule,
    sources: NDArray[np.int32],
    targets: NDArray[np.int32],
    edges: NDArray[np.uint8],
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8]]:
    """Bonds of a molecule, and the relations of its configuration after them."""
    relations = configuration_relations(molecule)
    if not relations:
        return sources, targets, edges
    first, second, kinds = np.array(relations, dtype=np.int32).T
    return (
        np.concatenate([sources, first, second]),
        np.concatenate([targets, second, first]),
        np.concatenate([edges, *2 * [(BOND_KINDS + kinds).astype(np.uint8)]]),
    )


def collate_molecules(prepared: Sequence[PreparedMolecule]) -> GraphBatch:
    """Join prepared molecules into one graph."""
    atom_counts = np.array([len(one.atoms) for one in prepared])
    starts = np.cumsum(atom_counts) - atom_counts
    rows = np.arange(len(prepared))
    edge_starts = np.repeat(starts, [len(one.edges) for one in prepared])
    site_counts = [len(one.sites) for one in prepared]
    environment_counts = np.array([len(one.counts) for one in prepared])
    return GraphBatch(
        _join([one.atoms for one in prepared]) + _ATOM_OFFSETS,
        _join([one.sources for one in prepared], edge_starts),
        _join([one.targets for one in prepared], edge_starts),
        _join([one.edges for one in prepared]),
        torch.from_numpy(np.repeat(rows, atom_counts)),
        torch.from_numpy(atom_counts.astype(np.float32)),
        _join([one.sites for one in prepared], np.repeat(starts, site_counts)),
        _join([one.classes for one in prepared]),
        torch.from_numpy(np.repeat(rows, site_counts)),
        _join([one.environments for one in prepared]),
        torch.from_numpy(np.cumsum(environment_counts) - environment_counts),
        _join([one.counts for one in prepared]).float().sqrt(),
    )


def _join(arrays: Sequence[NDArray[np.integer]], offsets: NDArray[np.int64] | int = 0) -> Tensor:
    return torch.from_numpy(np.concatenate(arrays).astype(np.int64) + offsets)
