"""Structures beside what a search finds for their lines, to teach the prior with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from nmrtk.molecule import canonical_smiles
from nmrtk_refine.gathered import Gathered
from nmrtk_refine.graphs import BondGraph
from nmrtk_refine.kinds import Isomer
from nmrtk_refine.prior_training import RivalSet
from nmrtk_refine.states import prior_energy
from nmrtk_refine.student import Lesson
from nmrtk_refine.tables import EnvironmentTables
from nmrtk_refine.wrong import drawn, rivals

STRUCTURES = 11_000
"""Structures whose rivals are searched."""

_FOLDS = 5


def rival_sets(
    gathered: Gathered,
    lessons: Sequence[Lesson],
    tables: EnvironmentTables,
    structures: int = STRUCTURES,
    on_progress: Callable[[int], None] = lambda done: None,
    seed: int = 0,
) -> list[RivalSet]:
    """Structures and what a search finds for their lines, by tables that each do not know a fifth
    of the structures: those that it is asked for.

    Args:
        gathered: what is known of the structures.
        lessons: what the model says of each.
        tables: of all of them, with the small network.
        structures: number of sets at most, drawn by size.
        on_progress: is told how many are done.
        seed: of what is drawn.
    """
    chosen = drawn(lessons, structures, seed)
    sets = []
    done = 0
    for fold in range(_FOLDS):
        rows = [row for row in chosen if row % _FOLDS == fold]
        others = [row for row in range(len(lessons)) if row % _FOLDS != fold]
        if not (rows and others):
            continue
        part = tables.with_environments(gathered.condensed(others))
        table = part.table()
        for row, found in zip(rows, rivals(lessons, rows, part, seed), strict=True):
            right = gathered.isomers[row]
            wrong = _sound_others(right, found)
            if wrong:
                energies = [prior_energy(one.graph(), table) for one in (right, *wrong)]
                graphs = tuple(BondGraph.of(one) for one in (right, *wrong))
                sets.append(RivalSet(graphs, np.array(energies, np.float32)))
            done += 1
            on_progress(done)
    return sets


def _sound_others(right: Isomer, isomers: Iterable[Isomer]) -> list[Isomer]:
    """Those that RDKit finds no fault with, each constitution once and without the right one."""
    known = {_name(right)}
    others = []
    for isomer in isomers:
        name = _name(isomer)
        if name is not None and name not in known:
            known.add(name)
            others.append(isomer)
    return others


def _name(isomer: Isomer) -> str | None:
    molecule = isomer.molecule()
    return None if molecule is None else canonical_smiles(molecule)
