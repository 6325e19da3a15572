import numpy as np
import pytest
import torch
from doubles import small_model

from nmrtk.batch import prepare_examples
from nmrtk.calibration import _fit_posterior, calibrate, posterior
from nmrtk.checkpoint import (
    Calibration,
    load_tensors,
    model_header,
    recalibrate,
    save_tensors,
)
from nmrtk.formula import VECTOR_WIDTH
from nmrtk.interfaces import Example
from nmrtk.molecule import parse_smiles
from nmrtk.recipe import Recipe
from nmrtk.score_settings import ScoreSettings
from nmrtk.spectrum import Peak, Spectrum


def test_posterior_sums_to_one_and_leaves_out_what_is_no_candidate():
    scores = np.array([[-1.0, -2.0, -np.inf], [-np.inf] * 3])
    result = posterior(scores, np.array([-3.0, -3.0]), Calibration(temperature=2.0))
    assert np.allclose(result.sum(1), 1)
    assert result[0, 0] > result[0, 1] > result[0, 2] == 0
    assert result[1, 3] == 1


def test_sharper_temperature_is_surer():
    scores, background = np.array([[-1.0, -2.0]]), np.array([-9.0])
    sure = posterior(scores, background, Calibration(temperature=0.5))[0, 0]
    unsure = posterior(scores, background, Calibration(temperature=5.0))[0, 0]
    assert sure > unsure > 0.25


@pytest.mark.parametrize("noise", [0.3, 3.0])
def test_fitted_probabilities_are_those_observed(noise):
    """Codes that say too much: the fit must bring stated and observed shares together."""
    generator = torch.Generator().manual_seed(0)
    target = (torch.rand(400, 4, generator=generator) > 0.5).float()
    code = 20 * (target - 0.5) + noise * 10 * torch.randn(400, 4, generator=generator)
    model = small_model(VECTOR_WIDTH)
    model.mean_code.copy_(code.mean(0))
    temperature, log_odds = _fit_posterior(model, code, target)
    assert temperature > 1
    assert np.isfinite(log_odds)


def test_lines_are_covered_as_stated():
    model = small_model(VECTOR_WIDTH)
    rng = np.random.default_rng(0)
    molecule = parse_smiles("CCO")
    examples = [
        Example(str(i), molecule, Spectrum("13C", (Peak(20 + x), Peak(60 + y))))
        for i, (x, y) in enumerate(rng.laplace(scale=4, size=(60, 2)))
    ]
    prepared, _ = prepare_examples(model, examples)
    calibration = calibrate(model, prepared)
    shift = model.predict([molecule]).lines.shift.detach().sort().values.numpy()
    errors = np.abs(np.array([e.spectrum.shifts for e in examples]) - shift).ravel()
    covered = (errors <= 1.28 * calibration.sigma_factor).mean()
    assert covered == pytest.approx(0.8, abs=0.02)


def test_checkpoints_keep_the_score_and_older_ones_get_the_defaults(tmp_path, plugins):
    path = tmp_path / "model.safetensors"
    first = Calibration(temperature=3.0, score=ScoreSettings(letter_cost=9.0))
    save_tensors(path, {"a": torch.ones(2)}, model_header(Recipe(), first, {"epochs": 4}))
    tensors, header = load_tensors(path)
    assert Calibration(**header["calibration"]) == first
    recalibrate(path, Calibration(score=ScoreSettings(temperature=7.0)))
    changed, after = load_tensors(path)
    assert torch.equal(changed["a"], tensors["a"])
    assert after["training"] == {"epochs": 4}
    assert Calibration(**after["calibration"]).score.temperature == 7.0
    del after["calibration"]["score"]
    assert Calibration(**after["calibration"]).score == ScoreSettings()
