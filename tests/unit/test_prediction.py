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
from nmrtk.errors import PluginError
from nmrtk.formula import VECTOR_WIDTH
from nmrtk.interfaces import Encoded
from nmrtk.model import ReversibleModel, build_model
from nmrtk.molecule import parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.options import options_of
from nmrtk.plugins import components
from nmrtk.prediction import predict_rows, source_indices
from nmrtk.prediction_formats import FORMATS
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


def line_encoders():
    """Names of the installed encoders that predict lines; those whose needs are missing too."""
    for name, component in components("structure_encoders").items():
        try:
            if not component.load().predicts_lines:
                continue
        except PluginError:
            pass  # Its own fixture skips and says so.
        yield name


@pytest.fixture(scope="module", params=line_encoders())
def encoder_model(request, plugins):
    """A small model with weights that nobody trained, for each encoder that predicts lines."""
    pytest.importorskip("nmrtk_binned", reason="the default codec is in nmrtk-binned")
    pytest.importorskip("nmrtk_irevnet", reason="the default backbone is in nmrtk-irevnet")
    try:
        component_class = components("structure_encoders")[request.param].load()
    except PluginError as error:
        pytest.skip(str(error))
    small = {"hidden_dim": 16, "layers": 2}
    options = {key: small[key] for key in options_of(component_class) if key in small}
    tables = {
        "encoder": {"name": request.param, **options},
        "codec": {"name": "binary-128"},
        "backbone": {"name": "irevnet-flat", "depth": 2, "hidden_dim": 16},
    }
    torch.manual_seed(0)
    model = build_model(make_recipe(tables, "test"))
    for parameter in model.parameters():
        # Layers that start at zero would hide what depends on what.
        torch.nn.init.normal_(parameter, std=0.1)
    return loaded(model)


ODD = (
    "[Na+].CC(=O)[O-]",
    "CCO.O.Cl",
    "[13CH3]C([2H])([2H])O",
    "C[N+](C)(C)CC([O-])=O",
    "C[CH]C",
    "[CH2]",
    "[C-]#[O+]",
    "C[Se]C[Te]C",
    "CC[Sn](C)(C)C",
    "[Fe+2].[CH-]1C=CC=C1.[CH-]1C=CC=C1",
    "[NH3][Pt]([NH3])(Cl)Cl",
    "C[Og]",
    "*CC",
    "N",
    "[He]",
    "F[P-](F)(F)(F)(F)F",
    "C/C=C\\C[C@H](F)Cl",
    "C12C3C4C1C5C2C3C45",
    "[NH3]->[BH3]",
    "[H][H]",
    "C" * 300,
    "NCC(=O)" * 75 + "O",
    "",
    "   ",
    "xyz",
    "C(C)(C)(C)(C)C",
    "CC>>CO",
    "c1ccc1c",
)


def test_every_structure_gets_a_prediction_or_says_why(encoder_model):
    rows = list(predict_rows(encoder_model, ODD))
    assert [row["smiles"] for row in rows] == list(ODD)
    for row in rows:
        for form in FORMATS.values():
            assert form.render(row)
        if "error" not in row:
            carbons = parse_smiles(row["smiles"]).GetSubstructMatches(Chem.MolFromSmarts("[#6]"))
            assert len(row["peaks"]) == len(carbons)
    failed = {row["smiles"] for row in rows if "error" in row}
    assert {"", "   ", "xyz", "C(C)(C)(C)(C)C", "CC>>CO", "c1ccc1c"} <= failed
    assert not failed & {*ODD[:6], *ODD[20:22], "N"}


def in_another_order(molecule, random):
    """A SMILES whose atoms stand in another order, and for each its index in the molecule."""
    order = list(range(molecule.GetNumAtoms()))
    random.shuffle(order)
    other = Chem.RenumberAtoms(molecule, order)
    text = Chem.MolToSmiles(other, canonical=False)
    written = other.GetProp("_smilesAtomOutputOrder").strip("[],").split(",")
    return text, [order[int(index)] for index in written]


@settings(max_examples=25)
@given(
    st.sampled_from(SMILES + ODD[:18]),
    st.randoms(use_true_random=False),
    st.lists(st.sampled_from(SMILES + ODD[:18]), max_size=3),
)
def test_atoms_in_any_order_and_any_company(encoder_model, smiles, random, company):
    text, places = in_another_order(parse_smiles(smiles), random)
    (alone,) = predict_rows(encoder_model, [smiles])
    *_, other = predict_rows(encoder_model, [*company, text])
    assert ("error" in alone) == ("error" in other)
    if "error" in alone:
        return
    lines = {places[peak["atoms"][0]]: peak for peak in other["peaks"]}
    assert len(lines) == len(alone["peaks"])
    for peak in alone["peaks"]:
        line = lines[peak["atoms"][0]]
        assert line["multiplicity"] == peak["multiplicity"]
        assert (line["ppm"], line["sigma"]) == pytest.approx((peak["ppm"], peak["sigma"]), abs=0.02)
    assert other["code"] == pytest.approx(alone["code"], abs=1e-3)


def test_large_molecules_go_through_the_model_in_portions(monkeypatch):
    sizes = []
    model = loaded()
    monkeypatch.setattr("nmrtk.prediction._MOST_ATOMS", 10)
    forward = model.model.encoder.forward
    monkeypatch.setattr(
        model.model.encoder,
        "forward",
        lambda batch: sizes.append(len(batch.numbers)) or forward(batch),
    )
    structures = ["C" * 4, "xyz", "C" * 6, "C", "C" * 30, "C" * 10]
    rows = list(predict_rows(model, structures))
    assert sizes == [10, 1, 30, 10]
    assert [len(row.get("peaks", [])) for row in rows] == [4, 0, 6, 1, 30, 10]
