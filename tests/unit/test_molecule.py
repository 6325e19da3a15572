"""Molecules: what is read, what is refused, and the order of atoms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem

from nmrtk.errors import MoleculeError
from nmrtk.molecule import (
    canonical_smiles,
    finish_molecule,
    inchikey,
    parse_smiles,
    restore_order,
    smiles_and_order,
)

MOLECULES = [
    "CCO",
    "c1ccc2[nH]ccc2c1",
    "C[C@H](N)C(=O)O",
    "C/C=C\\C(=O)O",
    "[O-][N+](=O)c1ccccc1",
    "[Na+].CC(=O)[O-]",
    "[2H]C(Cl)(Cl)Cl",
    "[H][H]",
    "C1CC2CCC1C2",
    "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
]


@st.composite
def shuffled_molecules(draw):
    molecule = parse_smiles(draw(st.sampled_from(MOLECULES)))
    order = draw(st.permutations(range(molecule.GetNumAtoms())))
    return Chem.RenumberAtoms(molecule, list(order))


def described(molecule):
    atoms = [
        (
            a.GetAtomicNum(),
            a.GetFormalCharge(),
            a.GetTotalNumHs(),
            a.GetIsotope(),
            a.GetIsAromatic(),
        )
        for a in molecule.GetAtoms()
    ]
    bonds = {
        (*sorted((b.GetBeginAtomIdx(), b.GetEndAtomIdx())), b.GetBondType())
        for b in molecule.GetBonds()
    }
    return atoms, bonds


@given(shuffled_molecules())
def test_smiles_and_order_restore_every_atom_in_its_place(molecule):
    smiles, order = smiles_and_order(molecule)
    restored = restore_order(smiles, order)
    assert described(restored) == described(molecule)
    assert Chem.MolToSmiles(restored) == smiles


@given(shuffled_molecules())
def test_the_canonical_forms_do_not_depend_on_the_order_of_atoms(molecule):
    source = parse_smiles(canonical_smiles(molecule, stereo=True))
    assert canonical_smiles(molecule) == canonical_smiles(source)
    assert inchikey(molecule) == inchikey(source)


def test_stereo_is_kept_only_where_asked():
    molecule = parse_smiles("C[C@H](N)C(=O)O")
    assert "@" not in canonical_smiles(molecule)
    assert "@" in canonical_smiles(molecule, stereo=True)


def test_the_order_of_the_smiles_is_kept_and_hydrogens_become_implicit():
    molecule = parse_smiles("[H]OC([H])([H])C")
    assert [atom.GetSymbol() for atom in molecule.GetAtoms()] == ["O", "C", "C"]


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("xyz", "'xyz' is not a SMILES"),
        ("C1CC", "'C1CC' is not a SMILES: check brackets, ring closures"),
        ("C(C)(C)(C)(C)C", "not a valid structure: .*valence"),
        ("c1cccc1", "not a valid structure: .*kekulize"),
        ("CC O", "'CC O' is not a SMILES: it has blanks"),
        ("C\nO", "it has blanks"),
        ("C–C", "unusual characters"),
        ("\ud800", "unusual characters"),
        ("CCO>>CC=O", "is not a SMILES"),
        ("C(" * 500, r"\.\.\.' is not a SMILES"),
    ],
)
def test_what_is_no_structure_says_why(smiles, expected):
    with pytest.raises(MoleculeError, match=expected) as caught:
        parse_smiles(smiles)
    assert len(str(caught.value)) < 250


@given(st.text(alphabet="CNOclBr[]()=#1234+-@H/\\.%*:é \x00", max_size=20) | st.text(max_size=5))
def test_any_text_is_a_molecule_or_a_molecule_error(text):
    try:
        molecule = parse_smiles(text)
    except MoleculeError:
        return
    assert molecule.GetNumAtoms() > 0


def test_a_molecule_without_atoms_is_refused():
    with pytest.raises(MoleculeError, match="'record 3' has no atoms"):
        finish_molecule(Chem.Mol(), "record 3")


@pytest.mark.parametrize("order", [[0, 1], [0, 1, 1], [1, 2, 3]])
def test_an_order_of_another_molecule_is_refused(order):
    with pytest.raises(MoleculeError, match="does not have the"):
        restore_order("CCO", order)


def test_a_structure_without_inchikey_is_refused():
    with pytest.raises(MoleculeError, match=r"no InChIKey exists for '\*C'"):
        inchikey(parse_smiles("*C"))
