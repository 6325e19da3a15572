from itertools import permutations

import numpy as np
import torch
from doubles import small_model
from hypothesis import given
from hypothesis import strategies as st

from nmrtk.batch import collate, matching_groups, prepare_examples
from nmrtk.formula import VECTOR_WIDTH
from nmrtk.interfaces import AtomLines, Example
from nmrtk.molecule import parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.objective import line_loss, matched_shifts
from nmrtk.spectrum import Peak, Spectrum

CARBON = Nucleus.parse("13C")


def spectrum(*peaks):
    return Spectrum("13C", tuple(Peak(ppm, multiplicity=letter) for ppm, letter in peaks))


def example(smiles, *peaks):
    return Example(smiles, parse_smiles(smiles), spectrum(*peaks))


def test_lines_are_grouped_by_multiplicity_where_letters_agree():
    classes, shifts = matching_groups(
        parse_smiles("CCO"), spectrum((18.1, "Q"), (57.8, "T")), CARBON
    )
    assert classes.tolist() == [0, 1]
    assert np.allclose(shifts, [18.1, 57.8])


def test_lines_are_one_group_where_letters_do_not_agree():
    classes, shifts = matching_groups(
        parse_smiles("CCO"), spectrum((57.8, "Q"), (18.1, "")), CARBON
    )
    assert classes.tolist() == [0, 0]
    assert np.allclose(shifts, [18.1, 57.8])


def test_incomplete_spectra_have_no_groups():
    _, shifts = matching_groups(parse_smiles("CCO"), spectrum((18.1, "Q")), CARBON)
    assert len(shifts) == 0


def test_molecules_that_cannot_be_encoded_are_named():
    model = small_model(VECTOR_WIDTH)
    good, bad = example("CCO", (18.1, ""), (57.8, "")), example("C[Pb]", (1.0, ""))
    prepared, rejected = prepare_examples(model, [good, bad])
    assert len(prepared) == 1
    assert rejected[0][0] is bad
    assert "82" in rejected[0][1]


def test_matching_is_the_best_assignment_within_each_molecule():
    model = small_model(VECTOR_WIDTH)
    examples = [
        example("CCO", (18.1, ""), (57.8, "")),
        example("CO", (1.0, ""), (2.0, "")),  # not complete: two lines for one carbon
        example("CC(C)=O", (30.9, "Q"), (30.9, "Q"), (206.9, "S")),
    ]
    batch = collate(model, prepare_examples(model, examples)[0])
    shift = torch.tensor([60.0, 10.0, 50.0, 33.0, 190.0, 29.0])
    molecule = torch.tensor([0, 0, 1, 2, 2, 2])
    lines = AtomLines(shift, torch.ones(6), molecule)
    matched, _ = matched_shifts(lines, batch)
    assert matched.tolist() == [10.0, 60.0, 29.0, 33.0, 190.0]
    assert batch.line_shifts.tolist() == np.float32([18.1, 57.8, 30.9, 30.9, 206.9]).tolist()
    loss = line_loss(lines, batch)
    assert loss.shape == (3,)
    assert loss[1] == 0


shifts = st.lists(st.floats(-50, 250, width=16), min_size=1, max_size=5)


@given(st.data())
def test_sorting_has_the_least_absolute_error(data):
    observed = data.draw(shifts)
    predicted = data.draw(st.lists(st.floats(-50, 250, width=16), min_size=len(observed),
                                   max_size=len(observed)))  # fmt: skip
    best = min(sum(abs(a - b) for a, b in zip(observed, order, strict=True))
               for order in permutations(predicted))  # fmt: skip
    matched = sum(abs(a - b) for a, b in zip(sorted(observed), sorted(predicted), strict=True))
    assert matched <= best + 1e-9
