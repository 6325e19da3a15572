import pytest
from rdkit.Chem.rdMolDescriptors import CalcExactMolWt

from nmrtk.errors import UsageError
from nmrtk.formula import Formula
from nmrtk.formula_checks import require_possible, unsaturation
from nmrtk.formula_search import MOST_FORMULAS, candidate_formulas
from nmrtk.molecule import parse_smiles
from nmrtk.query import Query
from nmrtk.spectrum import Peak, Spectrum, spectrum_of_shifts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("C2H9", "at most 6 hydrogens|must be even"),
        ("C2H8", "no structure has the formula C2H8: .* at most 6 hydrogens"),
        ("C2H7O", "its number of hydrogens and halogens must be even"),
        ("C2H6N", "must be odd"),
        ("CH6", "at most 4 hydrogens"),
        ("C2H8N", "odd"),
    ],
)
def test_formulas_that_no_structure_has(text, message):
    with pytest.raises(UsageError, match=message):
        require_possible(Formula.parse(text))


@pytest.mark.parametrize(
    "smiles",
    [
        *("CCO", "C[N+](C)(C)C", "C[N+](=O)[O-]", "CS(=O)(=O)O", "CP(C)(C)(C)C", "FS(F)(F)(F)(F)F"),
        *("C[NH3+].[Cl-]", "CC(=O)[O-]", "C[Zn]C", "OB(O)c1ccccc1", "[Na+].CC(=O)[O-]", "C#C"),
        *("CI(=O)=O", "C[Si](C)(C)C", "OCl(=O)(=O)=O", "C1CCCCC1.C1CCCCC1"),
    ],
)
def test_formulas_of_structures_are_possible(smiles):
    require_possible(Formula.of_molecule(parse_smiles(smiles)))


def test_unsaturation():
    assert unsaturation(Formula.parse("C6H6")) == 4
    assert unsaturation(Formula.parse("C2H8N+")) == 0
    assert unsaturation(Formula.parse("C2H6Zn")) is None


def test_formulas_fit_what_is_known():
    peaks = (Peak(57.8, multiplicity="T"), Peak(18.1, multiplicity="Q"), Peak(120.0))
    formulas = candidate_formulas(Query("a", Spectrum("13C", peaks)))
    assert 10 < len(formulas) <= MOST_FORMULAS
    assert list(formulas.values()) == sorted(formulas.values(), reverse=True)
    assert 0 < sum(formulas.values()) <= 1
    for formula in formulas:
        assert formula["C"] >= 3
        assert formula["H"] >= 5
        require_possible(formula)


@pytest.mark.parametrize("smiles", ["CCO", "CC(=O)Oc1ccccc1C(=O)O", "Cn1c(=O)c2c(ncn2C)n(C)c1=O"])
def test_the_mass_leaves_few(smiles):
    molecule = parse_smiles(smiles)
    carbons = sum(atom.GetSymbol() == "C" for atom in molecule.GetAtoms())
    lines = spectrum_of_shifts("13C", [100.0 + 5 * i for i in range(carbons)])
    query = Query("a", lines, mass=CalcExactMolWt(molecule), mass_tolerance_ppm=3)
    formulas = candidate_formulas(query)
    truth = Formula.of_molecule(molecule)
    assert list(formulas).index(truth) < 3
    assert sum(formulas.values()) == pytest.approx(1)
    far = Query("a", lines, mass=CalcExactMolWt(molecule) + 0.4)
    assert truth not in candidate_formulas(far)


def test_a_line_of_the_solvent_needs_no_carbon():
    lines = spectrum_of_shifts("13C", [57.8, 18.1, 77.1])
    assert Formula.parse("C2H6O") in candidate_formulas(Query("a", lines, mass=46.0419))


def test_other_nuclei_have_no_formulas():
    assert candidate_formulas(Query("a", spectrum_of_shifts("31P", [1.0]))) == {}
