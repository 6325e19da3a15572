import pytest

from nmrtk.solvents import SOLVENTS, find_solvent, solvent_lines
from nmrtk.spectrum import Peak, Spectrum


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CDCl3", "CDCl3"),
        ("Chloroform-D1 (CDCl3)", "CDCl3"),
        ("chloroform-d", "CDCl3"),
        ("(CD3)2SO", None),
        ("Dimethylsulphoxide-D6 (DMSO-D6)", "DMSO-d6"),
        ("Methanol-D4 (CD3OD)", "CD3OD"),
        ("benzene", "C6D6"),
        ("Unreported", None),
        ("", None),
        ("298 K", None),
    ],
)
def test_names(text, name):
    found = find_solvent(text)
    assert (found and found.name) == name


def test_every_solvent_is_found_by_its_name():
    assert all(find_solvent(solvent.name) is solvent for solvent in SOLVENTS)


def test_lines_of_solvents():
    peaks = (Peak(77.1), Peak(39.5), Peak(128.1, multiplicity="D"), Peak(20.0))
    assert solvent_lines(Spectrum("13C", peaks)) == {77.1: "CDCl3", 39.5: "DMSO-d6"}
    assert solvent_lines(Spectrum("13C", peaks, solvent="CDCl3")) == {77.1: "CDCl3"}
    assert solvent_lines(Spectrum("31P", peaks)) == {}
    far = Spectrum("13C", (Peak(76.7),))
    assert solvent_lines(far) == {}
    assert solvent_lines(Spectrum("13C", (Peak(76.7),), solvent="chloroform")) == {76.7: "CDCl3"}
