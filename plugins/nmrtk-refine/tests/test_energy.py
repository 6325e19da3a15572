import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nmrtk_refine.annealing import anneal, new_kept, new_workplace
from nmrtk_refine.codes import DEPTH, write_codes
from nmrtk_refine.energy import Target, energy, find_row, new_scratch
from nmrtk_refine.kinds import Isomer
from nmrtk_refine.problem import Weights, make_problems
from nmrtk_refine.states import square
from refine_material import lines_of, make_tables

from nmrtk.formula import Formula
from nmrtk.molecule import parse_smiles

LETTER, MISSING = 4.0, 12.0


def slow_matching(shifts, inverse, widths, hydrogens, lines, letters):
    """Every way in which the longer side can go to the shorter one in order."""
    if not shifts or not lines:
        return MISSING * (len(shifts) + len(lines))
    order = np.argsort(shifts, kind="stable")

    def cost(site, line):
        wrong = letters[line] >= 0 and letters[line] != hydrogens[site]
        return abs(shifts[site] - lines[line]) * inverse[site] + LETTER * wrong

    long, short = max(len(shifts), len(lines)), min(len(shifts), len(lines))
    best = math.inf
    for cuts in itertools.combinations(range(1, long), short - 1):
        owner = np.searchsorted(cuts, np.arange(long), side="right")
        if len(shifts) >= len(lines):
            total = sum(cost(order[place], owner[place]) for place in range(long))
        else:
            total = sum(cost(order[owner[place]], place) for place in range(long))
        best = min(best, total)
    return best + sum(widths) + MISSING * max(len(lines) - len(shifts), 0)


def slow_energy(graph, target, values, codes, small_rings):
    total = target.prior_weight * values[:, 3].sum() + target.ring_weight * small_rings
    sites = target.sites
    groups = len(target.starts) - 1
    distinct = 0
    for group in range(groups):
        members = [s for s in sites if groups == 1 or graph.hydrogens[s] == group]
        distinct += len({codes[DEPTH, s] for s in members})
        span = slice(target.starts[group], target.starts[group + 1])
        total += slow_matching(
            *([float(values[s, column]) for s in members] for column in (0, 1, 2)),
            [graph.hydrogens[s] for s in members],
            target.lines[span].tolist(),
            target.letters[span].tolist(),
        )
    more = distinct - target.distinct
    return total + target.overlap_weight * max(more, 0) - target.split_weight * min(more, 0)


@settings(deadline=None, max_examples=60)
@given(
    text=st.sampled_from(["CCO", "CC(C)C(=O)OC", "Cc1ccccc1", "CCC(CC)CC", "CC(C)(C)C"]),
    lines=st.lists(
        st.tuples(st.floats(0, 200), st.sampled_from([-1, 0, 1, 2, 3])), min_size=1, max_size=8
    ),
    grouped=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_energy_is_that_of_a_slow_reference(text, lines, grouped, seed):
    isomer = Isomer.of_molecule(parse_smiles(text))
    graph = isomer.graph()
    count = len(isomer.kinds)
    if grouped:
        lines = sorted((max(letter, 0), ppm) for ppm, letter in lines)
        letters = np.array([letter for letter, _ in lines])
        starts = np.searchsorted(letters, np.arange(6))
        shifts = np.array([ppm for _, ppm in lines])
    else:
        lines = sorted(lines)
        letters = np.array([letter for _, letter in lines])
        starts = np.array([0, len(lines)])
        shifts = np.array([ppm for ppm, _ in lines])
    sites = np.flatnonzero([kind.element == "C" for kind in isomer.kinds])
    is_site = np.isin(np.arange(count), sites)
    target = Target(shifts, letters, starts, sites, is_site, 3, 0.3, 0.2, 0.5, 0.7)
    codes = np.zeros((DEPTH + 1, count), np.uint64)
    small_rings = write_codes(graph, codes)
    random = np.random.default_rng(seed)
    kinds = np.unique(codes[DEPTH], return_inverse=True)[1].reshape(-1)
    values = np.stack(
        [
            random.uniform(0, 200, count),
            random.uniform(0.1, 1, count),
            *random.normal(size=(2, count)),
        ],
        axis=1,
    ).astype(np.float32)[kinds]
    found = energy(graph, target, codes, values, small_rings, new_scratch(count, len(lines)))
    assert found == pytest.approx(slow_energy(graph, target, values, codes, small_rings), rel=1e-5)


def test_kept_structures_have_the_energies_that_they_are_said_to_have():
    tables = make_tables()
    spectrum = lines_of("CCOC(C)=O", letters=False)
    (problem, *_) = make_problems(Formula.parse("C4H8O2"), spectrum, tables, Weights())
    graph, table = problem.start(1), tables.table()
    count = len(problem.kinds)
    work, kept = new_workplace(count, 4, 5, tables.network), new_kept(count, 300)
    anneal(graph, problem.hydrogens_move, table, problem.target, work, kept, 20_000, 2.5, 0.35)
    size = int(kept.size[0])
    assert size > 20
    assert len(set(kept.codes[:size].tolist())) == size
    codes, scratch = np.zeros((DEPTH + 1, count), np.uint64), new_scratch(count, 4)
    for row in range(size):
        isomer = Isomer(problem.kinds, kept.hydrogens[row], square(kept.bonds[row], count))
        fresh = isomer.graph()
        small_rings = write_codes(fresh, codes)
        values = np.stack([table.values[find_row(table, codes, a)] for a in range(count)])
        expected = energy(fresh, problem.target, codes, values, small_rings, scratch)
        assert kept.energies[row] == pytest.approx(expected, abs=1e-4)


def test_only_the_better_half_stays_when_the_room_is_full():
    tables = make_tables()
    (problem, *_) = make_problems(
        Formula.parse("C4H8O2"), lines_of("CCOC(C)=O", letters=False), tables
    )
    count = len(problem.kinds)
    work, kept = new_workplace(count, 4, 5, tables.network), new_kept(count, 16)
    anneal(
        problem.start(1),
        problem.hydrogens_move,
        tables.table(),
        problem.target,
        work,
        kept,
        20_000,
        2.5,
        0.35,
    )
    size = int(kept.size[0])
    assert 0 < size <= 16
    assert (kept.energies[:size] < kept.limit[0]).all()
    assert len(set(kept.codes[:size].tolist())) == size
