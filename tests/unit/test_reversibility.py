import numpy as np
import pytest
import torch
from doubles import Shear, small_model

from nmrtk.cohort import Forward, make_cohort, run_forward
from nmrtk.formula import VECTOR_WIDTH
from nmrtk.nucleus import Nucleus
from nmrtk.reversibility import evaluate_free, evaluate_reversibility, explained_share
from nmrtk.testing.material import examples

CARBON = Nucleus.parse("13C")


def silent(done, total):
    pass


def forward_of(model):
    return run_forward(model, make_cohort(model, examples(CARBON), "test", silent), silent)


def forward_with(outputs):
    nothing = torch.zeros(len(outputs), 0)
    return Forward(outputs, outputs, nothing, nothing, None)


class Leaky(Shear):
    """A backbone whose inverse is a little off."""

    leak = 0.0

    def inverse(self, outputs, condition=None):
        return super().inverse(outputs, condition) + self.leak


def test_an_exact_bijection_has_errors_of_rounding_alone():
    model = small_model(VECTOR_WIDTH)
    section = evaluate_reversibility(model, forward_of(model), 0, silent)
    assert section.precision == "float32"
    for trip in (section.features, section.outputs):
        assert 0 <= trip.mean <= trip.largest < 1e-4
        assert trip.relative == pytest.approx(trip.largest / trip.scale)


@pytest.mark.parametrize("leak", [0.01, float("nan")])
def test_errors_are_found_in_both_orders(leak):
    model = small_model(VECTOR_WIDTH)
    forward = forward_of(model)
    backbone = Leaky(model.backbone.width, model.codec.width, VECTOR_WIDTH)
    backbone.load_state_dict(model.backbone.state_dict())
    backbone.leak = leak
    model.backbone = backbone
    section = evaluate_reversibility(model, forward, 0, silent)
    assert section.features.largest == pytest.approx(leak, rel=1e-2, nan_ok=True)
    assert not section.outputs.largest < 1e-3
    assert "seed paper" in section.table().to_markdown()


def test_the_free_part_of_an_ideal_model_is_standard_normal():
    outputs = torch.randn(400, 50, generator=torch.Generator().manual_seed(0))
    section = evaluate_free(forward_with(outputs), 10, [str(i) for i in range(400)], seed=0)
    assert section.width == 40
    assert section.sample_mean.mean == pytest.approx(0, abs=0.05)
    assert section.sample_std.mean == pytest.approx(1, abs=0.05)
    assert section.dimension_std.least == pytest.approx(1, abs=0.2)
    assert section.dimension_mean.greatest == pytest.approx(0, abs=0.2)
    assert section.code_r2 < 0.05
    assert "ideal" in section.table().to_markdown()


def test_a_free_part_that_follows_from_the_code_is_found_out():
    code = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    outputs = torch.cat([code, code @ torch.ones(5, 3)], dim=1)
    section = evaluate_free(forward_with(outputs), 5, [str(i) for i in range(200)], seed=0)
    assert section.code_r2 > 0.99


def test_without_a_free_part_there_is_no_section():
    assert evaluate_free(forward_with(torch.randn(4, 5)), 5, ["a"] * 4, seed=0) is None


def test_twins_in_other_folds_do_not_help():
    """Pure noise, every row four times: only folds that keep the copies together see that the
    inputs say nothing."""
    rng = np.random.default_rng(0)
    inputs, outputs = rng.normal(size=(60, 80)), rng.normal(size=(60, 3))
    inputs, outputs = np.tile(inputs, (4, 1)), np.tile(outputs, (4, 1))
    together = [str(i % 60) for i in range(240)]
    apart = [str(i) for i in range(240)]
    assert explained_share(inputs, outputs, together) < 0.05
    assert explained_share(inputs, outputs, apart) > 0.5


def test_too_few_groups_give_no_figure():
    assert explained_share(np.ones((9, 2)), np.ones((9, 1)), list("abcdefghi")) is None
