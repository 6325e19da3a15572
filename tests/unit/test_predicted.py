"""Predictions as objects, as text of journals, as SD records."""

from __future__ import annotations

import re

import numpy as np
import pytest
from doubles import small_model
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem

import nmrtk
from nmrtk.acs import acs_text
from nmrtk.checkpoint import Calibration, LoadedModel, default_model, save_model
from nmrtk.errors import CheckpointError, MoleculeError, UsageError
from nmrtk.formula import VECTOR_WIDTH
from nmrtk.model import build_model
from nmrtk.nucleus import Nucleus
from nmrtk.predicted import PredictedSpectrum
from nmrtk.recipe import Recipe, make_recipe
from nmrtk.sd_output import sd_record
from nmrtk.spectrum import Peak, Spectrum

SMILES = (
    "CCO",
    "[H]OC(C)(C)C",
    "C[N+](C)(C)CC(=O)[O-].[Na+]",
    "[2H]C([2H])([2H])Cl",
    "C/C=C/[C@H](F)Cl",
    "[13CH3][CH]C",
    "C" * 300,
    "N",
)


def row_of(smiles, row_id="a", **more):
    """A row as the model would give it, with a shift that tells the atom."""
    parameters = Chem.SmilesParserParams()
    parameters.removeHs = False
    molecule = Chem.MolFromSmiles(smiles, parameters)
    peaks = [
        {
            "ppm": round(200.0 - 0.25 * atom.GetIdx(), 2),
            "sigma": round(0.5 + 0.01 * atom.GetIdx(), 2),
            "multiplicity": "SDTQ"[min(atom.GetTotalNumHs(includeNeighbors=True), 3)],
            "atoms": [atom.GetIdx()],
        }
        for atom in molecule.GetAtoms()
        if atom.GetSymbol() == "C"
    ]
    return {
        "id": row_id,
        "smiles": smiles,
        "nucleus": "13C",
        "peaks": sorted(peaks, key=lambda peak: peak["ppm"]),
        "code": [0.25, 0.5],
        **more,
    }


def test_object_has_the_columns_of_the_row():
    spectrum = PredictedSpectrum.of_row(row_of("CCO", 7))
    assert (spectrum.id, spectrum.smiles, spectrum.nucleus, spectrum.error) == (7, "CCO", "13C", "")
    assert spectrum.ppm.tolist() == [199.75, 200.0]
    assert spectrum.sigma.tolist() == [0.51, 0.5]
    assert spectrum.multiplicity == ["T", "Q"]
    assert spectrum.atoms == [(1,), (0,)]
    assert spectrum.by_atom() == {0: 200.0, 1: 199.75}
    assert spectrum.code.tolist() == [0.25, 0.5]
    assert str(spectrum) == spectrum.acs() == "13C NMR δ 200.0 (CH3), 199.8 (CH2)."


def test_object_of_an_error_says_why_and_only_its_uses_raise():
    spectrum = PredictedSpectrum.of_row({"id": "1", "smiles": "xyz", "error": "line 1: no"})
    assert str(spectrum) == spectrum.error == "line 1: no"
    assert (spectrum.ppm.size, spectrum.sigma.size, spectrum.atoms) == (0, 0, [])
    for use in (spectrum.acs, lambda: spectrum.spectrum):
        with pytest.raises(MoleculeError, match="line 1: no"):
            use()


def test_sigma_that_is_missing_is_nan():
    row = row_of("C")
    row["peaks"][0].update(sigma=None, atoms=[])
    spectrum = PredictedSpectrum.of_row(row)
    assert np.isnan(spectrum.sigma).all()
    assert spectrum.by_atom() == {}


def test_a_single_text_is_not_a_list(tmp_path):
    model = LoadedModel(small_model(VECTOR_WIDTH).eval(), Recipe(), Calibration(), {}, tmp_path)
    with pytest.raises(UsageError, match=r"predict\(\['CCO'\]\)"):
        model.predict("CCO")
    first, second, third = model.predict(["CCO", "xyz", None])
    assert len(first.peaks) == 2
    assert "xyz" in second.error
    assert third.error == "item 3: None is not a SMILES"


