"""Figures of merit: for codes, lines, ranks and round trips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class CodeScore:
    """Agreement of predicted with observed occupied bins.

    Args:
        micro_f1: over all bins of all molecules together.
        macro_f1: mean over the bins of the F1 of each; a bin that is neither predicted nor
            observed anywhere counts 0, as in scikit-learn and the seed paper.
        macro_f1_seen: mean over the bins that are observed somewhere.
    """

    micro_f1: float
    macro_f1: float
    macro_f1_seen: float


@dataclass(frozen=True, slots=True)
class LineScore:
    """Errors of predicted lines, in ppm.

    Args:
        lines: how many.
        mae: mean absolute error.
        median: median absolute error.
        rmse: root mean square error.
        within_1: share with an error of at most the unit.
        within_2: share with an error of at most two units.
        coverage: nominal share of each interval, and the share of lines in it; None where the
            predictor gives no sigma.
    """

    lines: int
    mae: float
    median: float
    rmse: float
    within_1: float
    within_2: float
    coverage: dict[str, float] | None


@dataclass(frozen=True, slots=True)
class RankScore:
    """Ranks of the true answers.

    Args:
        top_1: share of the queries whose answer has rank 1.
        top_10: share of those at rank 10 or better.
        median_rank: counted from 1.
        mean_reciprocal_rank: mean of 1 / rank.
    """

    top_1: float
    top_10: float
    median_rank: float
    mean_reciprocal_rank: float


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and standard deviation over a sample."""

    mean: float
    sd: float

    @classmethod
    def of(cls, values: FloatArray) -> Moments:
        """Of values of any shape; the population's deviation."""
        return cls(float(np.mean(values)), float(np.std(values)))


def score_code(predicted: BoolArray, observed: BoolArray) -> CodeScore:
    """Score bins (B, N) against bins (B, N)."""
    hits = (predicted & observed).sum(0)
    total = predicted.sum(0) + observed.sum(0)
    f1 = np.divide(2.0 * hits, total, out=np.zeros(len(hits)), where=total > 0)
    seen = observed.any(0)
    return CodeScore(
        float(2 * hits.sum() / max(total.sum(), 1)),
        float(f1.mean()),
        float(f1[seen].mean()) if seen.any() else 0.0,
    )


def best_threshold(occupancy: FloatArray, observed: BoolArray) -> float:
    """The threshold on occupancy (B, N) above which bins are taken as occupied, for the highest
    micro-F1 that any threshold reaches.
    """
    scores = occupancy.ravel()
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(observed.ravel()[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + observed.sum())
    ranked = scores[order]
    # A threshold takes all bins of one score or none: it lies where the score changes.
    ends = np.flatnonzero(np.append(ranked[1:] < ranked[:-1], True))
    best = ends[np.argmax(f1[ends])]
    if best + 1 == len(ranked):
        return float(np.nextafter(ranked[best], -np.inf))
    # In the precision of the scores, else comparing them with the threshold would round it.
    middle = (ranked[best] + ranked[best + 1]) / 2
    return float(middle if middle < ranked[best] else ranked[best + 1])


def score_lines(
    errors: FloatArray,
    sigmas: FloatArray | None = None,
    half_widths: Mapping[float, float] | None = None,
    unit: float = 1.0,
) -> LineScore:
    """Score lines by their errors.

    Args:
        errors: (L,), predicted minus observed shift in ppm; at least one.
        sigmas: (L,), sigma of each predicted line in ppm.
        half_widths: of the interval that should hold each share of the lines, in sigmas.
        unit: in ppm, for `within_1` and `within_2`.

    Example:
        >>> score_lines(np.array([0.5, -1.5])).mae
        1.0
    """
    size = np.abs(errors)
    coverage = None
    if sigmas is not None and half_widths is not None:
        coverage = {
            f"{share:g}": float(np.mean(size <= width * sigmas))
            for share, width in half_widths.items()
        }
    return LineScore(
        len(size),
        float(size.mean()),
        float(np.median(size)),
        float(np.sqrt(np.square(size).mean())),
        float(np.mean(size <= unit)),
        float(np.mean(size <= 2 * unit)),
        coverage,
    )


def score_ranks(ranks: NDArray[np.int64]) -> RankScore:
    """Score ranks (Q,), counted from 1.

    Example:
        >>> score_ranks(np.array([1, 4])).top_1
        0.5
    """
    return RankScore(
        float(np.mean(ranks <= 1)),
        float(np.mean(ranks <= 10)),
        float(np.median(ranks)),
        float(np.mean(1.0 / ranks)),
    )


def rank_of(scores: FloatArray, answers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ranks (Q,) of the answers among candidates, the highest score first.

    Candidates that score the same as the answer, or whose score is no number, stand before it: a
    predictor that cannot tell them apart gains nothing.

    Args:
        scores: (Q, N).
        answers: (Q,), index of the right candidate of each query.
    """
    own = np.take_along_axis(scores, answers[:, None], axis=1)
    return np.asarray((~(scores < own)).sum(axis=1), dtype=np.int64)


def correlation(one: FloatArray, other: FloatArray) -> float | None:
    """Pearson correlation of two samples (B,); None where one of them does not vary."""
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(np.corrcoef(one, other)[0, 1])
