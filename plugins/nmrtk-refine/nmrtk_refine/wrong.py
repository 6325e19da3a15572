"""Wrong structures that fit lines well, to teach with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

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

_MOST_ATOMS = 40
_LETTERS = "SDTQ"


@dataclass(frozen=True, slots=True)
class _Sampling:
    """How long a chain is, and what is taken of it.

    Args:
        moves: as a share of those that a search would make; at least and at most so many.
        least: see there.
        most: see there.
        kept: structures that it keeps.
        best: of these that are taken, best first.
        others: that are taken at random from the next ones.
        last: up to which of them.
    """

    moves: float
    least: int
    most: int
    kept: int
    best: int
    others: int
    last: int


_WRONG = _Sampling(1.0, 10_000, 150_000, 2000, best=10, others=20, last=2000)
_RIVALS = _Sampling(1 / 6, 5_000, 50_000, 1000, best=9, others=5, last=200)


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
    table = tables.table()

    def search(row: int) -> list[Isomer]:
        return _searched(lessons[row], tables, table, _WRONG, np.random.default_rng((seed, row)))

    found: list[Isomer] = []
    for done, part in enumerate(_side_by_side(search, drawn(lessons, structures, seed)), start=1):
        found += part
        on_progress(done)
    return found


def rivals(
    lessons: Sequence[Lesson], rows: Sequence[int], tables: EnvironmentTables, seed: int = 0
) -> Iterator[list[Isomer]]:
    """Search lines that are drawn as the model predicts those of some structures: the best of what
    a short chain passes. The right structure may be among them.

    Args:
        lessons: what the model says of structures.
        rows: which of them, each for a list of rivals.
        tables: of others, so that they know no more of the right structure than of a new one.
        seed: of what is drawn.
    """
    table = tables.table()

    def search(row: int) -> list[Isomer]:
        random = np.random.default_rng((seed, row))
        lesson = lessons[row]
        noise = random.laplace(0, lesson.scales).astype(np.float32)
        noisy = replace(lesson, shifts=lesson.shifts + noise)
        return _searched(noisy, tables, table, _RIVALS, random)

    return _side_by_side(search, rows)


def drawn(lessons: Sequence[Lesson], structures: int, seed: int) -> list[int]:
    """Rows of some structures, drawn by their size, without very large ones."""
    sizes = np.array([float(len(one.graph.kinds)) for one in lessons])
    sizes[sizes > _MOST_ATOMS] = 0
    count = min(structures, int(np.count_nonzero(sizes)))
    if not count:
        return []
    random = np.random.default_rng(seed)
    rows = random.choice(len(lessons), count, replace=False, p=sizes / sizes.sum())
    return [int(row) for row in rows]


def _side_by_side(
    search: Callable[[int], list[Isomer]], rows: Sequence[int]
) -> Iterator[list[Isomer]]:
    with ThreadPoolExecutor(workers()) as pool:
        yield from pool.map(search, rows)


def _searched(
    lesson: Lesson,
    tables: EnvironmentTables,
    table: Table,
    sampling: _Sampling,
    random: np.random.Generator,
) -> list[Isomer]:
    """What a chain from a random structure finds for the lines of a lesson."""
    problem = _problem(lesson, tables)
    if problem is None:
        return []
    atoms = len(problem.kinds)
    usual = default_plan(atoms).moves * sampling.moves
    graph = problem.start(int(random.integers(2**31)))
    if graph is None:
        return []
    kept = new_kept(atoms, sampling.kept)
    work = new_workplace(
        atoms, len(problem.target.lines), int(random.integers(2**31)), tables.network
    )
    for leg in chain_legs(int(np.clip(usual, sampling.least, sampling.most))):
        anneal(graph, problem.hydrogens_move, table, problem.target, work, kept, *leg)
    order = np.argsort(kept.energies[: int(kept.size[0])], kind="stable")
    rest = order[sampling.best : sampling.last]
    others = random.choice(rest, min(sampling.others, len(rest)), replace=False)
    return [
        Isomer(problem.kinds, kept.hydrogens[row].copy(), square(kept.bonds[row], atoms))
        for row in [*order[: sampling.best].tolist(), *others.tolist()]
    ]


def _problem(lesson: Lesson, tables: EnvironmentTables) -> Problem | None:
    """The search for the lines of a structure, among those with its kinds of atoms."""
    graph = lesson.graph
    letters = [_LETTERS[h] if h < len(_LETTERS) else "" for h in graph.hydrogens[lesson.sites]]
    peaks = tuple(
        Peak(round(float(ppm), 2), multiplicity=letter)
        for ppm, letter in zip(lesson.shifts.tolist(), letters, strict=True)
    )
    counts: dict[str, int] = {"H": int(graph.hydrogens.sum())}
    for kind in graph.kinds:
        counts[kind.element] = counts.get(kind.element, 0) + 1
    formula = Formula.of_counts(counts, sum(kind.charge for kind in graph.kinds))
    try:
        problems = make_problems(formula, Spectrum(tables.nucleus, peaks), tables)
    except UsageError:
        return None
    wanted = sorted(graph.kinds)
    return next((one for one in problems if sorted(one.kinds) == wanted), None)
