"""Wrong structures that fit lines well, to teach with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from nmrtk.errors import UsageError
from nmrtk.formula import Formula
from nmrtk.spectrum import Peak, Spectrum
from nmrtk_refine.annealing import anneal, new_kept, new_workplace
from nmrtk_refine.energy import Table
from nmrtk_refine.kinds import Isomer
from nmrtk_refine.problem import Problem, make_problems
from nmrtk_refine.search import chain_legs, default_plan, workers
from nmrtk_refine.states import square
from nmrtk_refine.student import Lesson
from nmrtk_refine.tables import EnvironmentTables

STRUCTURES = 1400
"""From whose lines wrong structures are searched."""

_LEAST_MOVES, _MOST_MOVES = 10_000, 150_000
_BEST, _OTHERS, _KEPT = 10, 20, 2000
_MOST_ATOMS = 40
_LETTERS = "SDTQ"


def wrong_isomers(
    lessons: Sequence[Lesson],
    tables: EnvironmentTables,
    on_progress: Callable[[int], None] = lambda done: None,
    structures: int = STRUCTURES,
    seed: int = 0,
) -> list[Isomer]:
    """Search the lines that the model gives to some structures, by the tables alone: the best of
    what a chain passes, and some of the rest. The right structure may be among them.

    Args:
        lessons: what the model says of structures.
        tables: of the same structures.
        on_progress: is told how many structures are done.
        structures: number of them, drawn by their size, without very large ones.
        seed: of what is drawn.
    """
    sizes = np.array([float(len(one.kinds)) for one in lessons])
    sizes[sizes > _MOST_ATOMS] = 0
    count = min(structures, int(np.count_nonzero(sizes)))
    if not count:
        return []
    random = np.random.default_rng(seed)
    chosen: NDArray[np.int64] = random.choice(
        len(lessons), count, replace=False, p=sizes / sizes.sum()
    )
    table = tables.table()
    found: list[Isomer] = []
    with ThreadPoolExecutor(workers()) as pool:
        parts = pool.map(
            lambda row: _search(lessons[row], tables, table, (seed, int(row))), chosen.tolist()
        )
        for done, part in enumerate(parts, start=1):
            found += part
            on_progress(done)
    return found


def _search(
    lesson: Lesson, tables: EnvironmentTables, table: Table, seed: tuple[int, int]
) -> list[Isomer]:
    problem = _problem(lesson, tables)
    if problem is None:
        return []
    atoms = len(problem.kinds)
    random = np.random.default_rng(seed)
    moves = int(np.clip(default_plan(atoms).moves, _LEAST_MOVES, _MOST_MOVES))
    graph = problem.start(int(random.integers(2**31)))
    if graph is None:
        return []
    kept = new_kept(atoms, _KEPT)
    work = new_workplace(
        atoms, len(problem.target.lines), int(random.integers(2**31)), tables.network
    )
    for leg in chain_legs(moves):
        anneal(graph, problem.hydrogens_move, table, problem.target, work, kept, *leg)
    size = int(kept.size[0])
    best = np.argsort(kept.energies[:size], kind="stable")
    rest = best[_BEST:]
    others = random.choice(rest, min(_OTHERS, len(rest)), replace=False)
    return [
        Isomer(problem.kinds, kept.hydrogens[row].copy(), square(kept.bonds[row], atoms))
        for row in [*best[:_BEST].tolist(), *others.tolist()]
    ]


def _problem(lesson: Lesson, tables: EnvironmentTables) -> Problem | None:
    """The search for the lines of a structure, among those with its kinds of atoms."""
    letters = [_LETTERS[h] if h < len(_LETTERS) else "" for h in lesson.hydrogens[lesson.sites]]
    peaks = tuple(
        Peak(round(float(ppm), 2), multiplicity=letter)
        for ppm, letter in zip(lesson.shifts.tolist(), letters, strict=True)
    )
    counts: dict[str, int] = {"H": int(lesson.hydrogens.sum())}
    for kind in lesson.kinds:
        counts[kind.element] = counts.get(kind.element, 0) + 1
    formula = Formula.of_counts(counts, sum(kind.charge for kind in lesson.kinds))
    try:
        problems = make_problems(formula, Spectrum(tables.nucleus, peaks), tables)
    except UsageError:
        return None
    wanted = sorted(lesson.kinds)
    return next((one for one in problems if sorted(one.kinds) == wanted), None)
