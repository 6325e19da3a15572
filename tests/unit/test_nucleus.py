"""Nuclei and the atoms that give their lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmrtk.errors import UsageError
from nmrtk.molecule import parse_smiles
from nmrtk.nucleus import Nucleus


@pytest.mark.parametrize("name", ["13C", "1H", "31P", "195Pt", "29Si"])
def test_names_are_read_and_written(name):
    assert str(Nucleus.parse(f" {name} ")) == name


@pytest.mark.parametrize("name", ["", "C", "13", "13c", "C13", "carbon", "13C{1H}"])
def test_what_is_no_nucleus_says_how_to_write_one(name):
    with pytest.raises(UsageError, match="is not a nucleus: write it as 13C, 1H or 31P"):
        Nucleus.parse(name)


@given(st.text(max_size=6))
def test_any_text_is_a_nucleus_or_a_usage_error(text):
    try:
        nucleus = Nucleus.parse(text)
    except UsageError:
        return
    assert Nucleus.parse(str(nucleus)) == nucleus


@pytest.mark.parametrize(
    ("name", "smiles", "sites"),
    [
        ("13C", "OCC", [1, 2]),
        ("13C", "[13CH3]O", [0]),
        ("1H", "OC(=O)CC", [0, 3, 4]),
        ("31P", "OP(=O)(O)O", [1]),
        ("35Cl", "CCl", [1]),
        ("13C", "c1ccccc1[C-]=[N+]C1CC1Cl", [0, 1, 2, 3, 4, 5, 6, 8, 9, 10]),
        ("13C", "C" * 1200, list(range(1200))),
        ("195Pt", "[NH3][Pt](Cl)Cl", [1]),
        ("19F", "CCO", []),
        ("12Xx", "CCO", []),
    ],
)
def test_sites_are_the_atoms_with_a_line(name, smiles, sites):
    assert Nucleus.parse(name).sites(parse_smiles(smiles)) == sites


def test_multiplicities_follow_the_attached_hydrogens_for_carbon_only():
    molecule = parse_smiles("CC(O)C#CCO")
    assert Nucleus.parse("13C").multiplicities(molecule) == ["Q", "D", "S", "S", "T"]
    assert Nucleus.parse("13C").multiplicities(parse_smiles("C")) == [""]
    assert Nucleus.parse("17O").multiplicities(molecule) == ["", ""]
