"""Spectra to structures: candidates from generators, compared by the forward direction."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nmrtk.calibration import posterior
from nmrtk.checkpoint import LoadedModel
from nmrtk.errors import MoleculeError, SpectrumError, UsageError
from nmrtk.formula import VECTOR_WIDTH, Formula
from nmrtk.interfaces import CandidateGenerator
from nmrtk.library import Library
from nmrtk.model import ReversibleModel
from nmrtk.molecule import Molecule, canonical_smiles, parse_smiles
from nmrtk.nucleus import HYDROGEN_LETTER_NUCLEI, Nucleus
from nmrtk.prediction import predict_prepared, predicted_spectra, prepare_molecules
from nmrtk.rows import Id, Row
from nmrtk.spectrum import Spectrum

BATCH_SIZE = 128
DEFAULT_TOP = 10
DEFAULT_SECONDS = 30.0

_HYDROGENS_OF_LETTER = {"S": 0, "D": 1, "T": 2, "Q": 3}
_PROBABILITY_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Query:
    """What is known of an unknown compound.

    Args:
        id: the user's.
        spectrum: its lines.
        formula: its molecular formula, or None.
        library: structures to look it up among, or None.
        top: number of candidates wanted.
        seconds: that the search may take.
        deadline: when generators must end, on the clock of `time.monotonic`; `elucidate` sets it.

    Raises:
        SpectrumError: no compound can have these lines: there is none, or the formula has too few
            atoms for them.
    """

    id: Id
    spectrum: Spectrum
    formula: Formula | None = None
    library: Library | None = None
    top: int = DEFAULT_TOP
    seconds: float = DEFAULT_SECONDS
    deadline: float = math.inf

    def __post_init__(self) -> None:
        if not self.spectrum.peaks:
            raise SpectrumError("the peak list is empty")
        if self.formula is None:
            return
        nucleus = Nucleus.parse(self.spectrum.nucleus)
        atoms = self.formula[nucleus.element]
        if not atoms:
            raise SpectrumError(
                f"the formula {self.formula} has no {nucleus.element}, so it gives no {nucleus} "
                "line: check formula and nucleus"
            )
        if self.line_count > atoms:
            raise SpectrumError(
                f"there are {self.line_count} distinct lines, but {self.formula} has only {atoms} "
                f"{nucleus.element}: check the formula, or remove lines of solvent and impurities"
            )

    @property
    def line_count(self) -> int:
        """Number of distinct shifts; each comes from an atom of its own."""
        return len(set(self.spectrum.shifts))


class Inversion:
    """A model run backwards for one query: features that would give its spectrum.

    Args:
        model: in evaluation mode.
        target: (K,), what the codec makes of the spectrum.
        formulas: those that the compound may have, with their weights; empty where nothing is
            known of it.
        seed: of the free parts.

    Attributes:
        model: run backwards.
        target: (K,).
    """

    def __init__(
        self, model: ReversibleModel, target: Tensor, formulas: Mapping[Formula, float], seed: int
    ) -> None:
        self.model = model
        self.target = target
        self._generator = torch.Generator().manual_seed(seed)
        self._weights = torch.tensor(list(formulas.values()), dtype=torch.float64)
        vectors = [torch.from_numpy(formula.vector()) for formula in formulas]
        self._conditions = torch.stack(vectors) if vectors else torch.zeros(0, VECTOR_WIDTH)

    @torch.no_grad()
    def sample(self, count: int) -> Tensor:
        """Draw features (count, F): the code of the spectrum, a standard normal free part, and
        one of the formulas.

        Raises:
            UsageError: the model needs a formula, and none is known.
        """
        model = self.model
        free = torch.randn(count, model.free_width, generator=self._generator)
        code = model.codec.embed(self.target.to(model.device)).expand(count, -1)
        if len(self._conditions):
            chosen = torch.multinomial(
                self._weights, count, replacement=True, generator=self._generator
            )
            condition = self._conditions[chosen]
        elif model.backbone.condition_width:
            raise UsageError(
                "this model runs backwards for a given formula only: give the formula, or a "
                "library whose formulas can be tried"
            )
        else:
            condition = torch.zeros(count, VECTOR_WIDTH)
        return model.inverse(code, free.to(model.device), condition.to(model.device))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A structure that may have given the spectrum.

    Args:
        smiles: canonical.
        probability: that it is the right one.
        mae_ppm: mean absolute difference of observed and predicted lines.
        source: the generator that proposed it first.
    """

    smiles: str
    probability: float
    mae_ppm: float
    source: str


