from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from doubles import small_model

from nmrtk.candidates import Candidate, line_posterior
from nmrtk.checkpoint import Calibration, LoadedModel
from nmrtk.coverage import Coverage
from nmrtk.decoys import random_isomers
from nmrtk.elucidation import Elucidation
from nmrtk.errors import UsageError
from nmrtk.formula import VECTOR_WIDTH, Formula
from nmrtk.interfaces import Example
from nmrtk.molecule import canonical_smiles, parse_smiles
from nmrtk.recipe import Recipe
from nmrtk.score_errors import fit_errors
from nmrtk.score_fit import ScoredSet, fit_made_up, fit_posterior, fit_score, scored_set
from nmrtk.score_settings import ScoreSettings
from nmrtk.spectrum import Peak, Spectrum

NAMES = ["CC(=O)Oc1ccccc1C(=O)O", "CC(C)CC1CCOC1", "Cc1ccc(N)cc1[N+](=O)[O-]", "CCOC(=O)C#N"]


@pytest.mark.parametrize("smiles", NAMES)
def test_isomers_are_different_and_have_the_same_hydrogens(smiles):
    molecule = parse_smiles(smiles)
    found = random_isomers(molecule, 12, np.random.default_rng(0))
    keys = {canonical_smiles(one) for one in found}
    assert len(keys) == len(found) > 2
    assert canonical_smiles(molecule) not in keys

    def atoms(one):
        return sorted(
            (a.GetSymbol(), a.GetTotalNumHs(), a.GetFormalCharge()) for a in one.GetAtoms()
        )

    for one in found:
        assert Formula.of_molecule(one) == Formula.of_molecule(molecule)
        assert atoms(one) == atoms(molecule)


def test_small_molecules_have_no_isomers():
    for smiles in ("C", "CC", "CCO", "[Na+].[Cl-]"):
        assert random_isomers(parse_smiles(smiles), 5, np.random.default_rng(0)) == []


def test_errors_of_lines_are_fitted():
    rng = np.random.default_rng(0)
    scales = rng.uniform(0.5, 2, 6000)
    errors = rng.laplace(scale=1.5 * scales)
    wide = rng.random(6000) < 0.1
    errors[wide] = rng.laplace(scale=20.0, size=wide.sum())
    fitted = fit_errors(errors, scales, ScoreSettings())
    assert fitted.scale_factor == pytest.approx(1.5, rel=0.1)
    assert fitted.outlier_share == pytest.approx(0.1, rel=0.3)
    assert fitted.outlier_scale_ppm == pytest.approx(20, rel=0.3)
    assert fitted.letter_cost == ScoreSettings().letter_cost
    assert fit_errors(np.zeros(0), np.zeros(0), fitted) == fitted


def test_fitted_probabilities_are_those_observed():
    """Scores that claim twice what they know: the temperature must come out near 2."""
    rng = np.random.default_rng(0)
    sets = []
    for number in range(600):
        truth = rng.normal(-10, 2)
        others = truth - 12 + rng.normal(0, 4, 30)
        one = ScoredSet(np.array([truth, *others]), 0, Coverage(10, 31))
        sets.append(one.without_answer() if number % 2 else one)
    fitted = fit_posterior(sets, ScoreSettings())
    stated, right = [], []
    for one in sets:
        row = line_posterior(one.scores[None], Coverage(10, 31), fitted)[0]
        best = int(row[:-1].argmax())
        stated.append(row[best])
        right.append(best == one.answer)
    assert np.mean(stated) == pytest.approx(np.mean(right), abs=0.05)
    assert fitted.none_per_candidate == ScoreSettings().none_per_candidate
    with pytest.raises(UsageError, match="no set"):
        fit_posterior([], ScoreSettings())


