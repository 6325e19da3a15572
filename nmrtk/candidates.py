"""Candidates of all generators: each constitution once, checked, scored and ranked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from torch import Tensor

from nmrtk.calibration import posterior
from nmrtk.checkpoint import LoadedModel
from nmrtk.coverage import Coverage
from nmrtk.errors import MoleculeError, SpectrumError
from nmrtk.formula import Formula
from nmrtk.line_score import LineScore, Match, arrays, hydrogen_counts
from nmrtk.model import Prediction
from nmrtk.molecule import Molecule, canonical_smiles, parse_smiles
from nmrtk.nucleus import HYDROGEN_LETTER_NUCLEI
from nmrtk.other_lines import OtherLines
from nmrtk.prediction import predict_prepared, predicted_spectra, prepare_molecules
from nmrtk.query import Query
from nmrtk.score_settings import ScoreSettings
from nmrtk.spectrum import Spectrum
from nmrtk.stereoisomers import stereoisomers

BATCH_SIZE = 128

STEREOISOMERS, SETTLED_CANDIDATES = 8, 60
"""Configurations that are tried of a candidate that leaves its own open, and how many of the best
candidates are treated so; docs/experiments.md, entry 22."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A structure that may have given the spectrum.

    Args:
        smiles: canonical.
        probability: that it is the right one.
        mae_ppm: mean absolute difference of observed and predicted lines.
        source: the generator that proposed it first.
        spectrum: its predicted lines, with atoms of the SMILES and sigma; of the first candidates
            only, else None.
        match: which observed line belongs to which site; None where the model predicts no lines.
    """

    smiles: str
    probability: float
    mae_ppm: float
    source: str
    spectrum: Spectrum | None = None
    match: Match | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Candidates of a query, most probable first, and the probability of none of them."""

    candidates: tuple[Candidate, ...]
    none_of_these: float
    notes: tuple[str, ...]
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class _Pending:
    molecule: Molecule
    smiles: str
    source: str
    formula: Formula
    exists: bool


@dataclass(slots=True)
class _Scored:
    smiles: str
    source: str
    formula: Formula
    score: float
    prior: float
    structure_prior: float | None
    mae_ppm: float
    letters_agree: bool
    match: Match | None
    exists: bool


