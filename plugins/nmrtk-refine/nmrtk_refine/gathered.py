"""Structures that were predicted, and what their environments have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from nmrtk.errors import MoleculeError
from nmrtk.molecule import Molecule
from nmrtk_refine.codes import DEPTH, RADIUS, Graph, structure_code, write_codes
from nmrtk_refine.compiled import entry_point
from nmrtk_refine.kinds import Isomer, Kind
from nmrtk_refine.statistics import Condensed, condense
from nmrtk_refine.student import Lesson
from nmrtk_refine.tables import Pattern

_LEAST_STRUCTURES = 3  # with a kind of atom, before the search uses it


class Gathered:
    """What is known of the structures so far."""

    def __init__(self) -> None:
        self.codes: list[NDArray[np.uint64]] = []
        self.shifts: list[NDArray[np.float32]] = []
        self.scales: list[NDArray[np.float32]] = []
        self.isomers: list[Isomer] = []
        self.skipped: Counter[str] = Counter()
        self._kinds: Counter[tuple[tuple[Kind, int], ...]] = Counter()
        self._known: set[int] = set()

    def usable(self, molecules: Iterable[Molecule]) -> Iterator[tuple[Molecule, Isomer]]:
        """Molecules that the search could find, each constitution once."""
        for molecule in molecules:
            try:
                isomer = Isomer.of_molecule(molecule)
            except MoleculeError as error:
                self.skipped[str(error)] += 1
                continue
            _, whole = codes_of(isomer)
            if whole in self._known:
                self.skipped["it was there before"] += 1
                continue
            self._known.add(whole)
            yield molecule, isomer

    def add(self, isomer: Isomer, lesson: Lesson) -> None:
        """Take one structure with its predicted lines."""
        shift, scale = (np.full(len(isomer.kinds), np.nan, np.float32) for _ in range(2))
        shift[lesson.sites], scale[lesson.sites] = lesson.shifts, lesson.scales
        self.codes.append(codes_of(isomer)[0][: RADIUS + 1])
        self.shifts.append(shift)
        self.scales.append(scale)
        self.isomers.append(isomer)
        self._kinds[tuple(sorted(Counter(isomer.kinds).items()))] += 1

    def condensed(self, rows: Iterable[int] | None = None) -> Condensed:
        """What their environments have in common; of all, or of some."""
        chosen = range(len(self.codes)) if rows is None else list(rows)
        return condense(
            np.concatenate([self.codes[row] for row in chosen], axis=1),
            np.concatenate([self.shifts[row] for row in chosen]),
            np.concatenate([self.scales[row] for row in chosen]),
        )

    def patterns(self) -> tuple[tuple[Pattern, ...], dict[str, Kind]]:
        """Unusual kinds that occur together, and the usual kind of each element."""
        totals: Counter[Kind] = Counter()
        for kinds, structures in self._kinds.items():
            for kind, _ in kinds:
                totals[kind] += structures
        usual: dict[str, Kind] = {}
        for kind, structures in totals.most_common():
            if structures >= _LEAST_STRUCTURES:
                usual.setdefault(kind.element, kind)
        counts: Counter[tuple[tuple[Kind, int], ...]] = Counter()
        elements: Counter[tuple[tuple[str, int], ...]] = Counter()
        for kinds, structures in self._kinds.items():
            unusual = tuple(pair for pair in kinds if usual.get(pair[0].element) != pair[0])
            counts[unusual] += structures
            needed: Counter[str] = Counter()
            for kind, number in kinds:
                needed[kind.element] += number
            elements[tuple(sorted(needed.items()))] += structures
        patterns = []
        for unusual, count in counts.most_common():
            if any(totals[kind] < _LEAST_STRUCTURES for kind, _ in unusual):
                continue
            wanted: Counter[str] = Counter()
            for kind, number in unusual:
                wanted[kind.element] += number
            hosts = sum(
                structures
                for available, structures in elements.items()
                if wanted <= Counter(dict(available))
            )
            patterns.append(Pattern(unusual, count, hosts))
        return tuple(patterns), usual


def codes_of(isomer: Isomer) -> tuple[NDArray[np.uint64], int]:
    """Codes (DEPTH + 1, A) of a structure's atoms, and the code of the whole."""
    count = len(isomer.kinds)
    codes = np.zeros((DEPTH + 1, count), np.uint64)
    whole = _write_all(isomer.graph(), codes, np.zeros((2, count), np.uint64))
    return codes, int(whole)


@entry_point
def _write_all(graph: Graph, codes: NDArray[np.uint64], scratch: NDArray[np.uint64]) -> np.uint64:
    write_codes(graph, codes)
    return structure_code(graph, codes, scratch)
