"""Molecular formulas that a compound may have, from its lines and, where known, its mass."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from nmrtk.formula import CARBON, HYDROGEN, Formula
from nmrtk.formula_checks import VALENCES
from nmrtk.nucleus import DEFAULT_NUCLEUS
from nmrtk.query import Query, least_hydrogens
from nmrtk.solvents import solvent_lines

MOST_FORMULAS = 60
"""Formulas that are told apart; all others together are improbable."""

STATISTICS = "formula_statistics.json"

ELEMENTS = ("N", "O", "S", "F", "Cl", "Br", "I", "P", "Si", "B")
"""Elements beside carbon and hydrogen that a formula is made of."""

CARBON_EDGES = (3, 6, 9, 12, 15, 18, 22, 28)
"""Numbers of carbons at which a new group of the statistics begins."""

LINE_EDGES = (3, 6, 9, 12, 15, 18, 22, 28)
"""The same of distinct lines."""

UNSATURATED_PPM = 95.0
"""Carbons with a line above this shift mostly have a double bond."""

LEAST_UNSATURATION = -5
"""First of the bins of the excess of unsaturation over what the lines above `UNSATURATED_PPM`
show."""

_PRUNED = 9.0  # nats below the best at which what is improbable is left out
_PRUNED_WITH_MASS = 14.0  # the mass leaves few, so that more can be looked at
_MOST_ROWS = 4000  # combinations of elements for each number of carbons
_SMOOTHING = 0.3  # counted in each bin, so that what was never seen is not impossible


def candidate_formulas(query: Query) -> dict[Formula, float]:
    """Formulas that a compound may have with their probabilities, the most probable first.

    The prior counts, in the training molecules, the atoms of each element by the number of
    carbons, the carbons by the number of distinct lines, and rings and double bonds by the lines
    above 95 ppm (`formula_statistics.json`, made by `benchmarks/formula_statistics.py` from the
    train split of nmrshiftdb2's 13C spectra). Formulas need a carbon for each distinct line that
    can be no solvent's, the hydrogens that the letters show, and the mass where it is given. They
    are neutral.

    Returns:
        At most `MOST_FORMULAS`; the rest of the probability is that of all others. Empty where the
        nucleus is not 13C or nothing fits.
    """
    if query.spectrum.nucleus != DEFAULT_NUCLEUS:
        return {}
    solvent = solvent_lines(query.spectrum)
    shifts = sorted(set(query.spectrum.shifts))
    own = [ppm for ppm in shifts if ppm not in solvent] or shifts
    least_carbons = max(query.least_sites, 1)
    unsaturated = sum(ppm > UNSATURATED_PPM for ppm in own)
    pruned = _PRUNED if query.mass is None else _PRUNED_WITH_MASS
    table = _Table()
    for carbons in range(least_carbons, least_carbons + len(_statistics()["carbons"][0])):
        table.extend(carbons, len(own), unsaturated, pruned, query.mass)
    return table.formulas(query)


class _Table:
    """All formulas that are not improbable: counts and logarithms of probabilities."""

    def __init__(self) -> None:
        self._counts: list[NDArray[np.int64]] = []
        self._logs: list[NDArray[np.float64]] = []
        self._best = -math.inf

    def extend(
        self, carbons: int, lines: int, unsaturated: int, pruned: float, mass: float | None
    ) -> None:
        """Add those with so many carbons."""
        statistics = _statistics()
        of_carbons = statistics["carbons"][group_of(lines, LINE_EDGES)]
        excess = max(carbons - lines, 0)
        start = _log_share(of_carbons)[min(excess, len(of_carbons) - 1)]
        if start < self._best - pruned or (mass is not None and 12.0 * carbons > mass + 1):
            return
        group = group_of(carbons, CARBON_EDGES)
        # Columns: C, H, then ELEMENTS.
        counts = np.array([[carbons, 0, *[0] * len(ELEMENTS)]])
        logs = np.array([start])
        for place, symbol in enumerate(ELEMENTS):
            shares = _log_share(statistics["elements"][symbol][group])
            counts, logs = _crossed(counts, logs, shares, 2 + place, symbol, mass)
            keep = np.flatnonzero(logs > logs.max() - pruned)
            if len(keep) > _MOST_ROWS:
                keep = keep[np.argpartition(-logs[keep], _MOST_ROWS)[:_MOST_ROWS]]
            counts, logs = counts[keep], logs[keep]
        shares = _log_share(statistics["unsaturation"][group])
        valence = np.array([VALENCES[symbol] - 2 for symbol in (CARBON, HYDROGEN, *ELEMENTS)])
        most = counts @ valence + 2
        for bin_number, share in enumerate(shares.tolist()):
            rings = bin_number + LEAST_UNSATURATION + unsaturated // 2
            hydrogens = most - 2 * rings
            fits = (hydrogens >= 0) & (rings >= 0)
            if not fits.any():
                continue
            added = counts[fits].copy()
            added[:, 1] = hydrogens[fits]
            sums = logs[fits] + share
            self._best = max(self._best, float(sums.max()))
            near = sums > self._best - pruned
            self._counts.append(added[near])
            self._logs.append(sums[near])

    def formulas(self, query: Query) -> dict[Formula, float]:
        """The most probable ones that fit."""
        if not self._counts:
            return {}
        counts, logs = np.concatenate(self._counts), np.concatenate(self._logs)
        fits = counts[:, 1] >= least_hydrogens(query.spectrum)
        if query.mass is not None:
            masses = counts @ _masses()
            tolerance = query.mass * query.mass_tolerance_ppm * 1e-6
            fits &= np.abs(masses - query.mass) <= tolerance
        counts, logs = counts[fits], logs[fits]
        if not len(logs):
            return {}
        weights = np.exp(logs - logs.max())
        weights /= weights.sum()
        order = np.argsort(-weights, kind="stable")[:MOST_FORMULAS]
        symbols = (CARBON, HYDROGEN, *ELEMENTS)
        return {
            Formula.of_counts(dict(zip(symbols, counts[row].tolist(), strict=True))): float(
                weights[row]
            )
            for row in order.tolist()
        }


def group_of(count: int, edges: Sequence[int]) -> int:
    """Number of the group of the statistics that a count falls into."""
    return int(np.searchsorted(np.asarray(edges), count, side="right"))


def _crossed(
    counts: NDArray[np.int64],
    logs: NDArray[np.float64],
    shares: NDArray[np.float64],
    column: int,
    symbol: str,
    mass: float | None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Every row with every count of one more element."""
    numbers = np.arange(len(shares))
    crossed = np.repeat(counts, len(numbers), axis=0)
    crossed[:, column] = np.tile(numbers, len(counts))
    sums = np.repeat(logs, len(numbers)) + np.tile(shares, len(counts))
    if mass is not None:
        light = crossed @ _masses() <= mass + 1
        crossed, sums = crossed[light], sums[light]
    return crossed, sums


def _log_share(counts: Sequence[int]) -> NDArray[np.float64]:
    smoothed = np.asarray(counts, np.float64) + _SMOOTHING
    shares: NDArray[np.float64] = np.log(smoothed / smoothed.sum())
    return shares


@cache
def _masses() -> NDArray[np.float64]:
    table = Chem.GetPeriodicTable()
    return np.array([table.GetMostCommonIsotopeMass(s) for s in (CARBON, HYDROGEN, *ELEMENTS)])


@cache
def _statistics() -> Mapping[str, Any]:
    text = (resources.files("nmrtk") / "data" / STATISTICS).read_text(encoding="utf-8")
    statistics: Mapping[str, Any] = json.loads(text)
    return statistics
