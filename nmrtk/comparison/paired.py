"""Differences between recipes on the same molecules, with confidence intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nmrtk.scoring import FloatArray

CONFIDENCE = 0.95
DRAWS = 4000

_MOST_WEIGHTS = 1 << 22
"""Weights that are in memory at a time."""


@dataclass(frozen=True, slots=True)
class Sums:
    """A figure that is a ratio of sums over molecules, such as a mean absolute error: all errors
    over all lines.

    Args:
        above: (S, M), what each of M molecules adds to the numerator, for each of S seeds.
        below: (S, M), likewise for the denominator.
    """

    above: FloatArray
    below: FloatArray

    def values(self) -> FloatArray:
        """The figure of each seed, (S,); nan where nothing stands below."""
        return self._ratio(self.above.sum(1), self.below.sum(1))

    def weighted(self, weights: FloatArray) -> FloatArray:
        """The figure (D, S) with every molecule counted as often as weights (D, M) say."""
        return self._ratio(weights @ self.above.T, weights @ self.below.T)

    @staticmethod
    def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
        empty = np.full(above.shape, np.nan)
        ratio: FloatArray = np.divide(above, below, out=empty, where=below > 0)
        return ratio


@dataclass(frozen=True, slots=True)
class Difference:
    """Of two recipes in one figure, the other's minus the first's.

    Args:
        mean: over the seeds.
        low: lower end of the confidence interval.
        high: its upper end.
        spread: the larger of the two standard deviations over seeds; None for one seed.
        molecules: M, on which both were measured.
        seeds: S, with which both were trained.
    """

    mean: float
    low: float
    high: float
    spread: float | None
    molecules: int
    seeds: int

    @property
    def is_clear(self) -> bool:
        """Whether it is larger than the spread of seeds, and its interval leaves out zero."""
        beyond_seeds = self.spread is not None and abs(self.mean) > self.spread
        return beyond_seeds and (self.low > 0 or self.high < 0)


def paired_difference(first: Sums, other: Sums, *, seed: int = 0, draws: int = DRAWS) -> Difference:
    """Difference of two recipes that were trained with the same seeds and measured on the same
    molecules.

    The interval is a bootstrap. Molecules are drawn with replacement, the same for both recipes
    (Efron and Tibshirani, An Introduction to the Bootstrap, 1993). A few seeds do not show their
    own spread, and drawing three of three with replacement would understate it: what they add is
    drawn from Student's t distribution with S - 1 degrees of freedom, times the standard error of
    the differences seed by seed. With one seed the interval is that of the molecules alone.

    Args:
        first: (S, M).
        other: (S, M).
        seed: of the draws.
        draws: number of them.
    """
    seeds, molecules = first.above.shape
    rng = np.random.default_rng(seed)
    found = []
    step = max(1, _MOST_WEIGHTS // max(molecules, 1))
    for start in range(0, draws, step):
        count = min(step, draws - start)
        chosen = rng.multinomial(molecules, np.full(molecules, 1 / molecules), size=count)
        weights = chosen.astype(np.float64)
        gaps = other.weighted(weights) - first.weighted(weights)
        means = gaps.mean(1)
        if seeds > 1:
            means += rng.standard_t(seeds - 1, count) * gaps.std(1, ddof=1) / math.sqrt(seeds)
        found.append(means)
    outside = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(np.concatenate(found), [outside, 1 - outside])
    ours, theirs = first.values(), other.values()
    spread = max(ours.std(ddof=1), theirs.std(ddof=1)) if seeds > 1 else None
    return Difference(
        float((theirs - ours).mean()),
        float(low),
        float(high),
        None if spread is None else float(spread),
        molecules,
        seeds,
    )