def test_the_fit_is_no_worse_than_the_numbers_behind_the_answers():
    """However far they are from where the fit starts."""
    rng = np.random.default_rng(3)
    behind = replace(
        ScoreSettings(),
        temperature=1.2,
        none_per_line=-1.4,
        none_log_odds=-7.0,
        none_per_candidate=0.0,
    )
    sets = []
    for _ in range(200):
        lines = int(rng.integers(5, 30))
        scores = rng.normal(-1.8 * lines - 8, 6, int(rng.integers(5, 200)))
        one = ScoredSet(scores, -1, Coverage(lines, len(scores)))
        answer = int(rng.choice(len(scores) + 1, p=one.probabilities(behind)))
        sets.append(replace(one, answer=answer if answer < len(scores) else -1))

    def surprise(settings: ScoreSettings) -> float:
        return -float(np.mean([np.log(one.probabilities(settings)[one.answer]) for one in sets]))

    assert surprise(fit_posterior(sets, ScoreSettings())) < surprise(behind) + 0.05


def test_sizes_of_sets_tell_how_none_grows():
    rng = np.random.default_rng(1)
    sets = []
    for number in range(300):
        size = 10 if number % 3 else 1000
        scores = rng.normal(-20, 2, size)
        answer = -1 if number % 2 else int(scores.argmax())
        sets.append(ScoredSet(scores, answer, Coverage(10, size)))
    assert 0 <= fit_posterior(sets, ScoreSettings()).none_per_candidate <= 1


def excess(sets, settings):
    """Of what is stated of the first candidates over what is right."""
    rows = [one.probabilities(settings)[:-1] for one in sets]
    right = [int(row.argmax()) == one.answer for row, one in zip(rows, sets, strict=True)]
    return float(np.mean([row.max() for row in rows]) - np.mean(right))


def test_what_searches_miss_is_fitted_by_size():
    rng = np.random.default_rng(5)
    behind = replace(ScoreSettings(), none_made_up=-5.0, none_made_up_per_line=0.5)
    sets = []
    for _ in range(400):
        lines = int(rng.integers(5, 30))
        scores = rng.normal(-2.27 * lines - 17, 8, 20)
        one = ScoredSet(scores, -1, Coverage(lines, 20, made_up=True))
        answer = int(rng.choice(21, p=one.probabilities(behind)))
        sets.append(replace(one, answer=answer if answer < 20 else -1))
    fitted = fit_made_up(sets, ScoreSettings())
    small = [one for one in sets if one.coverage.line_count < 12]
    large = [one for one in sets if one.coverage.line_count > 22]
    assert abs(excess(small, fitted)) < 0.09
    assert abs(excess(large, fitted)) < 0.09
    # With what a library lacks, too little is stated of small ones and too much of large ones.
    assert excess(small, ScoreSettings()) < -0.1
    assert excess(large, ScoreSettings()) > 0.1
    assert fitted.none_recurrence == pytest.approx(0.0, abs=0.01)
    unchanged = {"none_made_up": 0.0, "none_made_up_per_line": 0.0, "none_recurrence": 0.0}
    assert replace(fitted, **unchanged) == ScoreSettings()
    looked_up = [replace(one, coverage=replace(one.coverage, made_up=False)) for one in sets]
    assert all(
        (one.probabilities(fitted) == one.probabilities(ScoreSettings())).all() for one in looked_up
    )
    with pytest.raises(UsageError, match="no search"):
        fit_made_up(looked_up, ScoreSettings())


