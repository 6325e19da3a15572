from __future__ import annotations

import csv
import gzip
import random
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nmrtk_adjacency.encoder import AdjacencyEncoder
from nmrtk_adjacency.tensor import BOND_ENTRIES
from rdkit import Chem
from torch import Tensor

from nmrtk.errors import MoleculeError, UsageError
from nmrtk.interfaces import Example
from nmrtk.molecule import Molecule, canonical_smiles, finish_molecule, parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.spectrum import spectrum_of_shifts
from nmrtk.testing import check_structure_encoder

CARBON = Nucleus.parse("13C")
ORGANIC = "C,N,O,S,F,Cl,Br,I,P,Si,B"


def features(encoder: AdjacencyEncoder, *molecules: Molecule) -> Tensor:
    return encoder(encoder.collate([encoder.prepare(m) for m in molecules])).features


def round_trip(encoder: AdjacencyEncoder, molecule: Molecule) -> str | None:
    (decoded,) = encoder.decode(features(encoder, molecule))
    return None if decoded is None else canonical_smiles(decoded)


def canonical(smiles: str) -> str:
    return canonical_smiles(parse_smiles(smiles))


@pytest.mark.parametrize("order", ["file", "canonical", "random"])
@pytest.mark.parametrize("elements", ["C", ORGANIC])
def test_contract(order: str, elements: str) -> None:
    def build(nucleus: Nucleus) -> AdjacencyEncoder:
        return AdjacencyEncoder(nucleus, order=order, elements=elements)

    check_structure_encoder(build)


def test_entries_are_those_of_the_seed() -> None:
    tensor = features(AdjacencyEncoder(CARBON), parse_smiles("CC=CC#Cc1ccccc1"))
    planes = tensor.reshape(4, 16, 16)
    found = [tuple(entry) for entry in planes.nonzero().tolist()]
    # Plane, atom i, atom k less 1.
    single = [(0, 0, 0), (0, 2, 2), (0, 4, 4)]
    ring = [(3, 5, 5), (3, 5, 9), (3, 6, 6), (3, 7, 7), (3, 8, 8), (3, 9, 9)]
    assert found == [*single, (1, 1, 1), (2, 3, 3), *ring]


@pytest.mark.parametrize(
    "smiles",
    [
        "CC",
        "CCCCCCCCCCCCCCCCC",
        "c1ccc2ccccc2c1",
        "c1cc2cccccc-2c1",
        "C1=CC=CC=CC=C1",
        "CC(=O)Oc1ccccc1C(=O)O",
        "c1cc[nH]c1",
        "Cn1cccc1",
        "c1cnc[nH]1",
        "C[n+]1ccccc1",
        "c1cc[nH+]cc1",
        "C[N+](C)(C)CC(=O)[O-]",
        "O=[N+]([O-])c1ccccc1",
        "[O-][n+]1ccccc1",
        "[C-]#[O+]",
        "C[N+]#[C-]",
        "[cH-]1cccc1",
        "CS(C)(=O)=O",
        "COP(=O)(OC)OC",
        "FC(Cl)(Br)I",
        "OB(O)c1ccccc1",
        "C[Si](C)(C)C",
        "C1CC1[C@H](F)Cl",
        "F/C=C/F",
    ],
)
def test_organic_molecules_survive_the_round_trip(smiles: str) -> None:
    for order in ("file", "canonical", "random"):
        encoder = AdjacencyEncoder(CARBON, elements=ORGANIC, order=order)
        assert round_trip(encoder, parse_smiles(smiles)) == canonical(smiles)


def grown_molecule(seed: int, elements: list[str]) -> Molecule | None:
    """A random tree of atoms with some more bonds, kept where its valences allow."""
    source = random.Random(seed)
    size = source.randint(2, 17)
    draft = Chem.RWMol()
    for _ in range(size):
        draft.AddAtom(Chem.Atom(source.choice(elements)))
    kinds = [Chem.BondType.SINGLE] * 6 + [Chem.BondType.DOUBLE] * 2 + [Chem.BondType.TRIPLE]
    for atom in range(1, size):
        draft.AddBond(atom, source.randrange(max(0, atom - 3), atom), source.choice(kinds))
    for first, second in combinations(range(size), 2):
        if source.random() < 0.05 and draft.GetBondBetweenAtoms(first, second) is None:
            draft.AddBond(first, second, source.choice(kinds))
    try:
        return finish_molecule(draft.GetMol(), "random molecule")
    except MoleculeError:
        return None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["C", "C,N,O"]))
