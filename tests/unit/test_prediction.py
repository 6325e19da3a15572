import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from doubles import CountingEncoder, FewBins, Shear, small_model
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem

from nmrtk.checkpoint import Calibration, LoadedModel
from nmrtk.formula import VECTOR_WIDTH
from nmrtk.interfaces import Encoded
from nmrtk.model import ReversibleModel, build_model
from nmrtk.molecule import parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.prediction import predict_rows, source_indices
from nmrtk.recipe import Recipe, make_recipe
from nmrtk.rows import StructureRow

SMILES = ("CCO", "Cc1ccccc1", "CC(=O)OCC", "N", "C[N+](C)(C)C", "OC(=O)c1ccccc1")


def loaded(model=None, **calibration):
    model = (model or small_model(VECTOR_WIDTH)).eval()
    return LoadedModel(model, Recipe(), Calibration(**calibration), {}, Path("double"))


class NoisyEncoder(CountingEncoder):
    """Equivalent atoms differ by noise, as sums in another order make them."""

    def forward(self, batch):
        encoded = super().forward(batch)
        lines = encoded.lines
        noise = 1e-5 * torch.randn(len(lines.shift))
        return Encoded(encoded.features, replace(lines, shift=lines.shift + noise))


def model_with(encoder):
    codec = FewBins(Nucleus.parse("13C"))
    return ReversibleModel(encoder, codec, Shear(encoder.width, codec.width, VECTOR_WIDTH))


def test_rows_are_as_documented():
    (row,) = predict_rows(loaded(sigma_factor=2.5), [StructureRow("line 1", "a", "CCO")])
    assert list(row) == ["id", "smiles", "nucleus", "peaks", "code"]
    assert (row["id"], row["smiles"], row["nucleus"]) == ("a", "CCO", "13C")
    assert sorted(peak["atoms"] for peak in row["peaks"]) == [[0], [1]]
    assert {peak["atoms"][0]: peak["multiplicity"] for peak in row["peaks"]} == {0: "Q", 1: "T"}
    assert {peak["sigma"] for peak in row["peaks"]} == {2.5}
    assert len(row["code"]) == 4
    assert all(0 <= value <= 1 for value in row["code"])
    json.dumps(row, allow_nan=False)