def test_a_structure_that_few_attempts_came_upon_is_less_sure():
    rng = np.random.default_rng(6)
    behind = replace(ScoreSettings(), none_made_up=-3.0, none_recurrence=2.0)
    sets = []
    for _ in range(400):
        lines, share = int(rng.integers(5, 30)), float(np.exp(rng.uniform(-3, 0)))
        scores = rng.normal(-2.27 * lines - 12, 6, 20)
        one = ScoredSet(scores, -1, Coverage(lines, 20, made_up=True, recurrence=share))
        answer = int(rng.choice(21, p=one.probabilities(behind)))
        sets.append(replace(one, answer=answer if answer < 20 else -1))
    fitted = fit_made_up(sets, ScoreSettings())
    assert 1 < fitted.none_recurrence < 3
    seldom = [one for one in sets if one.coverage.recurrence < 0.1]
    often = [one for one in sets if one.coverage.recurrence > 0.6]
    assert abs(excess(seldom, fitted)) < 0.09
    assert abs(excess(often, fitted)) < 0.09
    blind = replace(fitted, none_recurrence=0.0)
    assert excess(seldom, blind) - excess(often, blind) > 0.2


def test_searches_without_a_miss_do_not_make_sure_of_everything():
    sets = [ScoredSet(np.array([-5.0, -9.0]), 0, Coverage(10, 2, made_up=True))] * 5
    fitted = fit_made_up(sets, ScoreSettings())
    assert 1e-3 < sets[0].probabilities(fitted)[-1] < 0.1
    missed = [replace(one, answer=-1) for one in sets]
    assert missed[0].probabilities(fit_made_up(missed, ScoreSettings()))[-1] > 0.9


@pytest.mark.parametrize("made_up", [False, True])
def test_scores_are_found_from_probabilities(made_up):
    settings = replace(
        ScoreSettings(), none_made_up=-1.5, none_made_up_per_line=0.1, none_recurrence=2.0
    )
    scores = np.array([[-12.0, -15.0, -20.0]])
    coverage = Coverage(8, 3, made_up, recurrence=0.3)
    *stated, none = line_posterior(scores, coverage, settings)[0].tolist()
    candidates = tuple(
        Candidate(text, p, 1.0, "x") for text, p in zip(("CCO", "COC", "CO"), stated, strict=True)
    )
    result = Elucidation(candidates, none, 1.0, (), coverage)
    found = scored_set(result, lambda smiles: smiles == "COC", settings)
    np.testing.assert_allclose(found.scores, scores[0])
    assert (found.answer, found.coverage) == (1, coverage)
    assert scored_set(result, lambda smiles: False, settings).answer == -1
    nothing = scored_set(Elucidation((), 1.0, 1.0, ()), lambda smiles: True, settings)
    assert (len(nothing.scores), nothing.answer) == (0, -1)


def test_a_model_is_fitted():
    loaded = LoadedModel(small_model(VECTOR_WIDTH).eval(), Recipe(), Calibration(), {}, Path("x"))
    examples = [
        Example(smiles, parse_smiles(smiles), spectrum_like(parse_smiles(smiles)))
        for smiles in NAMES
    ]
    fitted = fit_score(loaded, examples)
    assert np.isfinite([fitted.temperature, fitted.none_per_line, fitted.none_log_odds]).all()
    assert replace(fitted, temperature=1, none_per_line=1, none_log_odds=1) == replace(
        loaded.calibration.score, temperature=1, none_per_line=1, none_log_odds=1
    )


def spectrum_like(molecule):
    count = sum(atom.GetSymbol() == "C" for atom in molecule.GetAtoms())
    return Spectrum("13C", tuple(Peak(20.0 + 10 * i) for i in range(count)))


def test_a_prior_chooses_among_candidates_and_says_nothing_of_none():
    settings = ScoreSettings(temperature=2.0, none_per_line=-1.0, none_log_odds=0.0)
    scores, priors = np.array([[-4.0, -4.0, -6.0]]), np.array([[0.0, 2.0, 0.0]])
    (plain,) = line_posterior(scores, Coverage(3, 3), settings)
    (weighed,) = line_posterior(scores, Coverage(3, 3), settings, priors)
    (shifted,) = line_posterior(scores, Coverage(3, 3), settings, priors - 1000.0)
    assert weighed[-1] == pytest.approx(plain[-1])
    assert weighed[1] / weighed[0] == pytest.approx(np.e)
    assert shifted == pytest.approx(weighed)