def test_random_molecules_survive_the_round_trip(seed: int, elements: str) -> None:
    molecule = grown_molecule(seed, elements.split(","))
    assume(molecule is not None)
    for order in ("file", "random"):
        encoder = AdjacencyEncoder(CARBON, elements=elements, order=order, order_seed=seed)
        assert round_trip(encoder, molecule) == canonical_smiles(molecule)


def test_the_seeds_hydrocarbons_survive_the_round_trip(shared_data: Path) -> None:
    encoder = AdjacencyEncoder(CARBON)
    with gzip.open(shared_data / "seed-hydrocarbons.csv.gz", "rt") as lines:
        digits = [row["adjacency_upper_17x17"] for row in csv.DictReader(lines)]
    known = 0
    rows, columns = np.triu_indices(17, 1)
    for text in digits[::5]:
        file = np.zeros((4, 16, 16), dtype=np.float32)
        for i, k, digit in zip(rows, columns, text, strict=True):
            if digit != "0":
                file[3 if digit in "67" else int(digit) - 1, i, k - 1] = 1
        (molecule,) = encoder.decode(torch.from_numpy(file).reshape(1, -1))
        if molecule is None:
            continue
        known += 1
        assert round_trip(encoder, molecule) == canonical_smiles(molecule)
    assert known >= 0.95 * len(digits[::5])


@pytest.mark.parametrize("order", ["canonical", "random"])
def test_other_orders_do_not_depend_on_the_file(order: str) -> None:
    encoder = AdjacencyEncoder(CARBON, order=order, elements="C,O")
    molecule = parse_smiles("CC(C)C1CCC(C)CC1O")
    shuffled = Chem.RenumberAtoms(molecule, [5, 2, 9, 0, 1, 7, 3, 10, 8, 4, 6])
    assert torch.equal(features(encoder, molecule), features(encoder, shuffled))


def test_order_seed_chooses_the_shuffle() -> None:
    molecule = parse_smiles("CC(C)C1CCC(C)CC1")
    tensors = {
        tuple(
            features(AdjacencyEncoder(CARBON, order="random", order_seed=s), molecule)[0].tolist()
        )
        for s in range(5)
    }
    assert len(tensors) == 5


def test_rounding_noise_does_not_change_what_is_decoded() -> None:
    encoder = AdjacencyEncoder(CARBON)
    molecules = [parse_smiles(s) for s in ("Cc1ccccc1", "CC=C", "C#CCCCC")]
    noise = 0.2 * (torch.rand(3, 1024, generator=torch.Generator().manual_seed(0)) - 0.5)
    decoded = encoder.decode(features(encoder, *molecules) + noise)
    assert [canonical_smiles(m) for m in decoded] == [canonical_smiles(m) for m in molecules]


def test_greatest_of_several_bond_types_counts() -> None:
    encoder = AdjacencyEncoder(CARBON)
    tensor = torch.zeros(1, 4, 16, 16)
    tensor[0, :3, 0, 0] = torch.tensor([0.7, 0.9, 0.8])
    assert canonical_smiles(encoder.decode(tensor.reshape(1, -1))[0]) == "C=C"


def test_places_of_atoms_may_have_gaps() -> None:
    tensor = torch.zeros(1, 4, 16, 16)
    tensor[0, 0, 3, 9] = tensor[0, 0, 9 + 1, 15] = 1
    (decoded,) = AdjacencyEncoder(CARBON).decode(tensor.reshape(1, -1))
    assert canonical_smiles(decoded) == "CCC"


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [(0, 0, 0), (0, 2, 2)],
        [(2, 0, 0), (2, 0, 1)],
        [(3, 0, 0), (3, 1, 1)],
        [(0, 5, 2)],
    ],
    ids=["nothing", "two parts", "broken valence", "aromatic chain", "lower triangle"],
)
def test_what_is_no_molecule_decodes_to_none(entries: list[tuple[int, int, int]]) -> None:
    tensor = torch.zeros(1, 4, 16, 16)
    for entry in entries:
        tensor[(0, *entry)] = 1
    assert AdjacencyEncoder(CARBON).decode(tensor.reshape(1, -1)) == [None]