def test_the_example_of_the_readme_runs(tmp_path, repository, capsys, plugins):
    path = save_small_model(tmp_path)
    text = (repository / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(import nmrtk\n.*?)```", text, re.DOTALL)
    for name in (str(path), str(path.parent)):
        exec(example.replace('"run/"', repr(name)), {})
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("CCO [")
        assert re.fullmatch(r"13C NMR δ \S+ \(CH\d\), \S+ \(CH\d\)\.", lines[1])
    (spectrum,) = nmrtk.load(path).predict(["c1ccccc1"])
    assert spectrum.atoms == [(atom,) for atom in range(6)]
    assert spectrum.multiplicity == ["D"] * 6
    assert len(set(spectrum.ppm.tolist())) == len(set(spectrum.sigma.tolist())) == 1


def save_small_model(folder):
    """A model that nobody trained."""
    for plugin in ("nmrtk_mpnn", "nmrtk_binned", "nmrtk_irevnet"):
        pytest.importorskip(plugin, reason=f"the model has a part of {plugin}")
    tables = {
        "encoder": {"name": "mpnn", "hidden_dim": 8, "layers": 1},
        "codec": {"name": "binary-128"},
        "backbone": {"name": "irevnet-flat", "depth": 1, "hidden_dim": 8},
    }
    recipe = make_recipe(tables, "test")
    path = folder / "model.safetensors"
    save_model(path, build_model(recipe), recipe, Calibration(), {})
    return path


class Installed:
    """Stands for a distribution with a trained model."""

    def __init__(self, path):
        self.path = path

    def load(self):
        return lambda: self

    def weights(self):
        return self.path


def test_models_are_found_by_name_and_13c_is_usual(tmp_path, monkeypatch, plugins):
    path = save_small_model(tmp_path)
    installed = {}
    monkeypatch.setattr("nmrtk.checkpoint.components", lambda kind: installed)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no pretrained model is installed"):
        default_model()
    with pytest.raises(CheckpointError, match="'13c' is neither a folder"):
        nmrtk.load("13c")
    installed["31p"] = Installed(tmp_path / "missing")
    assert default_model() == "31p"
    installed["small"] = Installed(path)
    assert default_model() == "small"
    installed["other"] = Installed(path)
    with pytest.raises(UsageError, match="choose one with --model: small, other"):
        default_model()
    installed["13c"] = Installed(path)
    assert default_model() == "13c"
    # A folder of that name that holds no model does not hide it.
    (tmp_path / "13c").mkdir()
    assert nmrtk.load("13c").path == path


# --- text


def peak(ppm, letter="", sigma=1.0):
    return Peak(ppm, multiplicity=letter, sigma=sigma)


@pytest.mark.parametrize(
    ("spectrum", "text"),
    [
        (
            Spectrum("13C", (peak(57.84, "T"), peak(170.06, "S"), peak(18.1, "Q"))),
            "13C NMR δ 170.1 (C), 57.8 (CH2), 18.1 (CH3).",
        ),
        (
            Spectrum("13C", (peak(128.4, "D"), peak(128.4, "D"), peak(30, "S"), peak(30, "S"))),
            "13C NMR δ 128.4 (CH, 2C), 30.0 (C, 2C).",
        ),
        # Alike when rounded, but not equivalent.
        (Spectrum("13C", (peak(20.01), peak(20.02))), "13C NMR δ 20.0, 20.0."),
        (Spectrum("13C", (peak(-2.34, "Q"),)), "13C NMR δ −2.3 (CH3)."),
        (
            Spectrum("13C", (peak(18.1),), solvent="CDCl3", field_mhz=100.6),
            "13C NMR (101 MHz, CDCl3) δ 18.1.",
        ),
        (Spectrum("13C", ()), "13C NMR: no line."),
        (Spectrum("31P", (peak(5.0), peak(5.0))), "31P NMR δ 5.0 (2P)."),
        (Spectrum("1H", (peak(7.264, "br s"),)), "1H NMR δ 7.26 (br s)."),
        # Two atoms, but of how many hydrogens the spectrum does not say.
        (Spectrum("1H", (peak(1.2), peak(1.2))), "1H NMR δ 1.20."),
    ],
)
def test_text_of_journals(spectrum, text):
    assert acs_text(spectrum) == text


# --- SD files


def read_back(tmp_path, *records):
    """What the reader of nmrshiftdb2's files makes of records."""
    formats = pytest.importorskip("nmrtk_formats.nmrshiftdb2", reason="nmrtk-formats reads SD")
    path = tmp_path / "a.sdf"
    path.write_text("".join(records), encoding="utf-8")
    return list(formats.NmrshiftdbReader().read(path, Nucleus.parse("13C")))


@pytest.mark.parametrize("smiles", SMILES[:-1])
def test_sd_records_are_those_of_nmrshiftdb2(tmp_path, smiles, plugins):
    prediction = PredictedSpectrum.of_row(row_of(smiles, "compound"))
    # Without its mark, the reader takes the spectrum for a measured one.
    text = re.sub(r">  <Program>.*?\n\n", "", sd_record(prediction), flags=re.DOTALL)
    (record,) = read_back(tmp_path, text)
    assert record.id == "compound"
    assert record.problems == ()
    assert Chem.MolToSmiles(record.molecule) == Chem.CanonSmiles(smiles)
    (spectrum,) = record.spectra
    assert spectrum.shifts == prediction.ppm.tolist()
    assert sorted(p.multiplicity for p in spectrum.peaks) == sorted(prediction.multiplicity)
    carbons = [atom.GetIdx() for atom in record.molecule.GetAtoms() if atom.GetSymbol() == "C"]
    # Shifts fall with the atom, and the record keeps the order of the SMILES.
    by_shift = sorted(spectrum.peaks, key=lambda p: -p.ppm)
    assert [p.atoms[0] for p in by_shift] == carbons


def test_predictions_are_not_imported_as_measured(tmp_path, plugins):
    (record,) = read_back(tmp_path, sd_record(PredictedSpectrum.of_row(row_of("CCO"))))
    assert record.spectra == ()
    assert "calculated" in record.problems[0]


@pytest.mark.parametrize("smiles", SMILES)
def test_rdkit_reads_the_shifts_as_properties_of_atoms(smiles):
    prediction = PredictedSpectrum.of_row(row_of(smiles))
    record = sd_record(prediction)
    assert max(len(line) for line in record.replace(smiles, "").splitlines()) <= 200
    supplier = Chem.SDMolSupplier()
    supplier.SetData(record)
    (molecule,) = supplier
    shifts = {
        atom.GetDoubleProp("shift_13C"): atom.GetDoubleProp("sigma_13C")
        for atom in molecule.GetAtoms()
        if atom.HasProp("shift_13C")
    }
    assert shifts == dict(zip(prediction.ppm.tolist(), prediction.sigma.tolist(), strict=True))
    flat = molecule.GetConformer().GetPositions()
    assert len({tuple(place) for place in flat.tolist()}) == molecule.GetNumAtoms()


@given(st.text(max_size=120))
def test_no_id_breaks_a_record(name):
    record = sd_record(PredictedSpectrum.of_row(row_of("CCO", name)))
    supplier = Chem.SDMolSupplier()
    supplier.SetData(record.encode("utf-8", "backslashreplace").decode())
    (molecule,) = supplier
    assert molecule.GetNumAtoms() == 3


def test_sd_record_of_an_error_has_no_atoms_and_costs_no_other(tmp_path, plugins):
    bad = PredictedSpectrum.of_row({"id": "b", "smiles": "xyz", "error": "line 2: no"})
    good = PredictedSpectrum.of_row(row_of("CCO"))
    assert ">  <error>" in sd_record(bad)
    results = read_back(tmp_path, sd_record(bad), sd_record(good))
    assert [type(result).__name__ for result in results] == ["BadRecord", "Record"]


def test_importing_nmrtk_is_light(site_packages):
    heavy = ("torch", "rdkit", "dgl", "numpy")
    program = f"import sys, nmrtk; print([name for name in {heavy} if name in sys.modules])"
    assert site_packages.run("-c", program).stdout == "[]\n"
    assert callable(nmrtk.load)
