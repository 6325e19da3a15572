import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nmrtk_refine.codes import DEPTH, is_connected, write_codes
from nmrtk_refine.gathered import codes_of
from nmrtk_refine.kinds import Isomer
from nmrtk_refine.moves import LOG_ROWS, move, undo
from rdkit import Chem
from refine_material import SMILES

from nmrtk.errors import MoleculeError
from nmrtk.molecule import canonical_smiles, parse_smiles

WHOLE = [
    *SMILES,
    *("CN1CCC[C@H]1c1cccnc1", "O=C(O)c1ccccc1OC(C)=O", "C1CC2CCC1C2", "c1ccc2c(c1)ccc1ccccc12"),
    *("CC(C)=C=C", "C1=CC=CC=CC=C1", "CN=[N+]=[N-]", "[C-]#[N+]C", "O=S1(=O)CCCC1", "C"),
]


def isomer_of(graph, kinds):
    return Isomer(kinds, graph.hydrogens.astype(np.int8), graph.bonds.copy())


def shaken(text, seed):
    """Kinds of atoms, and the graph after 30 moves."""
    isomer = Isomer.of_molecule(parse_smiles(text))
    graph = isomer.graph()
    count = len(isomer.kinds)
    random, log = np.array([seed], np.uint64), np.zeros((LOG_ROWS, 4), np.int64)
    for _ in range(30):
        move(graph, np.arange(count), random, log, np.zeros(count, np.int64))
    return isomer.kinds, graph


@settings(deadline=None, max_examples=40)
@given(text=st.sampled_from(WHOLE), seed=st.integers(0, 2**32), all_move=st.booleans())
def test_moves_keep_formula_valences_and_connection(text, seed, all_move):
    isomer = Isomer.of_molecule(parse_smiles(text))
    graph = isomer.graph()
    count = len(isomer.kinds)
    valences = np.array([kind.valence for kind in isomer.kinds])
    hydrogens = int(isomer.hydrogens.sum())
    movable = np.flatnonzero([all_move or kind.element != "C" for kind in isomer.kinds])
    random, log = np.array([seed], np.uint64), np.zeros((LOG_ROWS, 4), np.int64)
    stack = np.zeros(count, np.int64)
    for step in range(300):
        before = graph.bonds.copy(), graph.hydrogens.copy()
        changes = move(graph, movable, random, log, stack)
        assert changes <= LOG_ROWS
        assert (graph.bonds == graph.bonds.T).all()
        assert graph.bonds.min() >= 0
        assert graph.bonds.max() <= 3
        assert not graph.bonds.diagonal().any()
        assert (graph.bonds.sum(1) + graph.hydrogens == valences).all()
        assert graph.hydrogens.min() >= 0
        assert graph.hydrogens.sum() == hydrogens
        assert is_connected(graph, stack)
        for atom in range(count):
            known = sorted(graph.neighbours[atom, : graph.degrees[atom]].tolist())
            assert known == np.flatnonzero(graph.bonds[atom]).tolist()
            assert int(graph.masks[atom]) == sum(1 << other for other in known)
        fixed = np.setdiff1d(np.arange(count), movable)
        assert (graph.hydrogens[fixed] == before[1][fixed]).all()
        if changes and step % 2:
            undo(graph, log, changes)
            assert (graph.bonds == before[0]).all()
            assert (graph.hydrogens == before[1]).all()


@pytest.mark.parametrize("other", ["O=C(CCO)OCCCCl", "O=C(CO)OCCCCCl"])
def test_a_chain_gives_an_atom_or_a_path_to_another_bond_in_one_move(other):
    """One or two CH2 of the acid go to the alcohol, which takes more than one exchange."""
    isomer = Isomer.of_molecule(parse_smiles("OCCCC(=O)OCCCl"))
    graph = isomer.graph()
    count = len(isomer.kinds)
    random, log = np.array([1], np.uint64), np.zeros((LOG_ROWS, 4), np.int64)
    found = set()
    for _ in range(12_000):
        changes = move(graph, np.zeros(0, np.int64), random, log, np.zeros(count, np.int64))
        molecule = isomer_of(graph, isomer.kinds).molecule()
        found.add("" if molecule is None else canonical_smiles(molecule))
        undo(graph, log, changes)
    assert canonical_smiles(parse_smiles(other)) in found


