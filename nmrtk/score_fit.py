"""Fit on val the numbers of the score of candidates, so that their probabilities are true."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from nmrtk.candidates import line_posterior
from nmrtk.checkpoint import LoadedModel
from nmrtk.coverage import Coverage
from nmrtk.decoys import random_isomers
from nmrtk.elucidation import Elucidation
from nmrtk.errors import UsageError
from nmrtk.interfaces import Example
from nmrtk.line_score import LineScore, arrays, hydrogen_counts
from nmrtk.prediction import predict_prepared, prepare_molecules
from nmrtk.score_settings import ScoreSettings
from nmrtk.spectrum import Peak, Spectrum

MOLECULES, ISOMERS = 300, 40
"""Molecules that the fit is made with, and wrong isomers of each."""

LARGEST = 36
"""Heavy atoms of the molecules."""

_SURPRISE = 1e-3  # least probability, so that a few misses do not make all the others unsure
_FIRST_STEP = 0.5  # of each parameter: a start at 0 says nothing of how far to look
_HOLD = 1e-3  # on parameters, where the sets say nothing of them
_ABSENT = 0.01  # weight of a search as if the right answer had not been found
_FOUND = 0.25  # weight of whether any is right beside whether the first is; entry 25 of the log
_TINY = 1e-300

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScoredSet:
    """Scores of the candidates of one query whose answer is known.

    Args:
        scores: (N,), log-likelihoods.
        answer: index of the right one, or -1 where it is not among them.
        coverage: what tells how much was not found.
        priors: (N,), what is known of the structures before any line; None if nothing.
    """

    scores: Floats
    answer: int
    coverage: Coverage
    priors: Floats | None = None

    def without_answer(self) -> ScoredSet:
        """The same if the right one had not been found."""
        if self.answer < 0:
            return self
        priors = None if self.priors is None else np.delete(self.priors, self.answer)
        return replace(self, scores=np.delete(self.scores, self.answer), answer=-1, priors=priors)

    def probabilities(self, settings: ScoreSettings) -> Floats:
        """Of the candidates and, last, of none of them, (N + 1,)."""
        priors = None if self.priors is None else self.priors[None]
        rows = line_posterior(self.scores[None], self.coverage, settings, priors)
        probabilities: Floats = rows[0]
        return probabilities


def scored_set(
    result: Elucidation, right: Callable[[str], bool], settings: ScoreSettings
) -> ScoredSet:
    """The scores behind the probabilities of an answer, up to a constant.

    Args:
        result: of a query with a known answer.
        right: whether a SMILES is the right one.
        settings: those that the answer was made with.
    """
    candidates = result.candidates
    none = result.coverage.none_logit(settings)
    stated = np.array([one.probability for one in candidates], np.float64)
    odds = np.log(np.maximum(stated, _TINY)) - np.log(max(result.none_of_these, _TINY))
    found = [index for index, one in enumerate(candidates) if right(one.smiles)]
    scores = settings.temperature * (odds + none)
    answer = found[0] if found else -1
    return ScoredSet(scores, answer, result.coverage)


def fit_posterior(sets: Sequence[ScoredSet], settings: ScoreSettings) -> ScoreSettings:
    """Fit temperature and what was not found, so that the right answers are most probable.

    Args:
        sets: with the right answer among the candidates, and without it where it was not found.
        settings: all other numbers.

    Raises:
        UsageError: there is no set.
    """
    if not sets:
        raise UsageError("there is no set of candidates to fit probabilities to")
    considered = np.log([max(one.coverage.considered, 1) for one in sets])
    varied = float(np.std(considered)) > 1.0

    def settings_of(parameters: Floats) -> ScoreSettings:
        temperature, per_line, log_odds, per_candidate = parameters
        return replace(
            settings,
            temperature=float(np.exp(np.clip(temperature, -3, 3))),
            none_per_line=float(per_line),
            none_log_odds=float(log_odds),
            # A single size of sets says nothing of others.
            none_per_candidate=float(np.clip(per_candidate, 0, 1))
            if varied
            else settings.none_per_candidate,
        )

    def loss(parameters: Floats, least: float) -> float:
        hold = _HOLD * float(np.square(parameters).sum())
        return _surprise(sets, settings_of(parameters), least) + hold

    start = np.array([np.log(settings.temperature), settings.none_per_line, 0.0, 0.3])
    return settings_of(_lowest(loss, start, np.full(len(start), _FIRST_STEP)))


def fit_made_up(sets: Sequence[ScoredSet], settings: ScoreSettings) -> ScoreSettings:
    """Fit how much searches miss, so that what is stated is true: that the first candidate is
    right, and that the right one is among those found.

    Searches seldom miss small compounds, and so hardly tell how a miss looks. But a formula or a
    letter may be wrong: each search counts a little as if the right answer had not been found.

    Args:
        sets: of searches, with the right answer among the candidates, and without it where it was
            not found.
        settings: all other numbers.

    Raises:
        UsageError: structures were made up for none of the sets.
    """
    sets = [one for one in sets if one.coverage.made_up]
    if not sets:
        raise UsageError("there is no search of structures to fit probabilities to")
    missed = [one.without_answer() for one in sets]

    def settings_of(parameters: Floats) -> ScoreSettings:
        made_up, per_line, recurrence = parameters.tolist()
        return replace(
            settings,
            none_made_up=made_up,
            none_made_up_per_line=per_line,
            none_recurrence=recurrence,
        )

    def loss(parameters: Floats, least: float) -> float:
        trial = settings_of(parameters)
        # Where no set tells of attempts, nothing else holds the last parameter.
        hold = _HOLD * float(parameters[2]) ** 2
        return _untruth(sets, trial, least) + _ABSENT * _surprise(missed, trial, least) + hold

    start = np.array(
        [settings.none_made_up, settings.none_made_up_per_line, settings.none_recurrence]
    )
    return settings_of(_lowest(loss, start, np.array([-1.0, 0.1, 0.5])))


def _lowest(loss: Callable[[Floats, float], float], start: Floats, first_steps: Floats) -> Floats:
    """Parameters of least loss, whose second argument is the least probability that counts."""
    best = start
    # Where all are capped, nothing tells where to go: first without.
    for least in (_TINY, _SURPRISE):
        simplex = np.concatenate([best[None], best + np.diag(first_steps)])
        options = {"initial_simplex": simplex}
        best = minimize(loss, best, (least,), method="Nelder-Mead", options=options).x
    return best


def _surprise(sets: Sequence[ScoredSet], settings: ScoreSettings, least: float) -> float:
    """Mean negative logarithm of the probabilities of right answers, or of `least` if larger."""
    stated = [one.probabilities(settings)[one.answer] for one in sets]
    return -float(np.log(np.maximum(stated, least)).mean())


def _untruth(sets: Sequence[ScoredSet], settings: ScoreSettings, least: float) -> float:
    """Mean negative logarithm of the probabilities of what turned out, or of `least` if larger:
    whether the first candidate is right, and, with less weight, whether any is.
    """
    stated = []
    for one in sets:
        *candidates, none = one.probabilities(settings).tolist()
        first = max(candidates, default=0.0)
        is_right = one.answer >= 0 and candidates[one.answer] == first
        stated.append((first if is_right else 1 - first, 1 - none if one.answer >= 0 else none))
    return -float((np.log(np.maximum(stated, least)) @ [1.0, _FOUND]).mean())


def isomer_sets(
    loaded: LoadedModel,
    examples: Sequence[Example],
    settings: ScoreSettings,
    seed: int = 0,
    on_progress: Callable[[int], None] = lambda done: None,
) -> list[ScoredSet]:
    """Measured molecules among random isomers, in every second case without them.

    In turn the lines are given with letters and repeated, with letters and once, and bare and
    once.

    Args:
        loaded: a model that predicts lines.
        examples: with complete spectra, in any order.
        settings: of the score.
        seed: of the isomers.
        on_progress: told how many molecules are done.
    """
    rng = np.random.default_rng(seed)
    sets: list[ScoredSet] = []
    for place in rng.permutation(len(examples)).tolist():
        if len(sets) >= MOLECULES:
            break
        example = examples[place]
        if example.molecule.GetNumAtoms() > LARGEST:
            continue
        near = random_isomers(example.molecule, ISOMERS // 2, rng, 2)
        molecules = [example.molecule, *near, *random_isomers(example.molecule, ISOMERS // 2, rng)]
        prepared, refusals = prepare_molecules(loaded.model, molecules)
        kept = [row for row, refusal in enumerate(refusals) if not refusal]
        if not kept or kept[0] != 0 or len(kept) < 2:
            continue
        molecules = [molecules[row] for row in kept]
        prediction = predict_prepared(loaded.model, [prepared[row] for row in kept], molecules)
        if prediction.lines is None:
            raise UsageError("the model predicts no lines: there is no score of lines to fit")
        score = LineScore(_as_given(example.spectrum, len(sets) % 3), settings)
        values = score.score_arrays(
            *arrays(prediction.lines), hydrogen_counts(loaded.model.nucleus, molecules)
        )
        one = ScoredSet(values, 0, Coverage(len(score.lines), len(values)))
        sets.append(one.without_answer() if rng.random() < 0.5 else one)
        on_progress(len(sets))
    return sets


def fit_score(
    loaded: LoadedModel,
    examples: Sequence[Example],
    seed: int = 0,
    on_progress: Callable[[int], None] = lambda done: None,
) -> ScoreSettings:
    """Fit temperature and none of these for a model whose errors of lines are fitted.

    Args:
        loaded: with `calibration.score` as `nmrtk.calibration.calibrate` fits it.
        examples: of val, with complete spectra.
        seed: of the isomers.
        on_progress: told how many molecules are done.

    Raises:
        UsageError: the model predicts no lines, or no molecule has an isomer.
    """
    settings = loaded.calibration.score
    return fit_posterior(isomer_sets(loaded, examples, settings, seed, on_progress), settings)


def _as_given(spectrum: Spectrum, kind: int) -> Spectrum:
    """A complete spectrum as chemists list it."""
    if kind == 0:
        return spectrum
    seen = {(p.ppm, p.multiplicity if kind == 1 else "") for p in spectrum.peaks}
    peaks = tuple(Peak(ppm, multiplicity=letter) for ppm, letter in seen)
    return Spectrum(spectrum.nucleus, peaks, solvent=spectrum.solvent)
