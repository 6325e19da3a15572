import numpy as np
import pytest
from rdkit import Chem

from nmrtk.errors import DataError
from nmrtk.graph import molecular_graph
from nmrtk.interfaces import Example
from nmrtk.molecule import parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.site_classes import SITE_CLASSES, fit_class_shifts, site_classes
from nmrtk.spectrum import Peak, Spectrum

CARBON = Nucleus.parse("13C")


def classes_of(smiles: str) -> list[int]:
    return site_classes(molecular_graph(parse_smiles(smiles))).tolist()


def example(smiles: str, peaks: list[tuple[float, str]], atoms: int | None = None) -> Example:
    spectrum = Spectrum("13C", tuple(Peak(p, multiplicity=m) for p, m in peaks), atoms)
    return Example(smiles, parse_smiles(smiles), spectrum)


def carbon_classes(examples: list[Example]) -> list[np.ndarray]:
    return [
        site_classes(molecular_graph(one.molecule))[CARBON.sites(one.molecule)] for one in examples
    ]


def test_classes_see_hydrogens_hybridisation_and_heteroatoms():
    ethanol, acetone = classes_of("CCO"), classes_of("CC(C)=O")
    assert len({*ethanol[:2], *acetone[:2]}) == 3  # both CH3 are one class
    assert acetone[0] == acetone[2] == ethanol[0]
    assert classes_of("CC=C")[1] != classes_of("CC=O")[1]
    assert classes_of("CC=N")[1] == classes_of("CC=O")[1]  # whichever heteroatom


def test_classes_do_not_depend_on_the_atom_order():
    molecule = parse_smiles("CC(=O)Nc1ccc(OC)cc1C#N")
    order = np.random.default_rng(0).permutation(molecule.GetNumAtoms())
    shuffled = Chem.RenumberAtoms(molecule, order.tolist())
    classes = site_classes(molecular_graph(molecule))
    assert (site_classes(molecular_graph(shuffled)) == classes[order]).all()
    assert (classes < SITE_CLASSES).all()


def test_crowded_atoms_fall_into_the_last_class():
    assert max(classes_of("FC(F)(F)F.O=S(=O)(O)C(=O)[Pt](=O)(=O)=O.[Og]")) < SITE_CLASSES


def aldehydes_and_alkanes() -> list[Example]:
    """CH3 at 15, CH2 at 30 and CHO at 200 ppm; the letters are missing."""
    found = []
    for n in range(1, 8):
        chain = [(30.0, "")] * n
        found.append(example("C" * (n + 1) + "C=O", [(15.0, ""), *chain, (200.0, "")]))
        found.append(example("C" * (n + 2), [(15.0, ""), (15.0, ""), *chain]))
    return found * 20


def test_means_are_found_without_an_assignment():
    examples = aldehydes_and_alkanes()
    fitted = fit_class_shifts(CARBON, examples, carbon_classes(examples))
    methyl, methylene, _, carbonyl, _ = classes_of("CCCC=O")
    assert fitted.means[[methyl, methylene, carbonyl]] == pytest.approx([15, 30, 200], abs=0.5)
    assert fitted.spread < 1.0
    assert fitted.means.dtype == np.float32


def test_spread_is_what_the_class_leaves_open():
    pairs = [example("CC", [(10.0 + 3 * sign, "Q")] * 2) for sign in (-1, 1)] * 50
    fitted = fit_class_shifts(CARBON, pairs, carbon_classes(pairs))
    assert fitted.spread == pytest.approx(6.0, rel=1e-3)


def test_classes_that_never_occurred_fall_back_to_their_like():
    examples = aldehydes_and_alkanes()
    fitted = fit_class_shifts(CARBON, examples, carbon_classes(examples))
    formaldehyde, acetylene = fitted.means[[classes_of("C=O")[0], classes_of("C#C")[0]]]
    assert 100 < formaldehyde < 250  # near its like, the carbonyl
    everything = np.mean([ppm for one in examples for ppm in one.spectrum.shifts])
    assert acetylene == pytest.approx(everything, abs=0.01)  # it has none


def test_incomplete_spectra_give_one_mean():
    part = [example("CCO", [(58.0, "T")], 1), example("CCCO", [(64.0, "T")], 1)]
    fitted = fit_class_shifts(CARBON, part, carbon_classes(part))
    assert (fitted.means == 61.0).all()
    assert fitted.spread == pytest.approx(6.0)


def test_no_line_at_all_is_an_error():
    with pytest.raises(DataError, match="none of 1 spectra of 13C has a line"):
        fit_class_shifts(CARBON, [example("O", [])], [np.zeros(0, np.int64)])