@dataclass(slots=True)
class CandidatePool:
    """Takes candidates as they come, and ranks them in the end.

    Args:
        loaded: the model.
        query: what is known.
        target: (K,), what the codec makes of the spectrum.
        formulas: probabilities of the formulas that the compound may have, where the formula is
            unknown and no library says what to look among.
        others: lines of further nuclei.
        log_priors: tells how likely structures are, as `CandidateGenerator.log_priors` does.
    """

    loaded: LoadedModel
    query: Query
    target: Tensor
    formulas: Mapping[Formula, float] = field(default_factory=dict)
    others: Sequence[OtherLines] = ()
    log_priors: Callable[[Sequence[Molecule]], NDArray[np.float64] | None] = lambda molecules: None
    _lines: LineScore = field(init=False)
    _known: set[str] = field(default_factory=set)
    _pending: list[_Pending] = field(default_factory=list)
    _scored: list[_Scored] = field(default_factory=list)
    _refused: list[str] = field(default_factory=list)
    _unfit: int = 0
    _made_up: bool = False
    _recurrences: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lines = LineScore(self.query.spectrum, self.settings)

    @property
    def settings(self) -> ScoreSettings:
        """Fitted numbers of the score."""
        return self.loaded.calibration.score

    def offer(
        self,
        molecule: Molecule,
        source: str,
        exists: bool = False,
        recurrence: float | None = None,
    ) -> None:
        """Take a candidate, if it is new and fits what is known.

        Args:
            molecule: the structure.
            source: who proposes it.
            exists: whether it is known to exist.
            recurrence: share of the attempts of a search that came upon it.
        """
        self._made_up |= not exists
        key = canonical_smiles(molecule)
        if recurrence is not None:
            self._recurrences[key] = max(recurrence, self._recurrences.get(key, 0.0))
        if key in self._known:
            return
        self._known.add(key)
        try:
            smiles = canonical_smiles(molecule, stereo=True)
            checked = parse_smiles(smiles)
        except MoleculeError:
            return
        query, nucleus = self.query, self.loaded.model.nucleus
        formula = Formula.of_molecule(checked)
        if query.formula is not None and formula != query.formula:
            return
        if not query.has_mass_of(checked):
            return
        if len(nucleus.sites(checked)) < query.least_sites:
            return
        if not query.allows(checked):
            self._unfit += 1
            return
        self._pending.append(_Pending(checked, smiles, source, formula, exists))
        if len(self._pending) >= BATCH_SIZE:
            self._score_pending()

    def answer(self, considered: int) -> Answer:
        """All candidates, most probable first, and the probability of none of them.

        Args:
            considered: how many were compared with the spectrum at the least, those included that
                a generator has left out as unlikely.
        """
        self._score_pending()
        if not self._scored:
            return Answer((), 1.0, tuple(self._notes()), self._coverage(considered))
        self._settle_structure_priors()
        self._settle_configurations()
        self._scored.sort(key=lambda item: (-item.score - item.prior, item.smiles))
        coverage = self._coverage(considered)
        probabilities = self._probabilities(coverage)
        candidates = [
            Candidate(item.smiles, float(probability), item.mae_ppm, item.source, None, item.match)
            for item, probability in zip(self._scored, probabilities[:-1], strict=True)
        ]
        shown = self._with_spectra(candidates[: self.query.top])
        return Answer(
            (*shown, *candidates[self.query.top :]),
            float(probabilities[-1]),
            tuple(self._notes()),
            coverage,
        )

    def _coverage(self, considered: int) -> Coverage:
        recurrence = 1.0
        if self._scored and self._recurrences:
            first = self._scored[0]
            # What no attempt came upon shows that they miss things, unless it was looked up.
            missed = 1.0 if first.exists else min(self._recurrences.values())
            key = canonical_smiles(parse_smiles(first.smiles))
            recurrence = self._recurrences.get(key, missed)
        return Coverage(
            *(len(self._lines.lines), max(considered, len(self._scored)), self._made_up),
            recurrence,
        )

    def _settle_structure_priors(self) -> None:
        """Compare structures with their isomers alone: densities of different formulas have
        different units. What is known to exist is as likely as the likeliest that may not, and what
        nothing is known of no likelier than the least likely.
        """
        isomers: dict[Formula, list[_Scored]] = {}
        for item in self._scored:
            if item.structure_prior is not None:
                isomers.setdefault(item.formula, []).append(item)
        for items in isomers.values():
            priors = np.array([item.structure_prior for item in items], np.float64)
            known = priors[np.isfinite(priors)]
            if len(known):
                priors = np.nan_to_num(priors, nan=known.min()) - known.max()
                for item, prior in zip(items, priors.tolist(), strict=True):
                    item.prior += prior
            for item in items:
                item.structure_prior = None

    def _settle_configurations(self) -> None:
        """Score the best candidates that leave their configuration open as their stereoisomers too.

        Half of the weight stays with the lines of no configuration in particular, and the
        stereoisomers share the other half.
        """
        if self._scored[0].match is None:
            return
        best = sorted(self._scored, key=lambda item: -item.score - item.prior)[:SETTLED_CANDIDATES]
        owners, molecules = [], []
        for item in best:
            isomers = stereoisomers(parse_smiles(item.smiles), STEREOISOMERS)
            if len(isomers) > 1:
                owners += [item] * len(isomers)
                molecules += isomers
        found: dict[str, list[float]] = {}
        for start in range(0, len(molecules), BATCH_SIZE):
            span = slice(start, start + BATCH_SIZE)
            prediction = self.loaded.model.predict(molecules[span])
            scores = self._likelihoods(prediction, molecules[span])
            for item, score in zip(owners[span], scores.tolist(), strict=True):
                found.setdefault(item.smiles, []).append(score)
        temperature = self.settings.temperature
        for item in best:
            if scores_of := found.get(item.smiles):
                settled = logsumexp(np.array(scores_of) / temperature) - math.log(len(scores_of))
                both = np.logaddexp(item.score / temperature, settled) - math.log(2)
                item.score = float(temperature * both)

    def _probabilities(self, coverage: Coverage) -> NDArray[np.float64]:
        """Of all that was scored and, last, of none of them."""
        scores = np.array([[item.score for item in self._scored]])
        found = len(self._scored)
        if self._scored[0].match is None:
            model, calibration = self.loaded.model, self.loaded.calibration
            with torch.no_grad():
                background = model.codec.log_likelihood(
                    model.mean_code[None], self.target[None].to(model.device)
                )
            # All that were considered share the prior weight; what was left out has no likelihood.
            unseen = calibration.temperature * math.log(coverage.considered / found)
            rows = posterior(scores, background.double().cpu().numpy() + unseen, calibration)
        else:
            priors = np.array([[item.prior for item in self._scored]])
            rows = line_posterior(scores, coverage, self.settings, priors)
        probabilities: NDArray[np.float64] = rows[0]
        if self.formulas:
            # A compound of any other formula is none of these.
            formulas = {item.formula for item in self._scored}
            probabilities = probabilities * min(sum(map(self._formula_weight, formulas)), 1.0)
            probabilities[-1] = 1.0 - probabilities[:-1].sum()
        return probabilities

    def _formula_weight(self, formula: Formula) -> float:
        """Probability of a formula; one that is not listed is no likelier than the last of the
        list.
        """
        return self.formulas.get(formula, min(self.formulas.values()))

    def _with_spectra(self, candidates: list[Candidate]) -> list[Candidate]:
        molecules = [parse_smiles(candidate.smiles) for candidate in candidates]
        prepared, _ = prepare_molecules(self.loaded.model, molecules)
        prediction = predict_prepared(self.loaded.model, prepared, molecules)
        spectra = predicted_spectra(self.loaded, prediction, molecules)
        return [replace(c, spectrum=s) for c, s in zip(candidates, spectra, strict=True)]

    def _notes(self) -> list[str]:
        """What the user should know of the candidates."""
        notes = []
        if self._refused:
            notes.append(
                f"{len(self._refused)} candidates left out that the model cannot represent, the "
                f"first: {self._refused[0]}"
            )
        if self._unfit:
            notes.append(
                f"{self._unfit} candidates left out for what the compound contains or lacks"
            )
        shown = self._scored[: self.query.top]
        if shown and not any(item.letters_agree for item in shown):
            notes.append("none of the candidates shown has the multiplicities given")
        first = shown[0].match if shown else None
        if first is not None:
            notes += self._match_notes(first)
        return notes

    def _match_notes(self, match: Match) -> list[str]:
        """What the first candidate leaves unexplained."""
        notes = []
        for index in match.extra:
            ppm = self._lines.lines[index][0]
            solvent = self._lines.solvent.get(ppm)
            what = f"{solvent} has one there" if solvent else "an impurity, or it does not fit"
            notes.append(f"the line at {ppm:g} ppm belongs to no atom of the first: {what}")
        if match.missing:
            notes.append(f"{match.missing} atoms of the first have no line of their own")
        return notes

    def _score_pending(self) -> None:
        model = self.loaded.model
        prepared, refusals = prepare_molecules(model, (one.molecule for one in self._pending))
        self._refused += [refusal for refusal in refusals if refusal]
        kept = [item for item, refusal in zip(self._pending, refusals, strict=True) if not refusal]
        self._pending = []
        if not kept:
            return
        molecules = [one.molecule for one in kept]
        prediction = predict_prepared(model, [p for p in prepared if p is not None], molecules)
        scores = self._likelihoods(prediction, molecules)
        matches = self._matches(prediction, molecules)
        priors = self._priors(kept)
        structure_priors = self._structure_priors(prediction, kept)
        observed = self.query.spectrum
        spectra = None
        if prediction.lines is None:
            spectra = predicted_spectra(self.loaded, prediction, molecules)
        for row, one in enumerate(kept):
            match = matches[row]
            if spectra is not None:
                mae = matched_mae(observed.shifts, spectra[row].shifts)
            else:
                mae = match.mae_ppm if match is not None else math.inf
            self._scored.append(
                _Scored(
                    one.smiles,
                    one.source,
                    one.formula,
                    float(scores[row]),
                    float(priors[row]),
                    None if one.exists else float(structure_priors[row]),
                    mae,
                    letters_agree(observed, model.nucleus.multiplicities(one.molecule)),
                    match,
                    one.exists,
                )
            )

    def _likelihoods(
        self, prediction: Prediction, molecules: Sequence[Molecule]
    ) -> NDArray[np.float64]:
        """Log-likelihoods of the lines, or of the code where the model predicts no lines."""
        model, settings = self.loaded.model, self.settings
        lines = prediction.lines
        codes: NDArray[np.float64] | float = 0.0
        if lines is None or settings.code_weight:
            with torch.no_grad():
                target = self.target.to(model.device).expand(len(molecules), -1)
                likelihood = model.codec.log_likelihood(prediction.code, target)
                codes = likelihood.double().cpu().numpy()
        if lines is None:
            return np.asarray(codes)
        _require_numbers(prediction)
        scores = self._lines.score_arrays(*arrays(lines), hydrogen_counts(model.nucleus, molecules))
        likelihoods: NDArray[np.float64] = scores + settings.code_weight * codes
        return likelihoods

    def _matches(self, prediction: Prediction, molecules: Sequence[Molecule]) -> list[Match | None]:
        """Which line belongs to which site of each; None where the model predicts no lines."""
        if prediction.lines is None:
            return [None] * len(molecules)
        shift, scale, owner = arrays(prediction.lines)
        hydrogens = hydrogen_counts(self.loaded.model.nucleus, molecules)
        ends = np.cumsum(np.bincount(owner, minlength=len(molecules)))
        return [
            self._lines.match(shift[start:end], scale[start:end], hydrogens[start:end])
            for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)
        ]

    def _priors(self, kept: list[_Pending]) -> NDArray[np.float64]:
        """How likely candidates are before any line of the model's nucleus: by their formulas, and
        by the lines of other nuclei.
        """
        settings = self.settings
        priors = np.zeros(len(kept))
        if self.formulas:
            weights = [self._formula_weight(one.formula) for one in kept]
            priors += settings.temperature * np.log(np.maximum(weights, 1e-12))
        for other in self.others:
            likelihoods = other.log_likelihoods([one.molecule for one in kept])
            priors += settings.temperature / other.temperature * likelihoods
        return priors

    def _structure_priors(
        self, prediction: Prediction, kept: list[_Pending]
    ) -> NDArray[np.float64]:
        """How likely structures are among their isomers, before any line: by the density of the
        free part, and, where they are made up, by what generators know of structures; nan where
        they know nothing.
        """
        settings = self.settings
        priors = np.zeros(len(kept))
        if settings.free_weight:
            priors += settings.free_weight * free_log_density(prediction)
        if settings.structure_weight:
            made_up = np.array([not one.exists for one in kept])
            structures = self.log_priors([one.molecule for one in kept if not one.exists])
            if structures is not None:
                priors[made_up] += settings.structure_weight * structures
        return priors


