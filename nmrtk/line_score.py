"""How likely the observed lines are if a candidate is the compound, at the resolution of ppm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from nmrtk.interfaces import AtomLines
from nmrtk.molecule import Molecule
from nmrtk.nucleus import HYDROGEN_LETTER_NUCLEI, Nucleus
from nmrtk.score_settings import ScoreSettings
from nmrtk.solvents import solvent_lines
from nmrtk.spectrum import Spectrum

HYDROGENS = {"S": 0, "D": 1, "T": 2, "Q": 3}
"""Hydrogens on a carbon with each letter."""

UNKNOWN = -1
"""Stands for a number of hydrogens that is not known."""

_SAME_PPM = 2e-3  # predicted lines of equivalent sites differ by rounding alone
_LETTER_SPAN = 1e5  # ppm; more than any difference of shifts, so that letters never mix
_LEAST_SCALE = 1e-3
_EXPLAINED = 3.0  # nats; a log-density of a site's best line above minus this is no surprise

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Match:
    """Which line belongs to which sites of one candidate.

    Args:
        line_of_site: for each site the index of its observed line, or -1 where it has none.
        log_likelihood: of the lines, in nats.
        mae_ppm: mean absolute difference of the sites that have a line from it.
        extra: indices of observed lines that belong to no site.
        letters_differ: number of lines whose letter is not that of their site.
    """

    line_of_site: tuple[int, ...]
    log_likelihood: float
    mae_ppm: float
    extra: tuple[int, ...]
    letters_differ: int

    @property
    def missing(self) -> int:
        """Number of sites without a line."""
        return self.line_of_site.count(-1)


class LineScore:
    """Log-likelihood of observed lines under the predicted lines of candidates.

    A line lies around its prediction with a Laplace distribution of the calibrated scale, or, for a
    small share of the lines, of a wide one, so that a single bad prediction does not rule out a
    structure. Which line belongs to which site is chosen for the highest likelihood:

    - With as many lines as sites they are matched in order, letter by letter where all letters are
      given and are those of the candidate.
    - Otherwise each distinct line belongs to at least one site. Sites whose predictions are equal
      share a line at no cost. Others that share one, sites without a line, lines without a site,
      and letters that differ from the candidate's hydrogens cost what `ScoreSettings` says.

    All candidates have the density of every observed line in their likelihood, so that candidates
    with different numbers of sites can be compared.

    Args:
        spectrum: the observed lines; equivalent atoms repeated or not.
        settings: fitted numbers.

    Example:
        >>> import torch
        >>> from nmrtk.spectrum import spectrum_of_shifts
        >>> lines = AtomLines(torch.tensor([18.0, 58.0, 60.0, 60.0]), torch.ones(4),
        ...     torch.tensor([0, 0, 1, 1]))
        >>> score = LineScore(spectrum_of_shifts("13C", [18.1, 57.8]), ScoreSettings())
        >>> ethanol, ether = score.score(lines, np.array([3, 2, 3, 3]))
        >>> bool(ethanol > ether)
        True
    """

    def __init__(self, spectrum: Spectrum, settings: ScoreSettings) -> None:
        self.spectrum = spectrum
        self.settings = settings
        reads_letters = spectrum.nucleus in HYDROGEN_LETTER_NUCLEI
        peaks = [
            (p.ppm, HYDROGENS.get(p.multiplicity, UNKNOWN) if reads_letters else UNKNOWN)
            for p in spectrum.peaks
        ]
        peaks.sort()
        distinct = list(dict.fromkeys(peaks))
        solvent = solvent_lines(spectrum)
        self.solvent = solvent
        """Shifts that may be a solvent's, with its name."""
        self._all = _Lines.of(peaks)
        self.lines = distinct
        """Distinct lines: shift, and attached hydrogens or `UNKNOWN`; ascending."""
        self._distinct = _Lines.of(distinct)
        self._extra_cost = np.array(
            [
                settings.solvent_cost if ppm in solvent else settings.extra_cost
                for ppm, _ in distinct
            ]
        )
        self._some_letters = bool((self._all.hydrogens != UNKNOWN).any())
        self._all_letters = bool((self._all.hydrogens != UNKNOWN).all())

    def score(self, lines: AtomLines, hydrogens: Integers) -> Floats:
        """Log-likelihoods (B,) in nats, the higher the better.

        Args:
            lines: predicted, for every site of B candidates; at least one each.
            hydrogens: (A,), attached to each site, as `hydrogen_counts` gives them.
        """
        shift, scale, owner = arrays(lines)
        return self.score_arrays(shift, scale, owner, np.asarray(hydrogens, np.int64))

    def score_arrays(
        self, shift: Floats, scale: Floats, owner: Integers, hydrogens: Integers
    ) -> Floats:
        """The same from arrays (A,): shifts and scales in ppm, ascending rows of the candidates,
        attached hydrogens.
        """
        if not len(owner):
            return np.zeros(0)
        counts = np.bincount(owner)
        ends = np.cumsum(counts)
        result = np.empty(len(counts))
        full = counts == len(self._all.ppm)
        ordered = full & self._letters_fit(owner, hydrogens, len(counts))
        if ordered.any():
            chosen = ordered[owner]
            size = len(self._all.ppm)
            table = [a[chosen].reshape(-1, size) for a in (shift, scale, hydrogens)]
            result[ordered] = self._score_ordered(*table)
        others = np.flatnonzero(~ordered) if not self.solvent else np.arange(len(counts))
        if not len(others):
            return result
        density = -self._log_density(self._distinct.ppm[:, None], shift, scale)
        density += self._letter_costs(self._distinct.hydrogens[:, None], hydrogens)
        for row in others.tolist():
            span = slice(ends[row] - counts[row], ends[row])
            parts = shift[span], hydrogens[span]
            cost, _ = self._assign(density[:, span], *parts)
            if full[row] and not ordered[row]:
                cost = min(cost, self._assign_full(parts[0], scale[span], parts[1])[0])
            result[row] = max(-cost, result[row]) if ordered[row] else -cost
        return result

    def screen(self, shift: Floats, scale: Floats, owner: Integers, hydrogens: Integers) -> Floats:
        """Rough scores (B,) of many candidates from arrays as `score_arrays` takes them, each with
        at least one site: every line has the site that suits it best, whether or not another line
        has it too, and every site the line that suits it best.
        """
        if not len(owner):
            return np.zeros(0)
        counts = np.bincount(owner)
        starts = np.cumsum(counts) - counts
        total = np.zeros(len(counts))
        best_of_site = np.full(len(owner), -np.inf)
        for ppm, letter, extra in zip(
            self._distinct.ppm, self._distinct.hydrogens, self._extra_cost, strict=True
        ):
            density = self._log_density(ppm, shift, scale)
            density -= self._letter_costs(letter, hydrogens)
            total += np.maximum(np.maximum.reduceat(density, starts), -extra)
            np.maximum(best_of_site, density, out=best_of_site)
        unexplained = np.clip(best_of_site + _EXPLAINED, -self.settings.missing_cost, 0.0)
        screened: Floats = total + np.add.reduceat(unexplained, starts)
        return screened

    def match(self, shift: Floats, scale: Floats, hydrogens: Integers) -> Match:
        """The best match for one candidate, given arrays (S,) of its sites."""
        density = -self._log_density(self._distinct.ppm[:, None], shift, scale)
        differs = self._letter_costs(self._distinct.hydrogens[:, None], hydrogens)
        cost, line_of_site = self._assign(density + differs, shift, hydrogens)
        if len(shift) == len(self._all.ppm):
            full_cost, of_full = self._assign_full(shift, scale, hydrogens)
            if full_cost < cost:
                place = {line: index for index, line in enumerate(self.lines)}
                all_lines = zip(self._all.ppm.tolist(), self._all.hydrogens.tolist(), strict=True)
                index = np.array([place[line] for line in all_lines])
                cost, line_of_site = full_cost, index[of_full]
        has = line_of_site >= 0
        gaps = np.abs(self._distinct.ppm[line_of_site[has]] - shift[has])
        used = set(line_of_site[has].tolist())
        wrong = {
            line
            for site, line in enumerate(line_of_site.tolist())
            if line >= 0 and differs[line, site] > 0
        }
        return Match(
            tuple(line_of_site.tolist()),
            -cost,
            float(gaps.mean()) if len(gaps) else float("inf"),
            tuple(index for index in range(len(self.lines)) if index not in used),
            len(wrong),
        )

    def _log_density(self, observed: Floats | float, shift: Floats, scale: Floats) -> Floats:
        s = self.settings
        width = np.maximum(scale, _LEAST_SCALE) * s.scale_factor
        gap = np.abs(observed - shift)
        near = np.log1p(-s.outlier_share) - gap / width - np.log(2 * width)
        far = np.log(s.outlier_share) - gap / s.outlier_scale_ppm - np.log(2 * s.outlier_scale_ppm)
        total: Floats = np.logaddexp(near, far)
        return total

    def _letter_costs(self, observed: Integers | int, hydrogens: Integers) -> Floats:
        differ = (observed != UNKNOWN) & (hydrogens != UNKNOWN) & (observed != hydrogens)
        costs: Floats = self.settings.letter_cost * differ
        return costs

    def _letters_fit(self, owner: Integers, hydrogens: Integers, count: int) -> Booleans:
        """Whether sorting may match each candidate: no letter is known, or all and they agree."""
        if not self._some_letters:
            return np.ones(count, np.bool_)
        if not self._all_letters:
            return np.zeros(count, np.bool_)
        wanted = np.bincount(self._all.hydrogens, minlength=len(HYDROGENS))
        fits = np.ones(count, np.bool_)
        for letter, number in enumerate(wanted.tolist()):
            fits &= np.bincount(owner[hydrogens == letter], minlength=count) == number
        return fits

    def _score_ordered(self, shift: Floats, scale: Floats, hydrogens: Integers) -> Floats:
        """Scores (N,) of candidates (N, S) whose sites are matched with the lines in order."""
        s = self.settings
        letters = hydrogens if self._all_letters else np.zeros_like(hydrogens)
        order = np.argsort(letters * _LETTER_SPAN + shift, axis=1, kind="stable")
        shift = np.take_along_axis(shift, order, axis=1)
        scale = np.take_along_axis(scale, order, axis=1)
        hydrogens = np.take_along_axis(hydrogens, order, axis=1)
        lines = np.argsort(self._all.hydrogens * _LETTER_SPAN + self._all.ppm, kind="stable")
        ppm, line_letters = self._all.ppm[lines], self._all.hydrogens[lines]
        density = self._log_density(ppm, shift, scale)
        same_class = np.zeros(shift.shape, np.bool_)
        same_class[:, 1:] = (np.diff(shift, axis=1) <= _SAME_PPM) & (np.diff(hydrogens) == 0)
        same_line = np.zeros(len(ppm), np.bool_)
        same_line[1:] = (np.diff(ppm) == 0) & (np.diff(line_letters) == 0)
        density[same_class & same_line] = 0.0
        overlaps = (~same_class & same_line).sum(1)
        splits = (same_class & ~same_line).sum(1)
        total: Floats = density.sum(1) - s.overlap_cost * overlaps - s.split_cost * splits
        return total

    def _assign(self, costs: Floats, shift: Floats, hydrogens: Integers) -> tuple[float, Integers]:
        """The cheapest way to give the distinct lines, (L, S) costs, to the sites of a candidate.

        Every site takes a line or lacks one, every line has a site or is extra. It is an
        assignment problem: each line chooses the site that it costs, the others follow on their
        own.
        """
        s = self.settings
        second = _repeats(shift, hydrogens)
        nearest = costs.argmin(axis=0)
        shared = costs[nearest, np.arange(len(shift))] + s.overlap_cost
        lacking = np.where(hydrogens == 0, s.missing_bare_cost, s.missing_cost)
        left = np.where(second, 0.0, np.minimum(shared, lacking))
        # A line of its own instead: for a second equivalent site this splits the line.
        own = costs + np.where(second, s.split_cost, 0.0) - left
        size = len(costs)
        table = np.concatenate([own, np.full((size, size), np.inf)], axis=1)
        table[np.arange(size), len(shift) + np.arange(size)] = self._extra_cost
        rows, columns = linear_sum_assignment(table)
        total = float(left.sum() + table[rows, columns].sum())
        line_of_site = np.where(shared <= lacking, nearest, -1)
        chosen = columns < len(shift)
        line_of_site[columns[chosen]] = rows[chosen]
        return total, self._follow(line_of_site, columns[chosen], second, shift)

    def _follow(
        self, line_of_site: Integers, fixed: Integers, second: Booleans, shift: Floats
    ) -> Integers:
        """Second equivalent sites that chose no line take that of the first."""
        chosen = set(fixed.tolist())
        order = np.argsort(shift, kind="stable").tolist()
        last = -1
        for site in order:
            if site in chosen or not second[site]:
                last = int(line_of_site[site])
            else:
                line_of_site[site] = last
        return line_of_site

    def _assign_full(
        self, shift: Floats, scale: Floats, hydrogens: Integers
    ) -> tuple[float, Integers]:
        """The cheapest way to give as many lines as there are sites to them, one each."""
        s = self.settings
        lines = self._all
        costs = -self._log_density(lines.ppm[:, None], shift, scale)
        costs += self._letter_costs(lines.hydrogens[:, None], hydrogens)
        rows, columns = linear_sum_assignment(costs)
        line_of_site = np.empty(len(shift), np.int64)
        line_of_site[columns] = rows
        groups = np.cumsum(~_repeats(shift, hydrogens)[np.argsort(shift, kind="stable")]) - 1
        class_of = np.empty(len(shift), np.int64)
        class_of[np.argsort(shift, kind="stable")] = groups
        keys = list(zip(lines.ppm.tolist(), lines.hydrogens.tolist(), strict=True))
        pairs: dict[tuple[int, tuple[float, int]], float] = {}
        for site, line in enumerate(line_of_site.tolist()):
            key = int(class_of[site]), keys[line]
            pairs[key] = min(pairs.get(key, np.inf), float(costs[line, site]))
        total = sum(pairs.values())
        total += s.split_cost * (len(pairs) - len({group for group, _ in pairs}))
        total += s.overlap_cost * (len(pairs) - len({line for _, line in pairs}))
        return total, line_of_site


