"""Candidates judged by the lines of two nuclei."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from doubles import small_model

from nmrtk.checkpoint import Calibration, LoadedModel
from nmrtk.elucidation import Query, elucidate
from nmrtk.errors import SpectrumError, UsageError
from nmrtk.formula import VECTOR_WIDTH, Formula
from nmrtk.interfaces import CandidateGenerator
from nmrtk.line_score import LineScore
from nmrtk.molecule import parse_smiles
from nmrtk.other_lines import OtherLines
from nmrtk.recipe import Recipe
from nmrtk.score_settings import ScoreSettings
from nmrtk.spectrum import spectrum_of_shifts

QUERY = Query("a", spectrum_of_shifts("13C", [57.8, 18.1]), Formula.parse("C2H6O"))


class Ethanols(CandidateGenerator):
    def generate(self, query, inversion):
        return [parse_smiles("CCO"), parse_smiles("COC")]


def loaded(nucleus: str, temperature: float = 2.0) -> LoadedModel:
    model = small_model(VECTOR_WIDTH, nucleus=nucleus).eval()
    score = ScoreSettings(temperature=temperature)
    return LoadedModel(model, Recipe(), Calibration(score=score), {}, Path(f"double-{nucleus}"))


def protons(*shifts: float) -> OtherLines:
    return OtherLines(loaded("1H", 3.0), spectrum_of_shifts("1H", shifts))


def test_likelihoods_are_those_of_the_lines():
    other = protons(95.0, 101.0, 101.0)
    molecules = [parse_smiles(text) for text in ("CCO", "O=C=O", "COC")]
    model = other.loaded.model
    # Twice the same line is two hydrogens, not two atoms.
    score = LineScore(spectrum_of_shifts("1H", [95.0, 101.0]), other.loaded.calibration.score)
    inputs = model.encoder.collate([model.encoder.prepare(m) for m in molecules[::2]])
    wanted = score.score(model.encoder(inputs).lines, np.full(5, -1))
    found = other.log_likelihoods(molecules)
    assert found[[0, 2]] == pytest.approx(wanted)
    assert found[1] == -2 * other.loaded.calibration.score.extra_cost


def test_lines_of_two_nuclei_decide_together():
    carbon = loaded("13C")
    generators = {"listed": Ethanols()}
    alone = elucidate(carbon, QUERY, generators)
    other = protons(95.0, 101.0, 97.0)
    both = elucidate(carbon, QUERY, generators, others=[other])
    gain = np.diff(other.log_likelihoods([parse_smiles("COC"), parse_smiles("CCO")])) / 3.0
    odds = []
    for answer in (alone, both):
        found = {one.smiles: one.probability for one in answer.candidates}
        odds.append(np.log(found["CCO"] / found["COC"]))
    assert abs(gain.item()) > 0.1
    assert odds[1] - odds[0] == pytest.approx(gain.item(), abs=1e-6)
    # Whether any candidate is right is told by the first lines alone.
    assert both.none_of_these == pytest.approx(alone.none_of_these)


def test_lines_must_be_of_the_nucleus_of_their_model():
    with pytest.raises(SpectrumError, match="lines are of 13C, the model double-1H is for 1H"):
        OtherLines(loaded("1H"), QUERY.spectrum)
    with pytest.raises(SpectrumError, match="the list of 1H lines is empty"):
        protons()


def test_the_further_nucleus_must_be_another():
    carbon = loaded("13C")
    other = OtherLines(carbon, QUERY.spectrum)
    with pytest.raises(UsageError, match="both spectra are of 13C"):
        elucidate(carbon, QUERY, {"listed": Ethanols()}, others=[other])
