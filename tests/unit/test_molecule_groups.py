import numpy as np
import pytest

from nmrtk.molecule import parse_smiles
from nmrtk.molecule_groups import (
    element_groups,
    nearest_similarity,
    novelty_groups,
    size_groups,
    usual_molecules,
)


def molecules(*smiles):
    return [parse_smiles(text) for text in smiles]


def members(groups):
    return {group.name: group.members.tolist() for group in groups}


@pytest.mark.parametrize(
    ("smiles", "usual"),
    [("C" * 36, True), ("C" * 37, False), ("C[Se]C", False), ("C[Si](C)(C)Cl", True), ("CO", True)],
)
def test_usual_molecules_are_small_and_of_common_elements(smiles, usual):
    assert usual_molecules(molecules(smiles)).tolist() == [usual]


def test_every_size_is_in_one_band():
    groups = size_groups(molecules(*("C" * n for n in (1, 16, 17, 24, 25, 36, 37, 90))))
    assert [group.name for group in groups] == [
        "up to 16 heavy atoms",
        "17 to 24 heavy atoms",
        "25 to 36 heavy atoms",
        "over 36 heavy atoms",
    ]
    assert np.array([group.members for group in groups]).argmax(0).tolist() == [
        *(0, 0, 1, 1, 2, 2, 3, 3)
    ]
    assert np.array([group.members for group in groups]).sum(0).tolist() == [1] * 8


def test_elements_that_occur_have_a_group_the_most_frequent_first():
    groups = element_groups(molecules("CCO", "NCCO", "CC", "C[Se]C"))
    assert [group.name for group in groups] == [
        *("with O", "with N", "C and H only", "with other elements")
    ]
    assert members(groups) == {
        "with O": [True, True, False, False],
        "with N": [False, True, False, False],
        "C and H only": [False, False, True, False],
        "with other elements": [False, False, False, True],
    }


def test_novelty_is_the_distance_to_the_nearest_known_molecule():
    known = molecules("CCO", "c1ccccc1O")
    found = nearest_similarity(molecules("OCC", "Oc1ccccc1", "FC(F)(F)Br", "CCCO"), known)
    assert found[:2].tolist() == [1.0, 1.0]
    assert found[2] < 0.2 < found[3] < 1
    assert nearest_similarity(known, []).tolist() == [0.0, 0.0]
    groups = novelty_groups(np.array([0.39, 0.4, 0.59, 0.6, 1.0]))
    assert [group.members.sum() for group in groups] == [1, 2, 2]
