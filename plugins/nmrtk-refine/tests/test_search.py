import time

import numpy as np
import pytest
from nmrtk_refine.energy import INVERSE_SCALE, LOG_WIDTH, PRIOR, SHIFT
from nmrtk_refine.gathered import codes_of
from nmrtk_refine.kinds import Isomer
from nmrtk_refine.problem import make_problems
from nmrtk_refine.search import Plan, Search, summed_up
from refine_material import TableJudge, lines_of, make_tables

from nmrtk.errors import UsageError
from nmrtk.formula import Formula
from nmrtk.molecule import canonical_smiles, parse_smiles
from nmrtk.spectrum import Peak, Spectrum, spectrum_of_shifts


@pytest.fixture(scope="module")
def tables():
    return make_tables()


def found_by(tables, formula, spectrum, plan, seed=0):
    problems = make_problems(Formula.parse(formula), spectrum, tables)
    search = Search(problems, tables, TableJudge, plan, seed)
    search.run()
    return search


def smiles_of(search):
    return [canonical_smiles(molecule) for molecule, _ in search.candidates()]


def all_isomers(smiles):
    """Closure of a structure under moving one bond end or hydrogen, slowly and without kernels."""
    start = Isomer.of_molecule(parse_smiles(smiles))
    known = {codes_of(start)[1]: start}
    fresh = [start]
    while fresh:
        isomer = fresh.pop()
        count = len(isomer.kinds)
        # Hydrogens are atoms here, so that every move is an exchange of two bonds.
        ends = [(a, b) for a in range(count) for b in range(count) if isomer.bonds[a, b]]
        ends += [(a, None) for a in range(count) if isomer.hydrogens[a]]
        for a, b in ends:
            for c, d in ends:
                if c == a or (b is not None and b in (c, d)) or d == a or (b is None and d is None):
                    continue
                bonds, hydrogens = isomer.bonds.copy(), isomer.hydrogens.copy()

                def change(x, y, by, bonds=bonds, hydrogens=hydrogens):
                    if y is None:
                        hydrogens[x] += by
                    elif x is None:
                        hydrogens[y] += by
                    else:
                        bonds[x, y] += by
                        bonds[y, x] += by

                change(a, b, -1)
                change(c, d, -1)
                change(a, c, 1)
                if b is not None or d is not None:
                    change(b, d, 1)
                if bonds.max() > 3:
                    continue
                reached = np.linalg.matrix_power(
                    (bonds > 0).astype(int) + np.eye(count, dtype=int), count
                )
                if not reached.all():
                    continue
                other = Isomer(isomer.kinds, hydrogens, bonds)
                code = codes_of(other)[1]
                if code not in known:
                    known[code] = other
                    fresh.append(other)
    molecules = [isomer.molecule() for isomer in known.values()]
    return {canonical_smiles(molecule) for molecule in molecules if molecule is not None}


@pytest.mark.parametrize(
    ("formula", "smiles", "count"),
    [("C2H6O", "CCO", 2), ("C3H6O", "CC(C)=O", 9), ("C4H8O2", "CCOC(C)=O", None)],
)
def test_all_isomers_of_a_small_formula_turn_up(tables, formula, smiles, count):
    spectrum = spectrum_of_shifts("13C", [50.0])
    search = found_by(tables, formula, spectrum, Plan(moves=40_000, judged=2000, rounds=4))
    expected = all_isomers(smiles)
    assert count is None or len(expected) == count
    found = set(smiles_of(search))
    # Of kinds of atoms that training structures had besides the usual ones there are more.
    assert {text for text in found if "+" not in text} == expected


@pytest.mark.parametrize(
    ("formula", "smiles"),
    [
        ("C2H6O", "CCO"),
        ("C3H6O", "CC(C)=O"),
        ("C8H8O3", "COc1cc(C=O)ccc1O"),
        ("C6H5NO2", "O=[N+]([O-])c1ccccc1"),
        ("C5H5NO", "[O-][n+]1ccccc1"),
        ("C2H6O2S", "CS(C)(=O)=O"),
        ("C5H11NO2", "C[N+](C)(C)CC(=O)[O-]"),
        ("C6H7BO2", "OB(O)c1ccccc1"),
        ("CH6N+", "C[NH3+]"),
        ("C2H5O-", "CC[O-]"),
    ],
)
@pytest.mark.parametrize("letters", [True, False])
def test_structure_is_found_by_the_lines_of_the_tables(tables, formula, smiles, letters):
    plan = Plan(moves=100_000, rounds=10)
    search = found_by(tables, formula, lines_of(smiles, letters), plan)
    # Where the shifts are made up, others may fit as well.
    assert canonical_smiles(parse_smiles(smiles)) in smiles_of(search)[:5]


def test_lines_of_equivalent_atoms_may_be_listed_once(tables):
    full = lines_of("Cc1ccccc1")
    once = Spectrum("13C", tuple(dict.fromkeys(full.peaks)))
    assert len(once.peaks) == 5
    search = found_by(tables, "C7H8", once, Plan(moves=60_000, rounds=3))
    assert smiles_of(search)[0] == "Cc1ccccc1"


def test_every_candidate_has_the_formula_and_appears_once(tables):
    search = found_by(tables, "C6H5NO2", lines_of("O=[N+]([O-])c1ccccc1"), Plan(20_000, rounds=2))
    names = smiles_of(search)
    assert len(set(names)) == len(names) > 10
    formulas = {str(Formula.of_molecule(parse_smiles(name))) for name in names}
    assert formulas == {"C6H5NO2"}


