from dataclasses import replace

import pytest
import torch
from doubles import CountingEncoder, FewBins, Shear, small_model

from nmrtk.batch import collate, prepare_examples
from nmrtk.errors import ConfigurationError
from nmrtk.formula import VECTOR_WIDTH
from nmrtk.interfaces import AtomLines, Example
from nmrtk.model import ReversibleModel
from nmrtk.molecule import parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.objective import Objective, line_losses
from nmrtk.recipe import LossWeights
from nmrtk.spectrum import spectrum_of_shifts

EXAMPLES = [
    Example(smiles, parse_smiles(smiles), spectrum_of_shifts("13C", shifts))
    for smiles, shifts in (
        ("CCO", [18.1, 57.8]),
        ("CC(C)=O", [30.9, 30.9, 206.9]),
        ("CCCC", [13.0]),  # lacks lines
    )
]


def objective_and_batch(model=None, *, complete_codes=False, lines_per_molecule=2.0, **weights):
    model = model or small_model(VECTOR_WIDTH)
    objective = Objective(
        model,
        LossWeights(**weights),
        lines_per_molecule=lines_per_molecule,
        complete_codes=complete_codes,
    )
    return objective, collate(model, prepare_examples(model, EXAMPLES)[0])


def lines_of(shifts: list[float], scale: float = 2.0) -> AtomLines:
    return AtomLines(
        torch.tensor(shifts), torch.full((9,), scale), torch.tensor([0, 0, 1, 1, 1, 2, 2, 2, 2])
    )


FIRST = [20.0, 60.0, 29.0, 200.0, 33.0, 12.0, 25.0, 26.0, 14.5]
SECOND = [18.1, 57.8, 30.9, 206.9, 30.9, 13.0, 0.0, 0.0, 0.0]


def test_line_losses_are_smooth_l1_and_laplace_likelihood():
    _, batch = objective_and_batch()
    loss, likelihood = line_losses(lines_of(FIRST), batch)
    # In the order of the observed lines; of the four sites of butane the best one.
    error = torch.tensor([1.9, 2.2, 1.9, 2.1, 6.9, 1.0])
    torch.testing.assert_close(loss, error - 0.25, atol=1e-4, rtol=0)
    laplace = torch.distributions.Laplace(torch.zeros(6), torch.full((6,), 2.0))
    torch.testing.assert_close(likelihood, -laplace.log_prob(error), atol=1e-4, rtol=0)


