from dataclasses import replace

import numpy as np
import torch
from doubles import small_model

from nmrtk.batch import collate, prepare_examples
from nmrtk.formula import VECTOR_WIDTH
from nmrtk.interfaces import AtomLines, Example
from nmrtk.molecule import parse_smiles
from nmrtk.spectrum import Peak, Spectrum


def spectrum(*peaks):
    return Spectrum("13C", tuple(Peak(ppm, multiplicity=letter) for ppm, letter in peaks))


def example(smiles, *peaks):
    return Example(smiles, parse_smiles(smiles), spectrum(*peaks))


def test_molecules_that_cannot_be_encoded_are_named():
    model = small_model(VECTOR_WIDTH)
    good, bad = example("CCO", (18.1, ""), (57.8, "")), example("C[Pb]", (1.0, ""))
    prepared, rejected = prepare_examples(model, [good, bad])
    assert len(prepared) == 1
    assert rejected[0][0] is bad
    assert "82" in rejected[0][1]


def batch_of(examples, **options):
    model = small_model(VECTOR_WIDTH)
    return collate(model, prepare_examples(model, examples)[0], **options)


def test_lines_are_matched_within_each_molecule():
    batch = batch_of(
        [
            example("CCO", (18.1, ""), (57.8, "")),
            example("CO", (1.0, ""), (2.0, "")),  # two lines for one carbon: not compared
            example("CC(C)=O", (30.9, "Q"), (30.9, "Q"), (206.9, "S")),
            example("CCCO", (64.0, "T"), (10.0, "Q")),  # lacks a line of one CH2
        ]
    )
    shift = torch.tensor([60.0, 10.0, 50.0, 33.0, 190.0, 29.0, 12.0, 66.0, 26.0])
    molecule = torch.tensor([0, 0, 1, 2, 2, 2, 3, 3, 3])
    matched, _ = batch.matched(AtomLines(shift, torch.ones(9), molecule))
    assert matched.tolist() == [10.0, 60.0, 29.0, 33.0, 190.0, 12.0, 66.0]
    observed = np.float32([18.1, 57.8, 30.9, 30.9, 206.9, 10.0, 64.0])
    assert batch.line_shifts.tolist() == observed.tolist()
    assert batch.line_molecules.tolist() == [0, 0, 2, 2, 2, 3, 3]
    assert batch.complete.tolist() == [1.0, 0.0, 1.0, 0.0]


def test_groups_of_molecules_are_distinct_and_ascending():
    batch = batch_of(
        [
            example("CCO", (18.1, "Q"), (57.8, "T")),
            example("O", (1.0, "")),  # no site
            example("CCO", (18.1, ""), (57.8, "")),
            example("CC", (6.5, "Q"), (6.5, "Q")),
        ]
    )
    assert batch.site_groups.tolist() == [0, 1, 3, 3, 4, 4]
    assert batch.line_groups.tolist() == [0, 1, 3, 3, 4, 4]


def test_picks_choose_among_the_spectra_of_a_molecule():
    several = example("CCO", (18.1, ""), (57.8, ""))
    several = replace(several, other_spectra=(spectrum((20.0, ""), (160.0, "")),))
    examples = [several, example("C", (-2.3, ""))]
    for picks, shifts, bins in (
        (None, [18.1, 57.8, -2.3], [1, 1, 0, 0]),
        ([0, 0], [18.1, 57.8, -2.3], [1, 1, 0, 0]),
        ([1, 1], [20.0, 160.0, -2.3], [1, 0, 0, 1]),
        ([2, 7], [18.1, 57.8, -2.3], [1, 1, 0, 0]),
    ):
        batch = batch_of(examples, picks=picks)
        assert batch.line_shifts.tolist() == np.float32(shifts).tolist()
        assert batch.target[0].tolist() == bins


def test_a_batch_moves_with_all_its_parts():
    batch = batch_of([example("CCO", (18.1, ""), (57.8, ""))], free_noise=torch.zeros(1, 4))
    moved = batch.to(torch.device("meta"))
    for name in ("condition", "target", "complete", "site_groups", "line_groups", "line_shifts"):
        assert getattr(moved, name).device.type == "meta"
    assert moved.free_noise.device.type == "meta"
    assert moved.feature_noise is None
