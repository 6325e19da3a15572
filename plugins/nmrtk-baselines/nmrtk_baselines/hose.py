"""Shifts of like atom environments."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nmrtk.errors import UsageError
from nmrtk.interfaces import Baseline, Example, SpectrumCodec
from nmrtk.molecule import Molecule
from nmrtk.spectrum import Peak, Spectrum, spectrum_of_shifts
from nmrtk_baselines.environments import environments
from nmrtk_baselines.ordering import assign_by_order
from nmrtk_baselines.targets import not_fitted

_RADIUS_LIMIT = 10
_FOLDS = 5
# A sigma means that 80 % of lines lie within 1.28 of it, as they do for a normal distribution.
_COVERAGE = 0.8
_QUANTILE = 1.28
# The spread that is usual for a radius counts as much as this many measured shifts.
_PRIOR_SHIFTS = 4.0
# Lines measured to 0.1 ppm agree by chance: no sigma is below this, in ppm.
_LEAST_SIGMA = 0.1
_DRAWS = 32


@dataclass(frozen=True, slots=True)
class _Line:
    """A shift of a training atom, with its environments."""

    group: int
    keys: tuple[int, ...]
    ppm: float


@dataclass(frozen=True, slots=True)
class _Guess:
    """What a table says of an environment: median, mean square deviation, number of shifts."""

    ppm: float
    square: float
    count: int


_Table = list[dict[int, _Guess]]


class HoseBaseline(Baseline):
    """Gives every atom the median shift of the training atoms with the same environment, of the
    largest radius at which there is one.

    Where no line is assigned, those of complete spectra are given to atoms by their order: that of
    the mean shifts of coarse classes of atoms first, then that of the medians of environments of
    one bond, found in the last round.

    Args:
        codec: names the nucleus and defines the bins.
        radius: of the largest environment, in bonds.

    Raises:
        UsageError: the radius is out of its range.
    """

    predicts_lines = True
    learns_atoms = True

    def __init__(self, codec: SpectrumCodec, *, radius: int = 4) -> None:
        super().__init__(codec)
        if not 0 <= radius <= _RADIUS_LIMIT:
            raise UsageError(f"radius is {radius}: it must be from 0 to {_RADIUS_LIMIT}")
        self._radius = radius
        self._table: _Table = []
        self._usual = np.empty(0)
        self._factor = 1.0

    def fit(self, examples: Sequence[Example]) -> None:
        """Collect the shifts of atoms. Where any line is assigned, those without atoms are left
        out.

        Raises:
            UsageError: no line of the examples is assigned, and no spectrum is complete.
        """
        lines = self._assigned_lines(examples)
        if not lines:
            lines = self._assigned_lines(assign_by_order(self.codec.nucleus, examples))
        if not lines:
            raise UsageError(
                f"hose learns from lines that are assigned to atoms, or from complete spectra, and "
                f"none of the {len(examples)} training examples has any: use a data set imported "
                "from assigned records, such as the SD file of nmrshiftdb2"
            )
        self._table = _tabulate(lines)
        self._calibrate(lines)

    def predict_occupancy(self, molecules: Sequence[Molecule]) -> NDArray[np.float32]:
        """Share of draws of all lines, each from a Laplace distribution of its sigma, in which a
        bin is occupied, (B, N).
        """
        scores = np.zeros((len(molecules), self.codec.bin_count), np.float32)
        for row, spectrum in enumerate(self.predict_spectra(molecules)):
            if spectrum.peaks:
                targets = np.stack([self.codec.encode(draw) for draw in _draws(spectrum)])
                occupied = self.codec.occupied(torch.from_numpy(targets))
                scores[row] = occupied.float().mean(dim=0).cpu().numpy()
        return scores

    def predict_spectra(self, molecules: Sequence[Molecule]) -> list[Spectrum]:
        """One line for every site, with its sigma."""
        if not self._table:
            raise not_fitted(self)
        return [self._predict(molecule) for molecule in molecules]

    def _predict(self, molecule: Molecule) -> Spectrum:
        nucleus = self.codec.nucleus
        levels = environments(molecule, self._radius)
        peaks = []
        for site, letter in zip(
            nucleus.sites(molecule), nucleus.multiplicities(molecule), strict=True
        ):
            level, guess = _look_up(self._table, [keys[site] for keys in levels])
            sigma = max(_LEAST_SIGMA, self._factor * _raw_sigma(guess, self._usual[level]))
            peaks.append(Peak(guess.ppm, multiplicity=letter, atoms=(site,), sigma=sigma))
        return Spectrum(str(nucleus), tuple(peaks), len(peaks))

    def _assigned_lines(self, examples: Sequence[Example]) -> list[_Line]:
        groups: dict[str, int] = {}
        lines = []
        for index, example in enumerate(examples):
            # Spectra of one skeleton stay together, so that cross-validation is honest.
            group = groups.setdefault(example.skeleton or f"{index}", len(groups))
            assigned = [peak for peak in example.spectrum.peaks if peak.atoms]
            if not assigned:
                continue
            levels = environments(example.molecule, self._radius)
            for peak in assigned:
                for atom in peak.atoms:
                    keys = tuple(level[atom] for level in levels)
                    lines.append(_Line(group, keys, peak.ppm))
        return lines

    def _calibrate(self, lines: Sequence[_Line]) -> None:
        """Find how far shifts are off at each level, by cross-validation over molecules."""
        found: list[tuple[int, _Guess, float]] = []
        for fold in range(_FOLDS):
            held_out = [line for line in lines if line.group % _FOLDS == fold]
            table = _tabulate([line for line in lines if line.group % _FOLDS != fold])
            # With fewer molecules than folds there may be nothing to learn from.
            if table[0]:
                found += [(*_look_up(table, line.keys), line.ppm) for line in held_out]
        # A single molecule leaves only the spread of its own shifts.
        if not found:
            found = [(0, self._table[0][0], line.ppm) for line in lines]
        level = np.array([entry[0] for entry in found])
        error = np.abs([entry[1].ppm - entry[2] for entry in found])
        overall = max(_LEAST_SIGMA, float(np.quantile(error, _COVERAGE)) / _QUANTILE)
        self._usual = np.full(len(self._table), overall)
        for index in np.unique(level):
            quantile = float(np.quantile(error[level == index], _COVERAGE))
            self._usual[index] = max(_LEAST_SIGMA, quantile / _QUANTILE)
        raw = [_raw_sigma(guess, self._usual[index]) for index, guess, _ in found]
        self._factor = float(np.quantile(error / raw, _COVERAGE)) / _QUANTILE


def _tabulate(lines: Iterable[_Line]) -> _Table:
    """For each level, what is known of each environment."""
    shifts: list[defaultdict[int, list[float]]] = []
    for line in lines:
        while len(shifts) < len(line.keys):
            shifts.append(defaultdict(list))
        for level, key in enumerate(line.keys):
            shifts[level][key].append(line.ppm)
    return [{key: _summarize(values) for key, values in level.items()} for level in shifts] or [{}]


def _summarize(values: list[float]) -> _Guess:
    # Most lists are so short that numpy would take ten times as long.
    values.sort()
    median = (values[len(values) // 2] + values[(len(values) - 1) // 2]) / 2
    square = sum((value - median) ** 2 for value in values) / len(values)
    return _Guess(median, square, len(values))


def _look_up(table: _Table, keys: Sequence[int]) -> tuple[int, _Guess]:
    """The most specific level at which the environment is known, and what is known there."""
    for level in range(len(table) - 1, 0, -1):
        guess = table[level].get(keys[level])
        if guess is not None:
            return level, guess
    return 0, table[0][keys[0]]


def _raw_sigma(guess: _Guess, usual: float) -> float:
    """Spread of an environment's own shifts, drawn towards the usual one of its level."""
    # One shift has no spread: n - 1 of n deviations are free.
    free = guess.count - 1
    total = guess.count * guess.square + _PRIOR_SHIFTS * usual**2
    return float(np.sqrt(total / (free + _PRIOR_SHIFTS)))


def _draws(spectrum: Spectrum) -> Iterable[Spectrum]:
    """Spectra with every line moved by a Laplace distribution of its sigma, evenly over the
    quantiles and always the same.
    """
    generator = np.random.default_rng(0)
    quantile = (np.arange(_DRAWS) + 0.5) / _DRAWS
    # The scale at which 80 % lie within 1.28 sigma.
    unit = -_QUANTILE / np.log(1 - _COVERAGE)
    offset = -unit * np.sign(quantile - 0.5) * np.log1p(-2 * np.abs(quantile - 0.5))
    moved = np.array(
        [peak.ppm + (peak.sigma or 0.0) * generator.permutation(offset) for peak in spectrum.peaks]
    )
    return (spectrum_of_shifts(spectrum.nucleus, shifts) for shifts in moved.T)
