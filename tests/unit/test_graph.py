from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem

from nmrtk.graph import (
    AROMATICITY,
    ATOM_CARDINALITIES,
    BOND_CARDINALITIES,
    BOND_KINDS,
    CHARGE,
    CONJUGATION,
    ELEMENT,
    ELEMENTS,
    HYBRIDISATION,
    HYDROGENS,
    NEIGHBOURS,
    ORDER,
    ORDER_DOUBLE,
    RADICALS,
    RING,
    RING_SIZES,
    STEREO,
    molecular_graph,
)
from nmrtk.molecule import parse_smiles

CUBANE = "C12C3C4C1C5C2C3C45"
SMILES = [
    "C",
    "CCO",
    "CC(=O)Oc1ccccc1C(=O)O",
    "C[N+](C)(C)CC(=O)[O-].[Na+].Cl",
    "C/C=C/C=C\\C",
    CUBANE,
    "C1CC2CCC1C2",  # norbornane: a third ring that no smallest set needs
    "C1CCC2(CC1)OCCO2",
    "c1ccc2cc3ccccc3cc2c1",
    "C1CCCCCCCCCC1",
    "CC[C](C)C",
    "[Og].[Xe]",
    "CC[Si](C)(C)O[Sn](C)(C)C",
    "F[P-](F)(F)(F)(F)F",
    "[2H]C([2H])([2H])Cl",
    "[O-][Cl+3]([O-])([O-])[O-]",
    "C" * 300,
]


def shortest_ring(molecule: Chem.Mol, bond: Chem.Bond) -> int:
    """Length of the shortest ring through a bond, by breadth-first search without it; 0: none."""
    start, end = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
    distance, queue = {start: 0}, deque([start])
    while queue:
        here = queue.popleft()
        for other in molecule.GetAtomWithIdx(here).GetNeighbors():
            there = other.GetIdx()
            if {here, there} != {start, end} and there not in distance:
                distance[there] = distance[here] + 1
                queue.append(there)
    return distance[end] + 1 if end in distance else 0


def ring_category(size: int) -> int:
    return 0 if size == 0 else min(size - RING_SIZES[0], len(RING_SIZES)) + 1


def plain_fields(molecule: Chem.Mol) -> tuple[list, list]:
    """Fields of atoms, but for those of rings, and ends and fields of bonds, one by one."""
    hybridisations = {"SP": 1, "SP2": 2, "SP3": 3, "SP3D": 4, "SP3D2": 5}
    symbols = [a.GetSymbol() for a in molecule.GetAtoms()]
    atoms = [
        (
            ELEMENTS.index(symbol) if symbol in ELEMENTS else len(ELEMENTS),
            a.GetDegree(),
            a.GetTotalNumHs(includeNeighbors=True),
            max(a.GetFormalCharge() + 2, 0),
            hybridisations.get(str(a.GetHybridization()), 0),
            int(a.GetIsAromatic()),
            a.GetNumRadicalElectrons(),
        )
        for symbol, a in zip(symbols, molecule.GetAtoms(), strict=True)
    ]
    orders = {1.0: 0, 2.0: 1, 3.0: 2, 1.5: 3}
    bonds = [
        (
            b.GetBeginAtomIdx(),
            b.GetEndAtomIdx(),
            orders[b.GetBondTypeAsDouble()],
            int(b.GetIsConjugated()),
            ring_category(shortest_ring(molecule, b)),
            {"STEREOE": 1, "STEREOZ": 2}.get(str(b.GetStereo()), 0),
        )
        for b in molecule.GetBonds()
    ]
    return [tuple(map(min, a, [c - 1 for c in ATOM_CARDINALITIES])) for a in atoms], bonds


@pytest.mark.parametrize("smiles", SMILES)
def test_the_fast_way_gives_what_the_plain_way_gives(smiles):
    molecule = parse_smiles(smiles)
    graph = molecular_graph(molecule)
    atoms, bonds = plain_fields(molecule)
    rings = len(RING_SIZES) + 1
    assert [tuple(fields) for fields in graph.atoms[:, :-rings].tolist()] == atoms
    expected = np.zeros((len(atoms), rings), dtype=int)
    for begin, end, _, _, ring, _ in bonds:
        if ring:
            expected[[begin, end], ring - 1] += 1
    assert (graph.atoms[:, -rings:] == np.minimum(expected, ATOM_CARDINALITIES[-1] - 1)).all()
    for direction in (0, 1):
        half = slice(direction * len(bonds), (direction + 1) * len(bonds))
        ends = [graph.sources[half], graph.targets[half]][:: 1 if direction == 0 else -1]
        found = zip(*(e.tolist() for e in ends), graph.bonds[half].tolist(), strict=True)
        assert [(s, t, *fields) for s, t, fields in found] == bonds


@pytest.mark.parametrize("smiles", SMILES)
def test_shapes_and_ranges(smiles):
    molecule = parse_smiles(smiles)
    graph = molecular_graph(molecule)
    directed = 2 * molecule.GetNumBonds()
    assert graph.atoms.shape == (molecule.GetNumAtoms(), len(ATOM_CARDINALITIES))
    assert graph.sources.shape == graph.targets.shape == (directed,)
    assert graph.bonds.shape == (directed, len(BOND_CARDINALITIES))
    assert graph.atoms.dtype == graph.bonds.dtype == np.uint8
    assert (graph.atoms < ATOM_CARDINALITIES).all()
    assert (graph.bonds < BOND_CARDINALITIES).all()
    assert graph.bond_kinds.shape == (directed,)
    assert (graph.bond_kinds < BOND_KINDS).all()


