import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import AllChem

from nmrtk.configuration import RELATIONS, configuration_relations
from nmrtk.molecule import parse_smiles

STEREO = [
    "C[C@H]1CCCC[C@@H]1O",
    "C[C@]1(O)CCCC[C@@H]1Cl",
    "C[C@H]1C[C@H](O)C[C@@H](F)C1",
    "C[C@@]12CCC[C@H](O)[C@@H]1CCCC2",
    "OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O",
    "C[C@]12CC[C@H]3[C@@H](CC[C@H]4C[C@@H](O)CC[C@]34C)[C@@H]1CCC2=O",
    "CC(C)[C@@H](O)[C@H](N)C(=O)O",
    "C[C@H](O)C[C@@H](C)O",
    "C[S@](=O)C[C@H](C)O",
]


def named(molecule):
    """Relations that do not depend on the order of atoms."""
    relations = configuration_relations(molecule)
    # A copy: RDKit takes the rings away from what it ranks.
    ranks = list(Chem.CanonicalRankAtoms(Chem.Mol(molecule), False, False))
    return sorted((*sorted((ranks[one], ranks[other])), kind) for one, other, kind in relations)


@pytest.mark.parametrize(
    ("smiles", "relations"),
    [
        ("C[C@H]1CCCC[C@H]1O", [(0, 7, 0)]),  # cis-1,2
        ("C[C@H]1CCCC[C@@H]1O", [(0, 7, 1)]),  # trans-1,2
        ("C[C@H]1CCC[C@@H](O)C1", [(0, 6, 2)]),  # cis-1,3
        ("C[C@H]1CC[C@@H](O)CC1", [(0, 5, 4)]),  # cis-1,4
        ("C[C@H](O)[C@H](C)N", [(1, 3, 6)]),  # S,S
        ("C[C@H](O)[C@@H](C)N", [(1, 3, 7)]),
        ("CC1CCCCC1O", []),
        ("C[C@H]1CCCCC1O", []),  # one centre alone has no relative configuration
        ("CCO", []),
        ("[Pt@SP1](F)(Cl)(Br)I", []),
    ],
)
def test_relations_of_small_molecules(smiles, relations):
    assert configuration_relations(parse_smiles(smiles)) == relations


@pytest.mark.parametrize("smiles", STEREO[:6])
def test_sides_of_a_ring_are_those_of_a_model_in_space(smiles):
    """Also where one centre carries a hydrogen and the other does not."""
    molecule = parse_smiles(smiles)
    spatial = Chem.AddHs(molecule)
    assert AllChem.EmbedMolecule(spatial, randomSeed=7) == 0
    places = spatial.GetConformer().GetPositions()
    compared = 0
    for ring in molecule.GetRingInfo().AtomRings():
        centre = places[list(ring)].mean(0)
        around = zip(ring, (*ring[1:], ring[0]), strict=True)
        normal = sum(np.cross(places[a] - centre, places[b] - centre) for a, b in around)
        above = {}
        for atom in ring:
            neighbours = spatial.GetAtomWithIdx(atom).GetNeighbors()
            outside = [one.GetIdx() for one in neighbours if one.GetIdx() not in ring]
            if len(outside) == 2:
                one, other = outside
                above[one] = (places[one] - places[other]) @ normal > 0
                above[other] = not above[one]
        for one, other, kind in configuration_relations(molecule):
            if one in above and other in above and len(molecule.GetRingInfo().AtomRings()) == 1:
                assert (above[one] != above[other]) == bool(kind % 2)
                compared += 1
    assert compared or molecule.GetRingInfo().NumRings() > 1


@given(st.sampled_from(STEREO), st.integers(0, 2**31 - 1))
def test_relations_depend_neither_on_order_nor_on_the_mirror_image(smiles, seed):
    molecule = parse_smiles(smiles)
    order = list(range(molecule.GetNumAtoms()))
    random.Random(seed).shuffle(order)
    assert named(Chem.RenumberAtoms(molecule, order)) == named(molecule)
    (other,) = Chem.MolToRandomSmilesVect(molecule, 1, randomSeed=seed)
    assert named(parse_smiles(other)) == named(molecule)
    mirrored = smiles.replace("@@", "?").replace("@", "@@").replace("?", "@")
    assert named(parse_smiles(mirrored)) == named(molecule)
    assert all(kind < RELATIONS for _, _, kind in named(molecule))


@pytest.mark.parametrize("smiles", STEREO)
def test_an_epimer_has_other_relations(smiles):
    molecule = parse_smiles(smiles)
    changed = Chem.Mol(molecule)
    centre = next(a for a in changed.GetAtoms() if a.HasProp("_CIPCode"))
    centre.InvertChirality()
    Chem.AssignStereochemistry(changed, cleanIt=True, force=True)
    assert named(changed) != named(molecule)
