"""Molecular formulas."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from nmrtk.errors import UsageError
from nmrtk.formula import DEFAULT_ELEMENTS, VECTOR_WIDTH, Formula
from nmrtk.molecule import parse_smiles

ELEMENTS = st.sampled_from([*DEFAULT_ELEMENTS, "Na", "Pt", "Se", "Sn"])


@given(st.dictionaries(ELEMENTS, st.integers(1, 500), min_size=1), st.integers(-12, 12))
def test_a_formula_written_is_read_back(counts, charge):
    formula = Formula.of_counts(counts, charge)
    assert Formula.parse(str(formula)) == formula
    assert all(formula[symbol] == count for symbol, count in counts.items())


@given(st.text(alphabet="CHNOclsi0129+-()[] ₂é", max_size=12))
def test_any_text_is_a_formula_or_a_usage_error(text):
    try:
        formula = Formula.parse(text)
    except UsageError:
        return
    assert Formula.parse(str(formula)) == formula


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("OH6C2", "C2H6O"),
        ("C6H5CH3", "C7H8"),
        (" C9 H8 O4 ", "C9H8O4"),
        ("C₆H₁₂O₆", "C6H12O6"),
        ("C5H12NO2+", "C5H12NO2+"),
        ("C2H5+", "C2H5+"),
        ("SO4--", "O4S-2"),
        ("Ca+2", "Ca+2"),
        ("Ca⁺⁺", "Ca+2"),
        ("H2O", "H2O"),
        ("ClH", "ClH"),
        ("C1H4N0", "CH4"),
    ],
)
def test_formulas_are_read_in_any_order_and_written_in_hills(text, expected):
    assert str(Formula.parse(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the formula is empty"),
        ("C0", "the formula is empty"),
        ("c6h6", "cannot read 'c6h6'"),
        ("C6H6X2", "cannot read 'X2'"),
        ("C6(H6)", r"cannot read '\(H6\)'"),
        ("C2H6+-", "cannot read '\\+'"),
        ("C2H6++2", "cannot read '\\+\\+2' as a charge"),
        ("D2O", "cannot read 'D2O'"),
        ("C" + "9" * 5000, "cannot read"),
        ("C+" + "9" * 5000, "as a charge"),
    ],
)
def test_what_is_no_formula_says_where_reading_stopped(text, expected):
    with pytest.raises(UsageError, match=expected) as caught:
        Formula.parse(text)
    assert len(str(caught.value)) < 300


def test_negative_counts_and_strange_elements_are_refused():
    with pytest.raises(UsageError, match="-1 C: counts cannot be negative"):
        Formula.of_counts({"C": -1})
    with pytest.raises(UsageError, match="'Xx' is not an element"):
        Formula.of_counts({"Xx": 1})


@pytest.mark.parametrize(
    "smiles",
    ["CCO", "c1ccccc1Br", "C[N+](C)(C)C", "[O-]S(=O)(=O)[O-]", "[2H]C", "O", "[Ca+2]", "C[Si](C)C"],
)
def test_formulas_of_molecules_are_those_of_rdkit(smiles):
    molecule = parse_smiles(smiles)
    assert str(Formula.of_molecule(molecule)) == CalcMolFormula(molecule)


def test_the_vector_holds_roots_of_counts_then_others_then_charge():
    vector = Formula.parse("C4H9Se2Na2+").vector()
    assert vector.shape == (VECTOR_WIDTH,)
    assert vector[DEFAULT_ELEMENTS.index("C")] == 2
    assert vector[DEFAULT_ELEMENTS.index("H")] == 3
    assert vector[-2:].tolist() == [2, 1]
    assert vector.sum() == 2 + 3 + 2 + 1
