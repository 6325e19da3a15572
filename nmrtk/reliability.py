"""Whether stated probabilities are true: section `confidence`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nmrtk.calibration import likelihood_matrix, posterior
from nmrtk.candidates import line_posterior
from nmrtk.checkpoint import LoadedModel
from nmrtk.cohort import Cohort, Forward, Report
from nmrtk.coverage import Coverage
from nmrtk.line_score import LineScore, arrays, hydrogen_counts
from nmrtk.molecule import canonical_smiles
from nmrtk.scoring import RankScore, rank_of, score_ranks
from nmrtk.spectrum import Spectrum, spectrum_of_shifts
from nmrtk.tables import Table, percent

EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.0)
"""Ends of the bins of stated probabilities."""

CONFIDENCES = (0.5, 0.8, 0.9, 0.95)
"""Stated probabilities from which the first candidate is looked at on its own."""

_EXACT = 256  # entries of the library that get the exact score
_DRAWS = 1000  # of right and wrong, for the error of true probabilities

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Queries whose first candidate has a probability in a range.

    Args:
        low: end of the range, included.
        high: end of the range, included in the last one only.
        queries: how many.
        stated: mean stated probability; None where there is no query.
        observed: share of them whose first candidate is right; likewise.
    """

    low: float
    high: float
    queries: int
    stated: float | None
    observed: float | None


@dataclass(frozen=True, slots=True)
class ConfidentScore:
    """Queries whose first candidate has at least some probability.

    Args:
        least: that probability.
        share: of all queries.
        top_1: share of them whose first candidate is right; None where there is none.
    """

    least: float
    share: float
    top_1: float | None


@dataclass(frozen=True, slots=True)
class Reliability:
    """Stated against observed probability of the first candidate.

    Args:
        bins: by stated probability.
        calibration_error: mean over queries of the difference between stated and observed
            probability of their bin (expected calibration error).
        chance_error: the same, on average, if every stated probability were true: with few queries
            it is far from 0.
        confident: top-1 from some stated probabilities on.
    """

    bins: list[ReliabilityBin]
    calibration_error: float
    chance_error: float
    confident: list[ConfidentScore]

    @property
    def note(self) -> str:
        """Both errors, in words."""
        return (
            f"Expected calibration error: {self.calibration_error:.3f}; with so many queries, true "
            f"probabilities would have {self.chance_error:.3f}."
        )

    def rows(self) -> list[list[str]]:
        """Lines of a table: what, number of queries, stated, observed."""
        rows = [
            [
                f"stated {one.low:.0%} to {one.high:.0%}",
                str(one.queries),
                percent(one.stated),
                percent(one.observed),
            ]
            for one in self.bins
        ]
        rows += [
            [f"stated at least {one.least:.0%}", percent(one.share), "", percent(one.top_1)]
            for one in self.confident
        ]
        return rows


def measure_reliability(stated: Sequence[float] | Floats, right: Booleans) -> Reliability:
    """Compare what was stated of first candidates with whether they are right.

    Args:
        stated: (Q,), probability of the first candidate of each query; 0 where there is none.
        right: (Q,), whether it is the right one.

    Example:
        >>> found = measure_reliability([0.9, 0.9, 0.1, 0.1], np.array([True, True, False, False]))
        >>> round(found.calibration_error, 3), found.confident[2].top_1
        (0.1, 1.0)
    """
    probability = np.asarray(stated, np.float64)
    place = np.clip(np.searchsorted(EDGES, probability, side="right") - 1, 0, len(EDGES) - 2)
    bins, error = [], 0.0
    for number, (low, high) in enumerate(pairwise(EDGES)):
        inside = place == number
        count = int(inside.sum())
        said = float(probability[inside].mean()) if count else None
        seen = float(right[inside].mean()) if count else None
        if said is not None and seen is not None:
            error += count * abs(said - seen)
        bins.append(ReliabilityBin(low, high, count, said, seen))
    confident = []
    for least in CONFIDENCES:
        sure = probability >= least
        confident.append(
            ConfidentScore(
                least,
                float(sure.sum() / max(len(sure), 1)),
                float(right[sure].mean()) if sure.any() else None,
            )
        )
    count = max(len(probability), 1)
    return Reliability(bins, error / count, _chance_error(probability, place), confident)


def _chance_error(probability: Floats, place: NDArray[np.int64]) -> float:
    """Mean expected calibration error of true probabilities (Q,) in the bins (Q,)."""
    if not len(probability):
        return 0.0
    random = np.random.default_rng(0)
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))
    said = probability[order]
    errors = [
        np.abs(np.add.reduceat((random.random(len(said)) < said) - said, starts)).sum()
        for _ in range(_DRAWS)
    ]
    return float(np.mean(errors)) / len(said)