def test_shares_of_the_chains_that_came_upon_a_structure(tables):
    lines = lines_of("CC(C)=O")
    small = found_by(tables, "C3H6O", lines, Plan(moves=40_000, judged=2000, rounds=3))
    shares = {canonical_smiles(molecule): share for molecule, share in small.candidates()}
    # Chains with unusual kinds of atoms pass other isomers; all others pass all there are.
    assert 0.5 < shares["CC(C)=O"] <= 1
    large = found_by(tables, "C9H10O3", lines, Plan(moves=2_000, judged=100, rounds=3))
    shares = [share for _, share in large.candidates()]
    assert 1 / large.chains in shares
    assert all(0 < share <= 1 for share in shares)


def test_a_seed_gives_the_same_again(tables):
    runs = [
        found_by(tables, "C8H8O3", lines_of("COc1cc(C=O)ccc1O"), Plan(10_000, rounds=3), seed=seed)
        for seed in (1, 1, 2)
    ]
    energies = [[state.energy for state in run.best()] for run in runs]
    assert energies[0] == energies[1]
    assert smiles_of(runs[0]) == smiles_of(runs[1])
    assert energies[0] != energies[2]


def test_search_ends_at_the_deadline(tables):
    problems = make_problems(Formula.parse("C8H8O3"), lines_of("COc1cc(C=O)ccc1O"), tables)
    search = Search(problems, tables, TableJudge, Plan(10_000), 0, time.monotonic() - 1)
    search.run()
    assert search.rounds == 0


@pytest.mark.parametrize(
    ("formula", "reason"),
    [
        ("H2", "no atoms but hydrogen"),
        ("C61H124", "up to 60"),
        ("C2H6Pt", "Pt, which the tables"),
        ("C2H60", "no structure of known kinds"),
        ("C2H7", "no structure of known kinds"),
        ("C2H6O+3", r"charge \+3"),
    ],
)
def test_formulas_that_cannot_be_searched(tables, formula, reason):
    with pytest.raises(UsageError, match=reason):
        make_problems(Formula.parse(formula), spectrum_of_shifts("13C", [20.0]), tables)


def test_letters_that_contradict_the_formula_are_no_obstacle(tables):
    spectrum = Spectrum("13C", (Peak(20.0, multiplicity="Q"), Peak(30.0, multiplicity="Q")))
    search = found_by(tables, "C2H4O", spectrum, Plan(5_000, rounds=2))
    assert "CC=O" in smiles_of(search)


def test_more_lines_than_atoms_are_no_obstacle(tables):
    search = found_by(
        tables, "C2H6O", spectrum_of_shifts("13C", [10, 20, 20]), Plan(5_000, rounds=2)
    )
    assert set(smiles_of(search)) == {"CCO", "COC"}


def test_what_the_network_said_of_some_states_decides_which_are_next(tables, monkeypatch):
    monkeypatch.setattr("nmrtk_refine.search._ESTIMATED", 100_000)

    class Turning(TableJudge):
        """Finds out that what the tables like best is worst."""

        def __init__(self, table):
            super().__init__(table)
            self.codes = []

        def judge(self, states):
            self.codes.append([codes_of(state.isomer)[1] for state in states])
            return super().judge(states)

        def estimate(self, states):
            for state in states:
                state.energy = -abs(state.energy)

    problems = make_problems(Formula.parse("C8H8O3"), lines_of("COc1cc(C=O)ccc1O"), tables)
    judge = Turning(None)
    search = Search(problems, tables, lambda table: judge, Plan(20_000, judged=128, rounds=1))
    search.run()
    energy = {code: abs(state.energy) for code, state in search.states.items()}
    first, second = ([energy[code] for code in codes] for codes in judge.codes)
    assert len(first) == len(second) == 64
    assert max(first) <= min(second)
    left = [abs(state.energy) for state in search.states.values() if state.score is None]
    assert left
    assert min(second) >= max(left)


def test_only_the_best_of_those_left_are_estimated_anew(tables, monkeypatch):
    class Recording(TableJudge):
        def __init__(self, table):
            super().__init__(table)
            self.estimated = []

        def estimate(self, states):
            self.estimated.append([state.energy for state in states])

    monkeypatch.setattr("nmrtk_refine.search._ESTIMATED", 10)
    problems = make_problems(Formula.parse("C8H8O3"), lines_of("COc1cc(C=O)ccc1O"), tables)
    judge = Recording(None)
    search = Search(problems, tables, lambda table: judge, Plan(20_000, judged=64, rounds=1))
    search.run()
    left = sorted(state.energy for state in search.states.values() if state.score is None)
    assert judge.estimated == [left[:10]]


def test_what_is_learned_keeps_its_row_and_gets_wider_where_sites_differ():
    codes = np.array([7, 3, 7], np.uint64)
    values = np.array([[20.0, 1.0, 0.7, 2.0], [50.0, 0.5, 1.4, 3.0], [24.0, 1.0, 0.7, 2.0]])
    keys, rows = summed_up(codes, values.astype(np.float32))
    assert keys.tolist() == [7, 3]
    assert rows[:, SHIFT].tolist() == [22.0, 50.0]
    assert rows[:, PRIOR].tolist() == [2.0, 3.0]
    assert rows[0, INVERSE_SCALE] < 0.5
    assert rows[1, INVERSE_SCALE] == 0.5
    np.testing.assert_allclose(rows[:, LOG_WIDTH], np.log(2 / rows[:, INVERSE_SCALE]), rtol=1e-6)
    more, _ = summed_up(
        np.append(codes, np.uint64(1)), np.vstack([values, values[:1]]).astype(np.float32)
    )
    assert more.tolist() == [7, 3, 1]
