import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmrtk.errors import UsageError
from nmrtk.molecule import parse_smiles
from nmrtk.substructure import fits_patterns, parse_patterns, parse_smarts


@pytest.mark.parametrize("text", ["", " ", "C((", "c1cc", "xyz", "C C", "δ", "[", "C" * 3000])
def test_what_is_no_smarts(text):
    with pytest.raises(UsageError, match="SMARTS"):
        parse_smarts(text)


def test_patterns():
    acid, ring = parse_patterns(["C(=O)[OH]", "[R]"])
    acetic, phenol = parse_smiles("CC(=O)O"), parse_smiles("Oc1ccccc1")
    assert fits_patterns(acetic, [acid], [ring])
    assert not fits_patterns(phenol, [acid], [])
    assert not fits_patterns(phenol, [], [ring])
    assert fits_patterns(phenol, [ring, parse_smarts("c1ccccc1")], [])


@given(st.text(max_size=20) | st.text("CNOc1=#()[]!&;,$-+@", max_size=20))
def test_any_text_is_read_or_refused(text):
    try:
        pattern = parse_smarts(text)
    except UsageError as error:
        message = str(error)
    else:
        message = f"SMARTS fits: {fits_patterns(parse_smiles('CCO'), [pattern], [])}"
    assert "SMARTS" in message
