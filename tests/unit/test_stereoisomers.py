import pytest

from nmrtk.molecule import canonical_smiles, parse_smiles
from nmrtk.stereoisomers import stereoisomers


def names_of(text, most=8):
    return [canonical_smiles(one, stereo=True) for one in stereoisomers(parse_smiles(text), most)]


@pytest.mark.parametrize("text", ["CCO", "c1ccccc1", "C[C@H](O)CC", "C/C=C/C", "C"])
def test_what_is_settled_stays(text):
    assert names_of(text) == [canonical_smiles(parse_smiles(text), stereo=True)]


def test_every_configuration_of_what_is_open():
    assert len(names_of("CC(O)C(N)CC")) == 4
    assert names_of("CC=CC") == ["C/C=C/C", "C/C=C\\C"]


def test_what_is_given_is_kept_beside_what_is_open():
    found = names_of("C/C=C/C(O)CC")
    assert len(found) == 2
    assert all(name.count("/") == 2 for name in found)


def test_no_more_than_asked_for_and_the_same_twice():
    text = "OCC1OC(O)C(O)C(O)C1O"
    found = names_of(text)
    assert len(found) == 8
    assert found == names_of(text)
    assert {canonical_smiles(parse_smiles(name)) for name in found} == {
        canonical_smiles(parse_smiles(text))
    }