def hydrogen_counts(nucleus: Nucleus, molecules: Sequence[Molecule]) -> Integers:
    """Hydrogens attached to each site (A,) of molecules, in the order of `AtomLines`; `UNKNOWN`
    where the letters of the nucleus do not mean that.
    """
    letters = [letter for one in molecules for letter in nucleus.multiplicities(one)]
    return np.array([HYDROGENS.get(letter, UNKNOWN) for letter in letters], np.int64)


def arrays(lines: AtomLines) -> tuple[Floats, Floats, Integers]:
    """Shifts, scales and rows (A,) of predicted lines, in double precision."""
    return (
        lines.shift.detach().double().cpu().numpy(),
        lines.scale.detach().double().cpu().numpy(),
        lines.molecule.cpu().numpy().astype(np.int64),
    )


@dataclass(frozen=True, slots=True)
class _Lines:
    ppm: Floats
    hydrogens: Integers

    @classmethod
    def of(cls, lines: Sequence[tuple[float, int]]) -> _Lines:
        return cls(
            np.array([ppm for ppm, _ in lines], np.float64),
            np.array([count for _, count in lines], np.int64),
        )


def _repeats(shift: Floats, hydrogens: Integers) -> Booleans:
    """Whether a site is equivalent to another that stands before it in the order of shifts."""
    order = np.argsort(shift, kind="stable")
    repeats = np.zeros(len(shift), np.bool_)
    same = (np.diff(shift[order]) <= _SAME_PPM) & (np.diff(hydrogens[order]) == 0)
    repeats[order[1:]] = same
    return repeats
