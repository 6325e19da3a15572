import numpy as np
import pytest
import torch
from rdkit import Chem

from nmrtk.configuration import configuration_relations
from nmrtk.errors import MoleculeError
from nmrtk.graph import ATOM_CARDINALITIES, BOND_KINDS, molecular_graph
from nmrtk.graph_batch import (
    ATOM_ROWS,
    EDGE_KINDS,
    GraphBatch,
    collate_molecules,
    prepare_molecules,
)
from nmrtk.molecule import parse_smiles
from nmrtk.nucleus import Nucleus

CARBON = Nucleus.parse("13C")
SMILES = ["CCO", "O", "C#N", "[Na+].[Cl-]", "c1ccccc1C"]


def batch_of(*smiles: str) -> GraphBatch:
    return collate_molecules(prepare_molecules([*map(parse_smiles, smiles)], CARBON))


def test_a_molecule_without_atoms_is_refused():
    with pytest.raises(MoleculeError, match="no atoms: a graph needs at least one"):
        prepare_molecules([parse_smiles("C"), Chem.Mol()], CARBON)


def test_molecules_prepared_together_are_as_each_alone():
    several = [*SMILES, "C[C@H]1CCCC[C@@H]1O", "F/C=C/C", "O"]
    molecules = [*map(parse_smiles, several)]
    for one, together in zip(molecules, prepare_molecules(molecules, CARBON), strict=True):
        (alone,) = prepare_molecules([one], CARBON)
        for name in alone.__slots__:
            expected, found = getattr(alone, name), getattr(together, name)
            assert found.dtype == expected.dtype
            assert found.tolist() == expected.tolist()
    assert prepare_molecules([], CARBON) == []


def test_prepared_molecules_are_small():
    (prepared,) = prepare_molecules([parse_smiles("C" * 50)], CARBON)
    arrays = [getattr(prepared, name) for name in prepared.__slots__]
    assert sum(array.nbytes for array in arrays) < 4000


def test_atoms_and_bonds_of_a_batch_are_those_of_its_molecules():
    batch = batch_of(*SMILES)
    graphs = [molecular_graph(parse_smiles(one)) for one in SMILES]
    starts = np.cumsum([0] + [len(graph.atoms) for graph in graphs])
    offsets = np.cumsum([0, *ATOM_CARDINALITIES[:-1]])
    assert batch.atoms.tolist() == [
        (row + offsets).tolist() for graph in graphs for row in graph.atoms.astype(np.int64)
    ]
    assert torch.stack([batch.sources, batch.targets, batch.edges], dim=1).tolist() == [
        [source + start, target + start, kind]
        for graph, start in zip(graphs, starts[:-1].tolist(), strict=True)
        for source, target, kind in zip(
            graph.sources.tolist(), graph.targets.tolist(), graph.bond_kinds.tolist(), strict=True
        )
    ]
    assert batch.atom_counts.tolist() == [3, 1, 2, 2, 7]
    assert batch.atom_molecules.tolist() == [0] * 3 + [1] + [2] * 2 + [3] * 2 + [4] * 7
    assert len(batch) == len(SMILES)


def test_every_field_of_an_atom_has_rows_of_its_own():
    batch = batch_of(*SMILES, "C[Si](C)(C)C#C[Se]C", "[Og]", "[O-][Cl+3]([O-])([O-])[O-]")
    ends = np.cumsum(ATOM_CARDINALITIES)
    assert ends[-1] == ATOM_ROWS
    assert (batch.atoms < torch.from_numpy(ends)).all()
    assert (batch.atoms >= torch.from_numpy(ends - ATOM_CARDINALITIES)).all()
    assert (batch.edges < EDGE_KINDS).all()


def test_relations_of_configuration_are_edges_in_both_directions():
    molecule = parse_smiles("C[C@H]1CCCC[C@@H]1O")
    ((one, other, kind),) = configuration_relations(molecule)
    (prepared,) = prepare_molecules([molecule], CARBON)
    bonds = 2 * molecule.GetNumBonds()
    assert prepared.edges[bonds:].tolist() == [BOND_KINDS + kind] * 2
    assert prepared.sources[bonds:].tolist() == [one, other]
    assert prepared.targets[bonds:].tolist() == [other, one]
    assert BOND_KINDS <= EDGE_KINDS - 1 <= np.iinfo(prepared.edges.dtype).max


def test_sites_point_at_the_atoms_of_the_nucleus():
    batch = batch_of(*SMILES)
    assert batch.sites.tolist() == [0, 1, 4, 8, 9, 10, 11, 12, 13, 14]
    assert batch.site_molecules.tolist() == [0, 0, 2, 4, 4, 4, 4, 4, 4, 4]
    assert len(batch.classes) == 10


def test_environments_stand_molecule_by_molecule():
    batch = batch_of(*SMILES)
    starts = [*batch.environment_starts.tolist(), len(batch.environments)]
    for row, smiles in enumerate(SMILES):
        (prepared,) = prepare_molecules([parse_smiles(smiles)], CARBON)
        mine = slice(starts[row], starts[row + 1])
        assert batch.environments[mine].tolist() == prepared.environments.tolist()
        assert batch.environment_roots[mine].square().tolist() == pytest.approx(prepared.counts)


def test_a_batch_moves_with_all_its_parts():
    moved = batch_of(*SMILES).to("meta")
    for name in moved.__slots__:
        assert getattr(moved, name).device.type == "meta"