@dataclass(frozen=True, slots=True)
class ConfidenceSection:
    """The library search of every spectrum of the split, with what it states.

    Args:
        library: number of different constitutions.
        queries: number of spectra.
        absent: number of those whose constitution was taken out of the library.
        ranks: of the right constitutions, where they are in it.
        reliability: of the probabilities.
    """

    library: int
    queries: int
    absent: int
    ranks: RankScore
    reliability: Reliability

    def table(self) -> Table:
        """One row a range of stated probabilities."""
        return Table(
            f"Confidence: {self.queries} spectra, library of {self.library} constitutions",
            ["first candidate", "queries", "stated", "right"],
            self.reliability.rows(),
            (
                "Bare lines, equivalent atoms once, no formula; candidates are scored as by "
                f"`nmrtk elucidate`. Of {self.absent} spectra the right constitution was taken out "
                "of the library, so that nothing is right. Where it is there it is first in "
                f"{percent(self.ranks.top_1)} and among the first ten in "
                f"{percent(self.ranks.top_10)}. {self.reliability.note}",
            ),
        )


def evaluate_confidence(
    loaded: LoadedModel, cohort: Cohort, forward: Forward, report: Report
) -> ConfidenceSection:
    """Look every spectrum up among the molecules of the cohort; of every second one the right
    constitution is not among them.

    Args:
        loaded: the model.
        cohort: the molecules.
        forward: over the cohort.
        report: told of the progress.
    """
    keys = [canonical_smiles(molecule) for molecule in cohort.molecules]
    entries = {key: row for row, key in reversed(list(enumerate(keys)))}
    rows = np.array(sorted(entries.values()))
    place = {keys[row]: index for index, row in enumerate(rows.tolist())}
    search = _LineSearch(loaded, cohort, forward, rows) if forward.lines is not None else None
    stated, right, ranks = [], [], []
    for number, (key, example) in enumerate(zip(keys, cohort.examples, strict=True)):
        answer, absent = place[key], number % 2 == 1
        if search is not None:
            probabilities = search.probabilities(example.spectrum, answer if absent else None)
        else:
            probabilities = _code_probabilities(
                loaded, forward, rows, number, answer if absent else None
            )
        best = int(probabilities.argmax()) if len(probabilities) else -1
        stated.append(float(probabilities[best]) if best >= 0 else 0.0)
        right.append(best == answer and not absent)
        if not absent:
            ranks.append(rank_of(probabilities[None], np.array([answer]))[0])
        report(number + 1, len(cohort))
    return ConfidenceSection(
        len(rows),
        len(stated),
        len(stated) // 2,
        score_ranks(np.array(ranks, np.int64)),
        measure_reliability(stated, np.array(right)),
    )


class _LineSearch:
    """Scores of the entries of a library by their predicted lines."""

    def __init__(
        self, loaded: LoadedModel, cohort: Cohort, forward: Forward, rows: NDArray[np.int64]
    ) -> None:
        if forward.lines is None:
            raise ValueError("there are no lines")
        self._settings = loaded.calibration.score
        shift, scale, owner = arrays(forward.lines)
        hydrogens = hydrogen_counts(loaded.model.nucleus, cohort.molecules)
        number = np.full(len(cohort), -1)
        # Entries without a site give no line.
        present = np.isin(rows, owner)
        self._entries = np.flatnonzero(present)
        number[rows[present]] = np.arange(len(self._entries))
        kept = number[owner] >= 0
        self._sites = shift[kept], scale[kept], number[owner][kept], hydrogens[kept]
        self._count = len(rows)

    def probabilities(self, spectrum: Spectrum, left_out: int | None) -> Floats:
        """Of each entry of the library (N,), the one left out having none."""
        bare = spectrum_of_shifts(spectrum.nucleus, sorted(set(spectrum.shifts)))
        score = LineScore(bare, self._settings)
        shift, scale, owner, hydrogens = self._sites
        rough = score.screen(shift, scale, owner, hydrogens)
        best = np.sort(np.argsort(-rough, kind="stable")[:_EXACT])
        chosen = np.zeros(len(rough), np.bool_)
        chosen[best] = True
        inside = chosen[owner]
        number = np.cumsum(chosen) - 1
        scores = np.full((1, self._count), -np.inf)
        scores[0, self._entries[best]] = score.score_arrays(
            shift[inside], scale[inside], number[owner[inside]], hydrogens[inside]
        )
        if left_out is not None:
            scores[0, left_out] = -np.inf
        rows = line_posterior(scores, Coverage(len(score.lines), self._count), self._settings)
        probabilities: Floats = rows[0, :-1]
        return probabilities


def _code_probabilities(
    loaded: LoadedModel,
    forward: Forward,
    rows: NDArray[np.int64],
    query: int,
    left_out: int | None,
) -> Floats:
    """The same by the likelihood of the code."""
    codec, model = loaded.model.codec, loaded.model
    target = forward.target[query : query + 1]
    scores = likelihood_matrix(codec, forward.outputs[rows, : codec.width], target)
    background = likelihood_matrix(codec, model.mean_code.cpu()[None], target)[:, 0]
    if left_out is not None:
        scores[0, left_out] = -np.inf
    probabilities: Floats = posterior(scores, background, loaded.calibration)[0, :-1]
    return probabilities
