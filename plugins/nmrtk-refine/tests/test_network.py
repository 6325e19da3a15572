import math

import numba
import numpy as np
import pytest
import torch
from nmrtk_refine.annealing import anneal, evaluate, new_kept, new_workplace
from nmrtk_refine.codes import DEPTH, MOST_ATOMS, RADIUS
from nmrtk_refine.gathered import codes_of
from nmrtk_refine.graphs import BondGraph
from nmrtk_refine.kinds import Isomer, load_graph, write_bond_kinds
from nmrtk_refine.network import ask_network, network_of, network_tensors, new_memo, no_network
from nmrtk_refine.problem import make_problems
from nmrtk_refine.states import square
from nmrtk_refine.student import Lesson, Student, train_network
from nmrtk_refine.wrong import wrong_isomers
from refine_material import SMILES, lines_of, make_tables, shift_of

from nmrtk.formula import Formula
from nmrtk.molecule import parse_smiles

LARGER = ["CC12CCC3c4ccc(O)cc4CCC3C1CCC2=O", "C[N+](C)(C)CC(=O)[O-]", "O=C(c1ccncc1)N1CCC1C#N"]


def isomer_of(text):
    return Isomer.of_molecule(parse_smiles(text))


def lesson_of(text):
    isomer = isomer_of(text)
    codes, _ = codes_of(isomer)
    sites = [row for row, kind in enumerate(isomer.kinds) if kind.element == "C"]
    shifts = np.array([shift_of(codes[: RADIUS + 1, site]) for site in sites], np.float32)
    return Lesson(
        BondGraph.of(isomer), np.array(sites, np.int64), shifts, np.ones(len(sites), np.float32)
    )


@pytest.fixture(scope="module")
def lessons():
    return [lesson_of(text) for text in SMILES + LARGER]


@pytest.fixture(scope="module")
def student(lessons):
    torch.manual_seed(0)
    kinds = sorted({kind for one in lessons for kind in one.graph.kinds})
    return Student(kinds, np.array([100.0, 50.0, 5.0], np.float32))


ERYTHROMYCIN = (
    "CCC1OC(=O)C(C)C(OC2CC(C)(OC)C(O)C(C)O2)C(C)C(OC2OC(C)CC(N(C)C)C2O)C(C)(O)CC(C)C(=O)C(C)"
    "C(O)C1(C)O"
)


@numba.njit
def ask(network, memo, graph, codes, sites):
    ask_network(network, memo, graph, codes, sites)


def values_of(network, memo, text, sites):
    isomer = isomer_of(text)
    graph = isomer.graph()
    write_bond_kinds(graph)
    ask(network, memo, graph, codes_of(isomer)[0], np.asarray(sites))
    return memo.answers[sites].copy()


@numba.njit
def compiled_evaluate(graph, table, target, work):
    return evaluate(graph, table, target, work)


@pytest.mark.parametrize("places", [1, 1 << 10])
def test_the_inner_loop_computes_what_was_trained(lessons, student, places):
    network = student.network()
    memo = new_memo(network, MOST_ATOMS, places, places)
    for text, lesson in zip(SMILES + LARGER, lessons, strict=True):
        if not len(lesson.sites):
            continue
        with torch.no_grad():
            shifts, scales = student(student.collate([lesson]))
        values = values_of(network, memo, text, lesson.sites)
        np.testing.assert_allclose(values[:, 0], shifts.numpy(), rtol=1e-3, atol=1e-2)
        np.testing.assert_allclose(values[:, 1], scales.numpy(), rtol=1e-3, atol=1e-3)


def test_a_large_structure_passes_a_layer_in_parts(student):
    lesson = lesson_of(ERYTHROMYCIN)
    assert len(lesson.sites) > 32
    with torch.no_grad():
        shifts, _ = student(student.collate([lesson]))
    network = student.network()
    values = values_of(network, new_memo(network, MOST_ATOMS), ERYTHROMYCIN, lesson.sites)
    np.testing.assert_allclose(values[:, 0], shifts.numpy(), rtol=1e-3, atol=1e-2)


def test_what_a_memo_holds_is_what_would_be_worked_out(lessons, student):
    network = student.network()
    memo = new_memo(network, MOST_ATOMS)
    everything = list(zip(SMILES + LARGER, lessons, strict=True))
    for text, lesson in everything + everything[::-1]:
        fresh = values_of(network, new_memo(network, MOST_ATOMS), text, lesson.sites)
        values = values_of(network, memo, text, lesson.sites)
        np.testing.assert_allclose(values, fresh, rtol=1e-4, atol=1e-3)


def test_an_unknown_kind_of_atom_has_a_state_of_its_own(lessons, student):
    lesson = lesson_of("C[Se]C")
    with torch.no_grad():
        shifts, _ = student(student.collate([lesson]))
    network = student.network()
    values = values_of(network, new_memo(network, MOST_ATOMS), "C[Se]C", lesson.sites)
    np.testing.assert_allclose(values[:, 0], shifts.numpy(), rtol=1e-3)


def test_a_network_survives_its_file(student):
    network = student.network()
    again = network_of(network_tensors(network))
    for one, other in zip(network, again, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, atol=2e-3, rtol=1e-3)


def test_training_learns_the_lines(lessons):
    network = train_network(lessons, epochs=400)
    memo = new_memo(network, MOST_ATOMS)
    errors = [
        np.abs(values_of(network, memo, text, lesson.sites)[:, 0] - lesson.shifts)
        for text, lesson in zip(SMILES + LARGER, lessons, strict=True)
        if len(lesson.sites)
    ]
    # The shifts are hashes: a mean would be off by 30 ppm.
    assert np.concatenate(errors).mean() < 10


def test_no_lessons_make_no_network():
    assert len(train_network([]).read) == 0


def test_kept_energies_are_those_with_the_network(student):
    tables = make_tables()
    spectrum = lines_of("CCOC(C)=O", letters=False)
    (problem, *_) = make_problems(Formula.parse("C4H8O2"), spectrum, tables)
    table, network, count = tables.table(), student.network(), len(problem.kinds)
    work, kept = new_workplace(count, 4, 5, network), new_kept(count, 300)
    graph = problem.start(1)
    anneal(graph, problem.hydrogens_move, table, problem.target, work, kept, 20_000, 60.0, 30.0)
    size = int(kept.size[0])
    assert size > 20
    plain = new_workplace(count, 4, 5, no_network())
    differ = False
    for row in range(size):
        bonds = square(kept.bonds[row], count)
        load_graph(graph, bonds, kept.hydrogens[row])
        fresh = new_workplace(count, 4, 5, network)
        energy = compiled_evaluate(graph, table, problem.target, fresh)
        assert kept.energies[row] == pytest.approx(energy, abs=1e-2)
        without = compiled_evaluate(graph, table, problem.target, plain)
        differ = differ or not math.isclose(energy, without, abs_tol=0.1)
    assert differ


def test_wrong_isomers_have_the_formula_of_a_lesson(lessons):
    tables = make_tables()
    found = wrong_isomers(lessons, tables, structures=6)
    assert len(found) > 20
    formulas = {(tuple(sorted(one.graph.kinds)), int(one.graph.hydrogens.sum())) for one in lessons}
    for isomer in found:
        assert (tuple(sorted(isomer.kinds)), int(isomer.hydrogens.sum())) in formulas
        assert codes_of(isomer)[0].shape == (DEPTH + 1, len(isomer.kinds))