@dataclass(frozen=True, slots=True)
class Elucidation:
    """The answer to a query.

    Args:
        candidates: all that were found, most probable first; with `none_of_these`, the
            probabilities sum to 1.
        none_of_these: probability that the compound is not among them.
        seconds: that it took.
        notes: what the user should know.
    """

    candidates: tuple[Candidate, ...]
    none_of_these: float
    seconds: float
    notes: tuple[str, ...]


def elucidate(
    loaded: LoadedModel,
    query: Query,
    generators: Mapping[str, CandidateGenerator],
    *,
    seed: int = 0,
    require_all: bool = True,
) -> Elucidation:
    """Find structures for a spectrum.

    Args:
        loaded: the model.
        query: the lines and what is known of the compound.
        generators: by name; in this order, each may take an equal share of the time left.
        seed: of the draws.
        require_all: raise if a generator cannot serve the query, else leave it out while another
            can.

    Raises:
        UsageError: a generator needs something that the model or the query lacks.
        SpectrumError: the codec cannot take the spectrum.
    """
    start = time.monotonic()
    query = replace(query, deadline=start + query.seconds)
    target = torch.from_numpy(loaded.model.codec.encode(query.spectrum))
    entries = None
    if query.library is not None:
        entries = query.library.matching(query.formula, query.line_count)
    inversion = Inversion(loaded.model, target, _formulas(query, entries), seed)
    pool = _Pool(loaded, query, target)
    refusals = []
    for place, (name, generator) in enumerate(generators.items()):
        now = time.monotonic()
        share = max(query.deadline - now, 0.0) / (len(generators) - place)
        part = replace(query, deadline=now + share)
        try:
            for molecule in generator.generate(part, inversion):
                pool.offer(molecule, name)
                if time.monotonic() >= part.deadline:
                    break
        except UsageError as error:
            if require_all:
                raise
            refusals.append(f"{name}: {error}")
    if len(refusals) == len(generators):
        raise UsageError("nothing can propose candidates: " + "; ".join(refusals))
    notes = _spectrum_notes(query)
    if entries is not None and not len(entries):
        what = f"of formula {query.formula}" if query.formula else "with enough atoms for the lines"
        notes.append(f"the library has no structure {what}")
    candidates, none_of_these = pool.rank(0 if entries is None else len(entries))
    notes += pool.notes()
    if not candidates:
        notes.append("no candidate was found")
    return Elucidation(tuple(candidates), none_of_these, time.monotonic() - start, tuple(notes))


def elucidation_row(query: Query, result: Elucidation) -> Row:
    """The row that answers a query; `notes` only where there are some."""
    row: Row = {
        "id": query.id,
        "candidates": [
            {
                "rank": rank,
                "smiles": candidate.smiles,
                "probability": round(candidate.probability, _PROBABILITY_DIGITS),
                "mae_ppm": round(candidate.mae_ppm, 2),
                "source": candidate.source,
            }
            for rank, candidate in enumerate(result.candidates[: query.top], start=1)
        ],
        "none_of_these": round(result.none_of_these, _PROBABILITY_DIGITS),
        "seconds": round(result.seconds, 2),
    }
    if result.notes:
        row["notes"] = list(result.notes)
    return row


def matched_mae(observed: Sequence[float], predicted: Sequence[float]) -> float:
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


@dataclass(slots=True)
class _Scored:
    smiles: str
    source: str
    score: float
    mae_ppm: float
    letters_agree: bool


