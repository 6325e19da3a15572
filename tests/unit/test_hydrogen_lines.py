from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmrtk.errors import SpectrumError
from nmrtk.hydrogen_lines import join_hydrogens
from nmrtk.molecule import parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.spectrum import Peak, Spectrum, spectrum_of_shifts

PROTON = Nucleus.parse("1H")


def joined(smiles: str, *shifts: float, atoms: int | None = None) -> Spectrum:
    peaks = tuple(Peak(ppm) for ppm in shifts)
    spectrum = Spectrum("1H", peaks, atom_count=atoms, solvent="CDCl3")
    return join_hydrogens(parse_smiles(smiles), spectrum, PROTON)


def test_a_line_for_each_hydrogen_becomes_one_for_each_heavy_atom():
    spectrum = joined("CCO", 1.2, 1.2, 1.2, 2.6, 3.6, 3.6)
    assert spectrum.shifts == [1.2, 2.6, 3.6]
    assert (spectrum.atom_count, spectrum.solvent) == (3, "CDCl3")


def test_hydrogens_that_differ_become_their_mean():
    # Allyl: the two of =CH2 are apart, and three lines lie within 0.2 ppm.
    assert joined("C=CCl", 5.3, 5.5, 6.3).shifts == pytest.approx([5.4, 6.3])
    assert joined("CC(O)CBr", 1.3, 1.3, 1.3, 2.3, 3.4, 3.5, 4.0).shifts == pytest.approx(
        [1.3, 2.3, 3.45, 4.0]
    )


def test_exchanging_hydrogens_may_lack():
    assert joined("CCO", 1.2, 1.2, 1.2, 3.6, 3.7).shifts == pytest.approx([1.2, 3.65])


def test_equal_lines_of_several_atoms_stay_several():
    assert joined("CC(C)Br", *[1.7] * 6, 4.3).shifts == pytest.approx([1.7, 1.7, 4.3])


def test_the_source_says_of_how_many_atoms_the_lines_are():
    assert joined("CCCBr", 1.0, 1.8, 3.4, 3.5, atoms=3).shifts == pytest.approx([1.0, 1.8, 3.45])
    assert joined("CCCBr", 1.0, 1.8, 3.4, atoms=3).shifts == [1.0, 1.8, 3.4]
    # Counted as hydrogens.
    assert joined("CCBr", 1.7, 1.7, 1.7, 3.4, 3.4, atoms=5).shifts == pytest.approx([1.7, 3.4])


def test_assigned_lines_are_joined_by_their_atom():
    peaks = (Peak(3.4, 1.0, "d", (2,)), Peak(1.0, atoms=(0,)), Peak(3.6, 2.0, "t", (2,)))
    spectrum = join_hydrogens(parse_smiles("CCCBr"), Spectrum("1H", peaks), PROTON)
    assert [(p.ppm, p.multiplicity, p.atoms) for p in spectrum.peaks] == [
        (1.0, "", (0,)),
        (pytest.approx(3.5), "", (2,)),
    ]
    assert spectrum.atom_count == 2
    loose = Spectrum("1H", (*peaks, Peak(1.8), Peak(1.8)))
    spectrum = join_hydrogens(parse_smiles("CCCBr"), loose, PROTON)
    assert [p.ppm for p in spectrum.peaks if not p.atoms] == [1.8, 1.8]
    assert spectrum.atom_count is None


@pytest.mark.parametrize(
    ("smiles", "shifts", "atoms", "message"),
    [
        ("CBr", [1.0, 2.0, 3.0, 4.0], None, "4 lines are too many for 1 atoms with 3 hydrogens"),
        ("BrCC(Br)Br", [1.0, 2.0, 3.0, 4.0], 2, "4 lines of 2 atoms are more than the 3 hydrogens"),
    ],
)
def test_more_lines_than_hydrogens_are_refused(smiles, shifts, atoms, message):
    with pytest.raises(SpectrumError, match=message):
        joined(smiles, *shifts, atoms=atoms)


@given(st.data())
def test_separate_groups_are_found_whatever_their_sizes(data):
    molecule = parse_smiles("CC(C)(CO)c1ccc(OC)cc1N")
    sites = [molecule.GetAtomWithIdx(site) for site in PROTON.sites(molecule)]
    places = data.draw(st.permutations(range(len(sites))))
    shifts = [
        float(place) + 0.01 * n
        for place, site in zip(places, sites, strict=True)
        for n in range(site.GetTotalNumHs())
    ]
    spectrum = join_hydrogens(molecule, spectrum_of_shifts("1H", shifts), PROTON)
    wanted = sorted(
        place + 0.01 * (site.GetTotalNumHs() - 1) / 2
        for place, site in zip(places, sites, strict=True)
    )
    assert spectrum.shifts == pytest.approx(wanted)