@settings(deadline=None, max_examples=40)
@given(text=st.sampled_from(WHOLE), seed=st.integers(0, 2**32))
def test_codes_after_moves_are_those_of_the_molecule_read_anew(text, seed):
    kinds, graph = shaken(text, seed)
    codes = np.zeros((DEPTH + 1, len(kinds)), np.uint64)
    write_codes(graph, codes)
    fresh, _ = codes_of(isomer_of(graph, kinds))
    assert (codes == fresh).all()


def ring_size(bonds, first, second):
    """Atoms of the smallest ring of a bond: the shortest way round, one step after another."""
    seen, front, steps = {first}, {first}, 0
    while front:
        steps += 1
        front = {
            other
            for atom in front
            for other in np.flatnonzero(bonds[atom]).tolist()
            if other not in seen and {atom, other} != {first, second}
        }
        if second in front:
            return steps + 1
        seen |= front
    return 0


@settings(deadline=None, max_examples=40)
@given(text=st.sampled_from(WHOLE), seed=st.integers(0, 2**32))
def test_bonds_in_rings_of_other_sizes_have_other_codes(text, seed):
    kinds, graph = shaken(text, seed)
    count = len(kinds)
    small = write_codes(graph, np.zeros((DEPTH + 1, count), np.uint64))
    sizes_of, expected = {}, 0.0
    for atom in range(count):
        for place in range(graph.degrees[atom]):
            size = ring_size(graph.bonds, atom, graph.neighbours[atom, place])
            sizes_of.setdefault(int(graph.edges[atom, place]), set()).add(size if size < 8 else 0)
            expected += {3: 1.0, 4: 0.5}.get(size, 0.0)
    assert all(len(sizes) == 1 for sizes in sizes_of.values())
    assert small == expected


@pytest.mark.parametrize("text", WHOLE)
def test_codes_know_neither_order_nor_kekule_structure(text):
    molecule = parse_smiles(text)
    codes, whole = codes_of(Isomer.of_molecule(molecule))
    for seed in range(8):
        other = Chem.MolFromSmiles(text)
        order = np.random.default_rng(seed).permutation(other.GetNumAtoms()).tolist()
        other = Chem.RenumberAtoms(other, order)
        other_codes, other_whole = codes_of(Isomer.of_molecule(other))
        assert other_whole == whole
        assert (other_codes == codes[:, order]).all()


def test_isomers_have_other_codes():
    texts = ["CCO", "COC", "Cc1ccccc1O", "Cc1cccc(O)c1", "Cc1ccc(O)cc1", "OCc1ccccc1"]
    wholes = [codes_of(Isomer.of_molecule(parse_smiles(text)))[1] for text in texts]
    assert len(set(wholes)) == len(texts)


@pytest.mark.parametrize("text", WHOLE)
def test_molecule_comes_back(text):
    molecule = parse_smiles(text)
    assert canonical_smiles(Isomer.of_molecule(molecule).molecule()) == canonical_smiles(molecule)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[Na+].[Cl-]", "several parts|ion or an atom"),
        ("C" * 61, "more than 60"),
        ("[CH3]", "radicals"),
        ("[13CH4]", "isotopes"),
        ("CCO.CC", "several parts"),
    ],
)
def test_what_the_search_cannot_hold(text, reason):
    with pytest.raises(MoleculeError, match=reason):
        Isomer.of_molecule(parse_smiles(text))


@pytest.mark.parametrize(
    ("text", "sizes"),
    [("C1CC1", {3}), ("C1CCC1", {4}), ("C1CCCC1", {5}), ("C1CCCCC1", {6}), ("C1CCCCCC1", {7})],
)
def test_rings_of_each_size_have_codes_of_their_own(text, sizes):
    rings = ["C1CC1", "C1CCC1", "C1CCCC1", "C1CCCCC1", "C1CCCCCC1", "C1CCCCCCC1"]
    code = {ring: codes_of(Isomer.of_molecule(parse_smiles(ring)))[0][-1, 0] for ring in rings}
    assert sum(code[ring] == code[text] for ring in rings) == len(sizes)