@given(st.sampled_from(SMILES[:-1]), st.randoms(use_true_random=False))
def test_renumbering_only_permutes(smiles, random):
    molecule = parse_smiles(smiles)
    order = list(range(molecule.GetNumAtoms()))
    random.shuffle(order)
    graph = molecular_graph(molecule)
    other = molecular_graph(Chem.RenumberAtoms(molecule, order))
    assert (other.atoms == graph.atoms[order]).all()

    def edges(one, names):
        rows = zip(one.sources, one.targets, one.bonds.tolist(), strict=True)
        return sorted((names[s], names[t], fields) for s, t, fields in rows)

    assert edges(other, order) == edges(graph, range(len(order)))


@given(st.sampled_from(SMILES[:-1]), st.integers(0, 2**31 - 1))
def test_another_smiles_of_the_molecule_gives_the_same_fields(smiles, seed):
    molecule = parse_smiles(smiles)
    (other,) = Chem.MolToRandomSmilesVect(molecule, 1, randomSeed=seed)
    first, second = molecular_graph(molecule), molecular_graph(parse_smiles(other))
    assert sorted(first.atoms.tolist()) == sorted(second.atoms.tolist())
    assert sorted(first.bonds.tolist()) == sorted(second.bonds.tolist())


@pytest.mark.parametrize("smiles", SMILES[:-1])
def test_rings_of_bonds_are_the_shortest(smiles):
    molecule = parse_smiles(smiles)
    found = molecular_graph(molecule).bonds[: molecule.GetNumBonds(), RING].tolist()
    assert found == [ring_category(shortest_ring(molecule, b)) for b in molecule.GetBonds()]


def test_ring_fields_of_atoms_count_bonds():
    graph = molecular_graph(parse_smiles("C1CC2CCCC2C1"))  # two five-rings that share a bond
    five = len(ATOM_CARDINALITIES) - len(RING_SIZES) - 1 + RING_SIZES.index(5)
    assert graph.atoms[:, five].tolist() == [2, 2, 3, 2, 2, 2, 3, 2]
    rings = graph.atoms[:, -len(RING_SIZES) - 1 :]
    assert rings.sum() == graph.atoms[:, five].sum()


def test_fields_of_atoms():
    graph = molecular_graph(parse_smiles("[CH2]C(=O)[O-].[NH4+].c1ccccc1.C#[Og]"))
    elements = [ELEMENTS[c] if c < len(ELEMENTS) else "?" for c in graph.atoms[:, ELEMENT]]
    assert elements == [*"CCOONCCCCCCC", "?"]
    assert graph.atoms[:5, NEIGHBOURS].tolist() == [1, 3, 1, 1, 0]
    assert graph.atoms[:5, HYDROGENS].tolist() == [2, 0, 0, 0, 4]
    assert graph.atoms[:5, CHARGE].tolist() == [2, 2, 2, 1, 3]
    assert graph.atoms[:5, RADICALS].tolist() == [1, 0, 0, 0, 0]
    assert graph.atoms[:, AROMATICITY].tolist() == [0] * 5 + [1] * 6 + [0] * 2
    assert graph.atoms[[11, 1, 4], HYBRIDISATION].tolist() == [1, 2, 3]


def test_numbers_beyond_the_last_category_are_clipped():
    graph = molecular_graph(parse_smiles("[O-][Cl+3]([O-])([O-])[O-]"))
    assert graph.atoms[1, CHARGE] == ATOM_CARDINALITIES[CHARGE] - 1
    assert molecular_graph(parse_smiles("[C-4]")).atoms[0, CHARGE] == 0


def test_deuterium_counts_as_hydrogen():
    graph = molecular_graph(parse_smiles("[2H]C([2H])([2H])Cl"))
    assert graph.atoms[1, HYDROGENS] == 3


def test_fields_of_bonds():
    graph = molecular_graph(parse_smiles("C/C=C/C=C\\C#N"))
    half = len(graph.bonds) // 2
    assert graph.bonds[:half, ORDER].tolist() == [0, 1, 0, 1, 0, 2]
    assert graph.bonds[1, ORDER] == ORDER_DOUBLE
    assert graph.bonds[:half, CONJUGATION].tolist() == [0, 1, 1, 1, 1, 1]
    assert graph.bonds[:half, STEREO].tolist() == [0, 1, 0, 2, 0, 0]
    assert not graph.bonds[:, RING].any()
    assert (graph.bonds[:half] == graph.bonds[half:]).all()
    assert (graph.sources[:half] == graph.targets[half:]).all()


def test_kinds_tell_all_bonds_apart():
    graph = molecular_graph(parse_smiles("C/C=C/C1CC1C=O"))
    kinds = {tuple(f): k for f, k in zip(graph.bonds.tolist(), graph.bond_kinds, strict=True)}
    assert len(set(kinds.values())) == len(kinds)