def line_posterior(
    scores: NDArray[np.float64],
    coverage: Coverage,
    settings: ScoreSettings,
    priors: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Probabilities (T, N + 1) of N candidates and, last, of none of them.

    Whether any of them is right is told by the lines alone; which one, by lines and prior.

    Args:
        scores: (T, N) log-likelihoods of the lines; -inf for what is no candidate of a query.
        coverage: what tells how much was not found.
        settings: fitted numbers.
        priors: (T, N) logarithms of what is known of the structures before any line, up to a
            constant of each row; None where it is the same for all.
    """
    none = coverage.none_logit(settings)
    fits = scores / settings.temperature
    if priors is not None:
        weighed = fits + priors / settings.temperature
        fits = (
            weighed
            - logsumexp(weighed, axis=1, keepdims=True)
            + logsumexp(fits, axis=1, keepdims=True)
        )
    logits = np.concatenate([fits, np.full((len(scores), 1), none)], axis=1)
    logits -= logits.max(axis=1, keepdims=True)
    weights = np.exp(logits)
    probabilities: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return probabilities


def free_log_density(prediction: Prediction) -> NDArray[np.float64]:
    """Log-density (B,) of the features given the code, up to a constant: that of the free part
    under its standard normal prior, and how much the backbone stretches there, where it tells.
    """
    density = -0.5 * prediction.free.double().square().sum(1)
    if prediction.log_det is not None:
        density = density + prediction.log_det.double()
    values: NDArray[np.float64] = density.cpu().numpy()
    return values


def _require_numbers(prediction: Prediction) -> None:
    """Make sure that a model puts out numbers.

    Raises:
        SpectrumError: it does not.
    """
    lines = prediction.lines
    if lines is not None and not (
        torch.isfinite(lines.shift).all() and torch.isfinite(lines.scale).all()
    ):
        raise SpectrumError("the model's output is not finite: it was not trained properly")


def matched_mae(observed: list[float], predicted: list[float]) -> float:
    """Mean absolute difference in ppm between two sets of lines.

    Equal numbers are matched in order, which is the cheapest way. Otherwise lines of equivalent
    atoms are listed once on one side: every line of the longer side goes to one of the shorter, in
    order, so that each of the shorter is used and the sum is least.

    Example:
        >>> matched_mae([10.0, 20.0], [10.0, 19.0, 21.0])
        0.6666666666666666
    """
    short, long = sorted([np.sort(observed), np.sort(predicted)], key=len)
    if not len(short):
        return math.inf
    # cost[j]: of matching the lines so far, the last one to line j of the shorter side.
    cost = np.full(len(short), math.inf)
    cost[0] = 0.0
    for place, ppm in enumerate(long):
        if place:
            cost = np.minimum(cost, np.concatenate([[math.inf], cost[:-1]]))
        cost = cost + np.abs(short - ppm)
    return float(cost[-1] / len(long))


def letters_agree(observed: Spectrum, expected: list[str]) -> bool:
    """Whether a structure has enough atoms for the distinct lines of each letter."""
    if observed.nucleus not in HYDROGEN_LETTER_NUCLEI:
        return True
    lines = {(peak.ppm, peak.multiplicity) for peak in observed.peaks}
    given = [letter for _, letter in lines if letter in {"S", "D", "T", "Q"}]
    return all(given.count(letter) <= expected.count(letter) for letter in set(given))