def test_line_losses_are_the_same_in_any_unit():
    _, batch = objective_and_batch()
    lines = lines_of(FIRST)
    loss, likelihood = line_losses(lines, batch, unit=0.1)
    small = replace(batch, line_shifts=10 * batch.line_shifts)
    large = AtomLines(10 * lines.shift, 10 * lines.scale, lines.molecule)
    wanted = line_losses(large, small)
    torch.testing.assert_close(loss, wanted[0], atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(likelihood, wanted[1], atol=1e-3, rtol=1e-5)


def test_scales_do_not_shape_shifts_nor_shifts_scales():
    _, batch = objective_and_batch()
    shift = torch.tensor(FIRST, requires_grad=True)
    scale = torch.full((9,), 2.0, requires_grad=True)
    loss, likelihood = line_losses(AtomLines(shift, scale, lines_of(FIRST).molecule), batch)
    assert torch.autograd.grad(loss.sum(), scale, allow_unused=True, retain_graph=True) == (None,)
    assert torch.autograd.grad(likelihood.sum(), shift, allow_unused=True) == (None,)


def test_lines_weigh_alike_and_molecules_by_how_many_they_have():
    objective, batch = objective_and_batch(lines_per_molecule=2.0)
    prediction = objective.model(batch.inputs, batch.condition)
    terms = objective.terms(prediction, batch)
    loss, likelihood = line_losses(prediction.lines, batch)
    for term, losses in ((terms["lines"], loss), (terms["scales"], likelihood)):
        wanted = torch.stack([losses[:2].sum(), losses[2:5].sum(), losses[5]]) / 2
        torch.testing.assert_close(term, wanted)


class TwoMembers(CountingEncoder):
    """Lines of two members that disagree, and of both together."""

    def forward(self, batch):
        encoded = super().forward(batch)
        members = tuple(lines_of(shifts) for shifts in (FIRST, SECOND))
        mean = lines_of([(a + b) / 2 for a, b in zip(FIRST, SECOND, strict=True)])
        return type(encoded)(encoded.features, mean, members)


def test_each_member_is_compared_on_its_own():
    nucleus = Nucleus.parse("13C")
    encoder, codec = TwoMembers(nucleus), FewBins(nucleus)
    model = ReversibleModel(encoder, codec, Shear(encoder.width, codec.width, VECTOR_WIDTH))
    objective, batch = objective_and_batch(model, lines_per_molecule=1.0)
    terms = objective(batch)
    first, second = (line_losses(lines_of(shifts), batch)[0].sum() for shifts in (FIRST, SECOND))
    assert second < 1e-6
    assert terms["lines"].sum().item() == pytest.approx((first + second).item() / 2, rel=1e-5)


def test_codes_of_spectra_that_lack_lines_can_be_left_out():
    objective, batch = objective_and_batch(complete_codes=True)
    code = objective(batch)["code"]
    everything = objective_and_batch(complete_codes=False)[0](batch)["code"]
    assert batch.complete.tolist() == [1.0, 1.0, 0.0]
    assert code.tolist() == [*everything[:2].tolist(), 0.0]
    assert everything[2] > 0


def test_only_lines_are_computed_where_nothing_reaches_the_backbone(monkeypatch):
    objective, batch = objective_and_batch(code=0.0, free=0.0)
    monkeypatch.setattr(objective.model.backbone, "forward", None)
    terms = objective(batch)
    assert terms.keys() == {"lines", "scales"}
    torch.testing.assert_close(objective.weighted(terms), terms["lines"] + terms["scales"])


def test_terms_are_weighted():
    objective, batch = objective_and_batch(code=2.0, lines=3.0, scales=0.5, free=0.25)
    terms = objective(batch)
    wanted = 2 * terms["code"] + 3 * terms["lines"] + terms["scales"] / 2 + terms["free"] / 4
    torch.testing.assert_close(objective.weighted(terms), wanted)


def test_free_loss_is_the_likelihood_under_a_normal():
    objective, batch = objective_and_batch()
    model = objective.model
    with torch.no_grad():
        model.backbone.log_scale.normal_()
        prediction = model(batch.inputs, batch.condition)
        free = objective.terms(prediction, batch)["free"]
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(prediction.free).sum(1)
    width = prediction.free.shape[1]
    wanted = -(normal + model.backbone.log_scale.sum()) / width
    constant = 0.5 * torch.log(torch.tensor(2 * torch.pi))
    torch.testing.assert_close(free + constant, wanted)


def test_free_loss_does_not_move_the_features():
    objective, batch = objective_and_batch(code=0.0, lines=0.0, scales=0.0)
    objective(batch)["free"].sum().backward()
    assert objective.model.encoder.embedding.weight.grad is None
    assert objective.model.backbone.log_scale.grad.any()


def test_a_diverged_network_gives_a_loss_that_is_not_finite():
    _, batch = objective_and_batch()
    loss, _ = line_losses(lines_of([float("nan")] * 9), batch)
    assert loss.shape == (6,)
    assert loss.isnan().all()


class Mute(CountingEncoder):
    predicts_lines = False


class Unlikely(Shear):
    has_log_det = False


@pytest.mark.parametrize(
    ("encoder", "backbone", "weights", "message"),
    [
        (Mute, Shear, {"code": 0.0, "free": 0.0}, "nothing to learn: Mute predicts no lines, and"),
        (CountingEncoder, Unlikely, {}, "Unlikely gives no log-determinant: set loss.free to 0"),
    ],
)
def test_weights_that_the_parts_cannot_meet_are_refused(encoder, backbone, weights, message):
    nucleus = Nucleus.parse("13C")
    parts = encoder(nucleus), FewBins(nucleus)
    model = ReversibleModel(*parts, backbone(parts[0].width, parts[1].width, VECTOR_WIDTH))
    with pytest.raises(ConfigurationError, match=message):
        objective_and_batch(model, **weights)