@dataclass(slots=True)
class _Pool:
    """Candidates of all generators: each constitution once, checked and scored in batches."""

    loaded: LoadedModel
    query: Query
    target: Tensor
    _known: set[str] = field(default_factory=set)
    _pending: list[tuple[Molecule, str]] = field(default_factory=list)
    _scored: list[_Scored] = field(default_factory=list)
    _refused: list[str] = field(default_factory=list)

    def offer(self, molecule: Molecule, source: str) -> None:
        """Take a candidate, if it is new and fits what is known."""
        key = canonical_smiles(molecule)
        if key in self._known:
            return
        self._known.add(key)
        try:
            checked = parse_smiles(canonical_smiles(molecule, stereo=True))
        except MoleculeError:
            return
        formula, nucleus = self.query.formula, self.loaded.model.nucleus
        if formula is not None and Formula.of_molecule(checked) != formula:
            return
        if len(nucleus.sites(checked)) < self.query.line_count:
            return
        self._pending.append((checked, source))
        if len(self._pending) >= BATCH_SIZE:
            self._score_pending()

    def rank(self, considered: int) -> tuple[list[Candidate], float]:
        """All candidates, most probable first, and the probability of none of them.

        Args:
            considered: how many were compared with the spectrum at the least, those included that
                a generator has left out as unlikely.
        """
        self._score_pending()
        if not self._scored:
            return [], 1.0
        self._scored.sort(key=lambda item: (-item.score, item.smiles))
        model, calibration = self.loaded.model, self.loaded.calibration
        with torch.no_grad():
            background = model.codec.log_likelihood(
                model.mean_code[None], self.target[None].to(model.device)
            )
        # All that were considered share the prior weight; what was left out has no likelihood.
        found = len(self._scored)
        unseen = calibration.temperature * math.log(max(considered, found) / found)
        probabilities = posterior(
            np.array([[item.score for item in self._scored]]),
            background.double().cpu().numpy() + unseen,
            calibration,
        )[0]
        candidates = [
            Candidate(item.smiles, float(probability), item.mae_ppm, item.source)
            for item, probability in zip(self._scored, probabilities[:-1], strict=True)
        ]
        return candidates, float(probabilities[-1])

    def notes(self) -> list[str]:
        """What the user should know of the candidates."""
        notes = []
        if self._refused:
            notes.append(
                f"{len(self._refused)} candidates left out that the model cannot represent, the "
                f"first: {self._refused[0]}"
            )
        shown = self._scored[: self.query.top]
        if shown and not any(item.letters_agree for item in shown):
            notes.append("none of the candidates shown has the multiplicities given")
        return notes

    def _score_pending(self) -> None:
        model = self.loaded.model
        prepared, refusals = prepare_molecules(model, (m for m, _ in self._pending))
        self._refused += [refusal for refusal in refusals if refusal]
        kept = [item for item, refusal in zip(self._pending, refusals, strict=True) if not refusal]
        self._pending = []
        if not kept:
            return
        molecules = [molecule for molecule, _ in kept]
        prediction = predict_prepared(model, [p for p in prepared if p is not None], molecules)
        with torch.no_grad():
            target = self.target.to(model.device).expand(len(molecules), -1)
            scores = model.codec.log_likelihood(prediction.code, target).double().cpu().numpy()
        spectra = predicted_spectra(self.loaded, prediction, molecules)
        observed = self.query.spectrum
        for (molecule, source), score, spectrum in zip(kept, scores, spectra, strict=True):
            self._scored.append(
                _Scored(
                    canonical_smiles(molecule, stereo=True),
                    source,
                    float(score),
                    matched_mae(observed.shifts, spectrum.shifts),
                    _letters_agree(observed, model.nucleus.multiplicities(molecule)),
                )
            )


def _formulas(query: Query, entries: NDArray[np.int64] | None) -> dict[Formula, float]:
    """Formulas that the compound may have: its own, else those of the library's entries."""
    if query.formula is not None:
        return {query.formula: 1.0}
    if query.library is None or entries is None:
        return {}
    counts = query.library.formula_counts(entries)
    # The text of a structure without any known element, such as a lone dummy atom, is empty.
    return {Formula.parse(text): float(count) for text, count in counts.items() if text}


def _letters_agree(observed: Spectrum, expected: Sequence[str]) -> bool:
    """Whether a structure has enough atoms for the distinct lines of each letter."""
    if observed.nucleus not in HYDROGEN_LETTER_NUCLEI:
        return True
    lines = {(peak.ppm, peak.multiplicity) for peak in observed.peaks}
    given = [letter for _, letter in lines if letter in _HYDROGENS_OF_LETTER]
    return all(given.count(letter) <= expected.count(letter) for letter in set(given))


def _spectrum_notes(query: Query) -> list[str]:
    """What is odd about the lines, though not impossible."""
    notes: list[str] = []
    spectrum, formula = query.spectrum, query.formula
    nucleus = Nucleus.parse(spectrum.nucleus)
    if formula is None:
        return notes
    atoms = formula[nucleus.element]
    if len(spectrum.peaks) > atoms:
        notes.append(
            f"{len(spectrum.peaks)} lines for {atoms} {nucleus.element}: repeated shifts were "
            "taken as one"
        )
    if spectrum.nucleus in HYDROGEN_LETTER_NUCLEI:
        lines = {(peak.ppm, peak.multiplicity) for peak in spectrum.peaks}
        hydrogens = sum(_HYDROGENS_OF_LETTER.get(letter, 0) for _, letter in lines)
        if hydrogens > formula["H"]:
            notes.append(
                f"the multiplicities need at least {hydrogens} hydrogens, but {formula} has "
                f"{formula['H']}"
            )
    return notes
