from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from doubles import small_model

from nmrtk.checkpoint import Calibration, LoadedModel
from nmrtk.cohort import cohort_of, run_forward
from nmrtk.formula import VECTOR_WIDTH
from nmrtk.interfaces import Example
from nmrtk.molecule import parse_smiles
from nmrtk.recipe import Recipe
from nmrtk.reliability import CONFIDENCES, evaluate_confidence, measure_reliability
from nmrtk.spectrum import spectrum_of_shifts


def test_true_probabilities_have_no_error():
    rng = np.random.default_rng(0)
    stated = rng.random(20_000)
    found = measure_reliability(stated, rng.random(20_000) < stated)
    assert found.calibration_error < 0.02
    assert found.chance_error < 0.02
    assert sum(one.queries for one in found.bins) == 20_000
    for one, least in zip(found.confident, CONFIDENCES, strict=True):
        assert one.least == least
        assert one.top_1 == pytest.approx((1 + least) / 2, abs=0.02)
        assert one.share == pytest.approx(1 - least, abs=0.02)


def test_boasting_is_an_error():
    found = measure_reliability([0.9] * 10, np.arange(10) < 5)
    assert found.calibration_error == pytest.approx(0.4)
    assert found.confident[-1].top_1 is None
    assert [one.queries for one in found.bins if one.queries] == [10]
    assert measure_reliability([1.0, 0.0], np.array([True, False])).calibration_error == 0
    nothing = measure_reliability([], np.zeros(0, bool))
    assert nothing.calibration_error == nothing.chance_error == 0


def test_few_queries_have_an_error_even_if_all_that_is_stated_is_true():
    # Of one query at 50 % the error is always a half; of n the mean deviation falls as 1 / √n.
    assert measure_reliability([0.5], np.array([True])).chance_error == pytest.approx(0.5)
    many = measure_reliability([0.5] * 100, np.arange(100) < 50)
    assert many.calibration_error == 0
    assert many.chance_error == pytest.approx(0.5 * (2 / np.pi / 100) ** 0.5, rel=0.1)
    # Bins add up.
    two = measure_reliability([0.5, 0.7], np.array([True, False]))
    assert two.chance_error == pytest.approx((0.5 + 2 * 0.7 * 0.3) / 2, abs=0.01)


@pytest.mark.parametrize("lines", [True, False])
def test_the_right_constitution_is_looked_up(lines):
    model = small_model(VECTOR_WIDTH).eval()
    loaded = LoadedModel(model, Recipe(), Calibration(), {}, Path("x"))
    molecules = [parse_smiles(text) for text in ("C", "CC(C)C", "CCO", "OCC", "Cl", "c1ccccc1")]
    carbon = float(model.predict([parse_smiles("C")]).lines.shift[0])
    examples = [
        Example(str(i), m, spectrum_of_shifts("13C", [carbon])) for i, m in enumerate(molecules)
    ]
    cohort = cohort_of(model, examples, lambda done, total: None)
    forward = run_forward(model, cohort, lambda done, total: None)
    if not lines:
        forward = replace(forward, lines=None)
    section = evaluate_confidence(loaded, cohort, forward, lambda done, total: None)
    assert (section.library, section.queries, section.absent) == (5, 6, 3)
    assert sum(one.queries for one in section.reliability.bins) == 6
    assert "Expected calibration error" in section.table().notes[0]