@pytest.mark.parametrize(
    ("smiles", "elements", "message"),
    [
        ("C" * 18, "C", "18 heavy atoms, at most 17"),
        ("CCO", "C", "element O at atom 2.*elements=C"),
        ("C", "C", "no bond between heavy atoms"),
        ("C.C", "C", "several unconnected parts"),
        ("CC[C+](C)C", "C", r"charge \+1 at atom 2: only 0 can be encoded with one element"),
        ("CC[S+2](C)C", "C,S", r"charge \+2 at atom 2: only 0, \+1, -1 can be encoded"),
        ("C[CH2]", "C", "has a radical or an unusual number of hydrogens"),
        ("N->[B]", "B,N", "a bond of type DATIVE cannot be encoded"),
    ],
)
def test_molecules_out_of_range_are_refused(smiles: str, elements: str, message: str) -> None:
    encoder = AdjacencyEncoder(CARBON, elements=elements)
    with pytest.raises(MoleculeError, match=message):
        encoder.prepare(parse_smiles(smiles))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "sorted"}, "order is 'sorted', allowed are"),
        ({"order_seed": -1}, "order_seed is -1"),
        ({"elements": "C,Xx"}, "'Xx' in elements is no element"),
        ({"elements": ""}, "'' in elements is no element"),
        ({"elements": "H,C"}, "'H' in elements is no element above hydrogen"),
        ({"elements": "C,C"}, "1 to 26 different ones"),
        ({"threshold": 0.0}, "threshold is 0, it must be between 0 and 1"),
        ({"range_weight": -1.0}, "range_weight is -1"),
        ({"density_weight": float("nan")}, "density_weight is nan"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        AdjacencyEncoder(CARBON, **options)


def test_as_many_elements_as_allowed_survive_the_round_trip() -> None:
    elements = f"{ORGANIC},Se,Te,As,Ge,Sn,Sb,Al,Ga,In,Tl,Pb,Bi,Hg,Cd,Zn"
    encoder = AdjacencyEncoder(CARBON, elements=elements)
    with pytest.raises(UsageError, match="1 to 26 different ones"):
        AdjacencyEncoder(CARBON, elements=f"{elements},Mg")
    smiles = "CCCCCCCCCCCCCCC[Zn]C"
    assert round_trip(encoder, parse_smiles(smiles)) == canonical(smiles)


def fitted(**options: float) -> AdjacencyEncoder:
    weights = {"range_weight": 0.0, "sparsity_weight": 0.0, "density_weight": 0.0} | options
    encoder = AdjacencyEncoder(CARBON, **weights)
    line = spectrum_of_shifts("13C", [10.0])
    encoder.fit([Example(s, parse_smiles(s), line) for s in ("CC", "CCCC")])
    return encoder


def test_generation_penalty_is_its_three_terms() -> None:
    structure = features(fitted(), parse_smiles("CCC"))
    assert fitted(range_weight=1.0, density_weight=1.0).generation_penalty(structure).item() < 1e-12
    outside = torch.full((1, 1024), -0.5)
    assert fitted(range_weight=2.0).generation_penalty(outside).item() == pytest.approx(0.5)
    assert fitted(sparsity_weight=2.0).generation_penalty(outside).item() == pytest.approx(1.0)
    crowded = torch.ones(1, 1024)
    share = 2 / BOND_ENTRIES.size
    penalty = fitted(density_weight=1.0).generation_penalty(crowded)
    assert penalty.item() == pytest.approx((1 - share) ** 2)


def test_penalty_needs_training_molecules() -> None:
    encoder = AdjacencyEncoder(CARBON)
    with pytest.raises(UsageError, match="needs `fit` on training molecules"):
        encoder.generation_penalty(torch.zeros(1, 1024))
    with pytest.raises(UsageError, match="without molecules"):
        encoder.fit([])


@pytest.mark.parametrize("smiles", ["CC=CC#Cc1ccccc1", "CC", "C1CC1"])
def test_bonds_are_counted_as_in_the_molecule(smiles: str) -> None:
    molecule = parse_smiles(smiles)
    encoder = AdjacencyEncoder(CARBON)
    aromatic = sum(bond.GetIsAromatic() for bond in molecule.GetBonds())
    counts = encoder.bond_counts(features(encoder, molecule))
    assert counts.tolist() == [[molecule.GetNumBonds(), aromatic]]


def test_bonds_are_counted_where_no_molecule_results() -> None:
    tensor = torch.zeros(2, 4, 16, 16)
    tensor[0, :, 0, 0] = torch.tensor([0.7, 0.6, 0.0, 0.9])  # one bond, most likely aromatic
    tensor[0, 0, 2:5, 10] = 0.6
    tensor[0, 0, 5, 2] = 1.0  # below the diagonal: no bond
    tensor[1] = 0.5  # not above the threshold
    encoder = AdjacencyEncoder(CARBON)
    assert encoder.decode(tensor.flatten(1)) == [None, None]
    assert encoder.bond_counts(tensor.flatten(1)).tolist() == [[4, 1], [0, 0]]
