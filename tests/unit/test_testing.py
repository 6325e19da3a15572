import math

import pytest
import torch

from nmrtk.errors import UsageError
from nmrtk.molecule import canonical_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.testing import TOLERANCES, PlainCodec, PlainEncoder, Report, check_spectrum_codec
from nmrtk.testing.material import ODD_SMILES, examples, molecules, odd_molecules
from nmrtk.testing.report import difference, has_gradient

CARBON = Nucleus.parse("13C")


class Thing:
    pass


def test_measure_prints_both_numbers(capsys):
    Report(Thing()).measure("gap", 0.5, 1.0, "it is small")
    assert capsys.readouterr().out.splitlines() == [
        "Thing: contract checks",
        "  ok  gap: measured 5.00e-01, allowed 1.00e+00",
    ]


@pytest.mark.parametrize("measured", [1.1, math.inf, math.nan])
def test_measure_says_what_is_wrong(measured):
    with pytest.raises(AssertionError) as caught:
        Report(Thing()).measure("gap", measured, 1.0, "it is small")
    assert str(caught.value) == (
        f"Thing: gap: measured {measured:.2e}, allowed 1.00e+00. The contract: it is small."
    )


@pytest.mark.parametrize(
    ("raised", "text"),
    [
        (None, "no UsageError was raised"),
        (ValueError("bad"), "raised ValueError: bad"),
        (UsageError(""), "an error without a text"),
    ],
)
def test_a_refusal_must_be_of_the_right_kind_and_say_something(raised, text):
    def call():
        if raised is not None:
            raise raised

    with pytest.raises(AssertionError, match=text):
        Report(Thing()).raises("call", UsageError, call, "it is refused")


def test_float32_may_err_more_than_float64():
    single, double = TOLERANCES[torch.float32], TOLERANCES[torch.float64]
    assert single.round_trip > double.round_trip
    assert single.same > double.same


def test_difference_is_relative_to_large_values_only():
    assert difference(torch.tensor([0.0]), torch.tensor([0.25])) == 0.25
    assert difference(torch.tensor([100.0]), torch.tensor([75.0])) == 0.25


@pytest.mark.parametrize("other", [torch.zeros(3), torch.tensor([0.0, math.nan])])
def test_difference_of_what_cannot_be_compared_is_infinite(other):
    assert difference(torch.zeros(2), other) == math.inf


def test_a_gradient_must_be_there_finite_and_not_zero():
    leaf = torch.tensor([1.0, 0.0], requires_grad=True)
    assert has_gradient(2 * leaf, leaf)
    assert not has_gradient(0 * leaf, leaf)
    assert not has_gradient(leaf.sqrt(), leaf)
    assert not has_gradient(leaf.detach(), leaf)
    assert not has_gradient(torch.ones(1, requires_grad=True), leaf)


def test_material_has_one_line_a_site():
    for example in examples(CARBON):
        atoms = sorted(peak.atoms[0] for peak in example.spectrum.peaks)
        assert atoms == CARBON.sites(example.molecule)
        assert example.spectrum.is_complete(len(atoms))


def test_material_of_another_nucleus_is_the_authors():
    with pytest.raises(UsageError, match="no spectra of 31P: give the check your own"):
        check_spectrum_codec(lambda nucleus: PlainCodec(nucleus, low=-200.0), nucleus="31P")


def test_odd_molecules_are_valid():
    assert len(odd_molecules()) == len(ODD_SMILES)


def test_plain_encoder_decodes_what_is_near():
    encoder = PlainEncoder(CARBON)
    wanted = molecules()
    features = encoder(encoder.collate([encoder.prepare(m) for m in wanted])).features
    found = encoder.decode(features + 0.1)
    assert [canonical_smiles(m) for m in found] == [canonical_smiles(m) for m in wanted]