def test_bad_structures_are_rows_with_an_error_and_the_others_go_on():
    structures = ["CCO", "xyz", "[Og]", "", "C(C)(C)(C)(C)C", "CC"]
    rows = list(predict_rows(loaded(), structures, batch_size=4))
    assert [row["smiles"] for row in rows] == structures
    assert [row["id"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert ["error" in row for row in rows] == [False, True, True, True, True, False]
    for row, text in zip(rows[1:5], ("xyz", "too heavy", "empty", "valence"), strict=True):
        assert text in row["error"]
        assert row["error"].startswith(f"item {row['id']}: ")


def test_rows_come_before_all_structures_are_read():
    def endless():
        while True:
            yield "CCO"

    rows = predict_rows(loaded(), endless(), batch_size=2)
    assert [next(rows)["id"] for _ in range(5)] == ["1", "2", "3", "4", "5"]


def test_peaks_ascend_and_equivalent_atoms_have_the_same():
    model = model_with(NoisyEncoder(Nucleus.parse("13C")))
    (row,) = predict_rows(loaded(model), ["CC(C)c1ccc(C(C)C)cc1"])
    shifts = [peak["ppm"] for peak in row["peaks"]]
    assert shifts == sorted(shifts)
    by_atom = {peak["atoms"][0]: peak["ppm"] for peak in row["peaks"]}
    assert by_atom[0] == by_atom[2] == by_atom[8] == by_atom[9]
    assert by_atom[4] == by_atom[5] == by_atom[10] == by_atom[11]


def test_structures_without_a_site_have_no_peaks():
    (row,) = predict_rows(loaded(), ["N"])
    assert row["peaks"] == []


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(SMILES), st.randoms(use_true_random=False), st.booleans())
def test_atoms_are_those_of_the_smiles_as_given(smiles, random, explicit):
    molecule = Chem.MolFromSmiles(smiles)
    if explicit:
        molecule = Chem.AddHs(molecule)
    order = list(range(molecule.GetNumAtoms()))
    random.shuffle(order)
    text = Chem.MolToSmiles(Chem.RenumberAtoms(molecule, order), canonical=False)
    parameters = Chem.SmilesParserParams()
    parameters.removeHs = False
    given_atoms = Chem.MolFromSmiles(text, parameters)
    (row,) = predict_rows(loaded(), [text])
    atoms = [peak["atoms"][0] for peak in row["peaks"]]
    carbons = [atom.GetIdx() for atom in given_atoms.GetAtoms() if atom.GetSymbol() == "C"]
    assert sorted(atoms) == carbons
    for peak in row["peaks"]:
        atom = given_atoms.GetAtomWithIdx(peak["atoms"][0])
        assert peak["multiplicity"] == "SDTQ"[atom.GetTotalNumHs(includeNeighbors=True)]


@pytest.mark.parametrize("smiles", ["[H][H]", "[2H]C([H])O", "[H]c1ccccc1", "[H][N+]([H])([H])C"])
def test_source_indices_name_atoms_of_the_same_element(smiles):
    parameters = Chem.SmilesParserParams()
    parameters.removeHs = False
    given_atoms = Chem.MolFromSmiles(smiles, parameters)
    molecule = parse_smiles(smiles)
    for index, atom in zip(source_indices(smiles, molecule), molecule.GetAtoms(), strict=True):
        assert given_atoms.GetAtomWithIdx(index).GetSymbol() == atom.GetSymbol()


class SilentEncoder(CountingEncoder):
    predicts_lines = False

    def forward(self, batch):
        return Encoded(super().forward(batch).features)


def test_without_lines_of_the_encoder_the_codec_makes_them():
    model = model_with(SilentEncoder(Nucleus.parse("13C")))
    (row,) = predict_rows(loaded(model), ["CCO"])
    assert len(row["peaks"]) == 2
    assert all(peak["atoms"] == [] and peak["sigma"] is None for peak in row["peaks"])


def test_neighbours_in_the_batch_and_the_order_of_atoms_do_not_matter():
    model = loaded()
    together = list(predict_rows(model, ["CCO", "c1ccccc1", "OCC"]))
    (alone,) = predict_rows(model, ["CCO"])
    assert np.allclose(together[0]["code"], alone["code"], atol=1e-4)
    shifts = [[peak["ppm"] for peak in row["peaks"]] for row in (*together, alone)]
    assert shifts[0] == shifts[2] == shifts[3]


class NitrogenHater(CountingEncoder):
    def forward(self, batch):
        encoded = super().forward(batch)
        bad = torch.zeros(batch.size).index_add(0, batch.owners, (batch.numbers == 7).float())
        nothing = torch.where(bad > 0, torch.nan, 0.0)
        return Encoded(encoded.features + nothing[:, None], encoded.lines)


def test_output_that_is_not_finite_costs_only_its_own_row():
    model = model_with(NitrogenHater(Nucleus.parse("13C")))
    rows = list(predict_rows(loaded(model), ["CCO", "CCN", "CC"]))
    assert ["error" in row for row in rows] == [False, True, False]
    assert "not finite" in rows[1]["error"]


@pytest.fixture(scope="module")
def gin():
    """The default encoder with weights that nobody trained."""
    pytest.importorskip("nmrtk_dgl", reason="the default encoder needs nmrtk-dgl")
    pytest.importorskip("nmrtk_binned", reason="the default codec is in nmrtk-binned")
    pytest.importorskip("nmrtk_irevnet", reason="the default backbone is in nmrtk-irevnet")
    torch.manual_seed(0)
    tables = {
        "encoder": {"name": "dgl-gin", "hidden_dim": 16, "layers": 2},
        "backbone": {"name": "irevnet-flat", "depth": 2, "hidden_dim": 16},
    }
    model = build_model(make_recipe(tables, "test"))
    for parameter in model.parameters():
        # Layers that start at zero would hide what depends on what.
        torch.nn.init.normal_(parameter, std=0.1)
    return loaded(model)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(SMILES),
    st.randoms(use_true_random=False),
    st.lists(st.sampled_from(SMILES), max_size=3),
)
def test_default_encoder_takes_atoms_in_any_order_and_company(gin, smiles, random, company):
    molecule = Chem.MolFromSmiles(smiles)
    order = list(range(molecule.GetNumAtoms()))
    random.shuffle(order)
    text = Chem.MolToSmiles(Chem.RenumberAtoms(molecule, order), canonical=False)
    (alone,) = predict_rows(gin, [smiles])
    *_, other = predict_rows(gin, [*company, text])
    match = Chem.MolFromSmiles(text).GetSubstructMatch(molecule)
    shifts = {peak["atoms"][0]: (peak["ppm"], peak["sigma"]) for peak in other["peaks"]}
    for peak in alone["peaks"]:
        assert (peak["ppm"], peak["sigma"]) == pytest.approx(
            shifts[match[peak["atoms"][0]]], abs=0.02
        )
    assert other["code"] == pytest.approx(alone["code"], abs=1e-3)
