"""What is searched: the atoms of a formula, and the lines that a structure is compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nmrtk.errors import UsageError
from nmrtk.formula import Formula
from nmrtk.nucleus import HYDROGEN_LETTER_NUCLEI, Nucleus
from nmrtk.spectrum import Spectrum
from nmrtk_refine.annealing import random_structure
from nmrtk_refine.codes import MOST_ATOMS, Graph, new_graph
from nmrtk_refine.energy import MOST_HYDROGENS, Target
from nmrtk_refine.kinds import Kind
from nmrtk_refine.tables import EnvironmentTables, Pattern

_HYDROGENS_OF_LETTER = {"S": 0, "D": 1, "T": 2, "Q": 3}
_MOST_PATTERNS = 12
_LEAST_SHARE = 1e-3
_ATTEMPTS = 2000
_RELAXED_COST = 5.0  # some letter is wrong in 2 % of the measured spectra


@dataclass(frozen=True, slots=True)
class Weights:
    """Of the parts of the energy, beside the likelihood of the lines.

    Args:
        prior: of the environments.
        rings: of bonds in rings of three and four.
        overlap: of each kind of site more than there are distinct lines.
        split: of each distinct line more than there are kinds of sites.
    """

    prior: float = 1.0
    rings: float = 0.5
    overlap: float = 3.0
    split: float = 2.0


DEFAULT_WEIGHTS = Weights()


@dataclass(frozen=True, slots=True)
class Problem:
    """Structures of a formula whose kinds of atoms are settled: A heavy atoms.

    Args:
        kinds: (A,).
        hydrogens: in the formula.
        fixed: (A,), int8, hydrogens of atoms where the lines say so, else -1.
        least: hydrogens of the sites that the lines ask for at least, in any order.
        target: lines and weights.
        cost: energy of these kinds of atoms.
    """

    kinds: tuple[Kind, ...]
    hydrogens: int
    fixed: NDArray[np.int8]
    least: tuple[int, ...]
    target: Target
    cost: float

    @property
    def hydrogens_move(self) -> NDArray[np.int64]:
        """Atoms between which hydrogens may move."""
        return np.flatnonzero(self.fixed < 0)

    def graph(self) -> Graph:
        """An empty graph of these atoms."""
        return new_graph(
            np.array([kind.code for kind in self.kinds], np.uint64),
            np.array([kind.valence for kind in self.kinds], np.int64),
        )

    def start(self, seed: int) -> Graph | None:
        """A random structure; None if none was found."""
        random = np.random.default_rng(seed)
        for _ in range(_ATTEMPTS // 100):
            hydrogens = self._random_hydrogens(random)
            if hydrogens is None:
                return None
            graph = self.graph()
            if random_structure(graph, hydrogens, random.integers(0, 2**63, 1).astype(np.uint64)):
                return graph
        return None

    def _random_hydrogens(self, random: np.random.Generator) -> NDArray[np.int8] | None:
        valences = np.array([kind.valence for kind in self.kinds])
        alone = len(self.kinds) == 1
        room = valences if alone else valences - 1
        for _ in range(_ATTEMPTS):
            counts = np.where(self.fixed >= 0, self.fixed, 0).astype(np.int64)
            open_atoms = self.fixed < 0
            sites = self.target.sites[open_atoms[self.target.sites]]
            chosen = random.permutation(sites)
            for atom, number in zip(chosen, self.least, strict=False):
                counts[atom] = number
            # Further sites are equivalent to such with a line, most often.
            if self.least:
                for atom in chosen[len(self.least) :]:
                    counts[atom] = self.least[random.integers(len(self.least))]
            settled = np.zeros(len(counts), dtype=bool)
            if self.least:
                settled[sites] = True
            missing = self.hydrogens - int(counts.sum())
            while missing > 0:
                free = np.flatnonzero(open_atoms & ~settled & (counts < room))
                if not len(free):
                    free = np.flatnonzero(open_atoms & (counts < room))
                if not len(free):
                    break
                counts[random.choice(free)] += 1
                missing -= 1
            while missing < 0:
                free = np.flatnonzero(open_atoms & (counts > 0))
                if not len(free):
                    break
                counts[random.choice(free)] -= 1
                missing += 1
            if missing == 0 and (counts <= room).all():
                return counts.astype(np.int8)
        return None


def make_problems(
    formula: Formula,
    spectrum: Spectrum,
    tables: EnvironmentTables,
    weights: Weights = DEFAULT_WEIGHTS,
) -> list[Problem]:
    """What to search for a formula, the likeliest kinds of atoms first.

    Raises:
        UsageError: the formula is too large, has elements that the tables do not know or a charge
            that no structure among them had, or no structure can have it.
    """
    counts = {symbol: count for symbol, count in formula.counts if symbol != "H"}
    total = sum(counts.values())
    if not total:
        raise UsageError(f"{formula} has no atoms but hydrogen: there is nothing to search")
    if total > MOST_ATOMS:
        raise UsageError(
            f"{formula} has {total} heavy atoms: isomers are searched up to {MOST_ATOMS}; look "
            "it up in a library with --library"
        )
    if unknown := [symbol for symbol in counts if symbol not in tables.usual]:
        raise UsageError(
            f"{formula} has {', '.join(unknown)}, which the tables of environments do not know; "
            f"they know {', '.join(sorted(tables.usual))}"
        )
    nucleus = Nucleus.parse(spectrum.nucleus)
    problems = []
    for pattern, share in _likely_patterns(formula, counts, tables):
        kinds = _kinds(counts, pattern, tables.usual, nucleus)
        if _can_exist(kinds, formula["H"]):
            cost = -float(np.log(share))
            problems.append(_problem(kinds, formula, spectrum, nucleus, weights, cost))
    if not problems:
        charge = f" and charge {formula.charge:+d}" if formula.charge else ""
        raise UsageError(
            f"no structure of known kinds of atoms has the formula {formula}{charge}: check its "
            "hydrogens and its charge"
        )
    first = problems[0]
    if len(first.target.starts) > 2:
        cost = first.cost + _RELAXED_COST
        problems.append(
            _problem(first.kinds, formula, spectrum, nucleus, weights, cost, relaxed=True)
        )
    return problems


def _likely_patterns(
    formula: Formula, counts: Mapping[str, int], tables: EnvironmentTables
) -> list[tuple[Pattern, float]]:
    """Patterns that a formula can have, with their probabilities."""
    possible = []
    for pattern in tables.patterns:
        needed: Counter[str] = Counter()
        for kind, number in pattern.kinds:
            needed[kind.element] += number
        rest = {symbol: count - needed[symbol] for symbol, count in counts.items()}
        if min(rest.values()) < 0 or any(symbol not in counts for symbol in needed):
            continue
        charge = sum(kind.charge * number for kind, number in pattern.kinds)
        charge += sum(tables.usual[symbol].charge * number for symbol, number in rest.items())
        if charge == formula.charge:
            possible.append((pattern, (pattern.count + 0.2) / (pattern.hosts + 5.0)))
    total = sum(share for _, share in possible)
    possible = [(pattern, share / total) for pattern, share in possible]
    possible.sort(key=lambda item: -item[1])
    return [item for item in possible[:_MOST_PATTERNS] if item[1] >= _LEAST_SHARE]


def _kinds(
    counts: Mapping[str, int], pattern: Pattern, usual: Mapping[str, Kind], nucleus: Nucleus
) -> tuple[Kind, ...]:
    kinds: list[Kind] = []
    for symbol in sorted(counts, key=lambda symbol: (symbol != nucleus.element, symbol)):
        unusual = [
            kind for kind, number in pattern.kinds if kind.element == symbol for _ in range(number)
        ]
        kinds += [usual[symbol]] * (counts[symbol] - len(unusual)) + unusual
    return tuple(kinds)


def _can_exist(kinds: Sequence[Kind], hydrogens: int) -> bool:
    """Whether valences and hydrogens allow a connected structure."""
    free = sum(kind.valence for kind in kinds) - hydrogens
    return free >= 2 * (len(kinds) - 1) and free % 2 == 0 and (len(kinds) > 1 or free == 0)


def _problem(
    kinds: tuple[Kind, ...],
    formula: Formula,
    spectrum: Spectrum,
    nucleus: Nucleus,
    weights: Weights,
    cost: float,
    relaxed: bool = False,
) -> Problem:
    """A problem; a relaxed one lets letters be wrong."""
    sites = np.flatnonzero([kind.element == nucleus.element for kind in kinds])
    count = len(sites)
    means_hydrogens = str(nucleus) in HYDROGEN_LETTER_NUCLEI
    pairs = [
        (_HYDROGENS_OF_LETTER.get(peak.multiplicity, -1) if means_hydrogens else -1, peak.ppm)
        for peak in spectrum.peaks
    ]
    distinct = len(set(pairs))
    if len(pairs) > count:
        pairs = sorted(set(pairs))[:count]
    lettered = all(letter >= 0 for letter, _ in pairs) and bool(pairs)
    fixed = np.full(len(kinds), -1, np.int8)
    least: tuple[int, ...] = ()
    if lettered and sum(letter for letter, _ in pairs) <= formula["H"]:
        # Sites of an unusual valence stand last.
        numbers = sorted((letter for letter, _ in pairs), reverse=True)
        if len(pairs) == count and not relaxed:
            trial = fixed.copy()
            trial[sites] = numbers
            if _has_room(kinds, trial, formula["H"]):
                fixed = trial
        least = tuple(numbers) if fixed[sites].min() < 0 else ()
    lettered = lettered and not relaxed
    groups = MOST_HYDROGENS + 1 if lettered else 1
    pairs = sorted(pairs) if lettered else sorted(pairs, key=lambda pair: pair[1])
    letters = np.array([letter for letter, _ in pairs], np.int64)
    starts = np.searchsorted(letters, np.arange(groups + 1)) if lettered else [0, len(pairs)]
    target = Target(
        np.array([ppm for _, ppm in pairs], np.float64),
        letters,
        np.array(starts, np.int64),
        sites,
        np.array([kind.element == nucleus.element for kind in kinds]),
        distinct,
        weights.prior,
        weights.rings,
        weights.overlap,
        weights.split,
    )
    return Problem(kinds, formula["H"], fixed, least, target, cost)


def _has_room(kinds: Sequence[Kind], fixed: NDArray[np.int8], hydrogens: int) -> bool:
    """Whether the hydrogens that are left find room at the other atoms."""
    alone = len(kinds) == 1
    room = sum(
        kind.valence - (not alone) for kind, number in zip(kinds, fixed, strict=True) if number < 0
    )
    fits = all(
        number <= kind.valence - (not alone) for kind, number in zip(kinds, fixed, strict=True)
    )
    left = hydrogens - int(fixed[fixed >= 0].sum())
    return fits and 0 <= left <= room
