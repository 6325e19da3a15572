import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from doubles import small_model

from nmrtk.checkpoint import Calibration, LoadedModel
from nmrtk.cli.main import cli
from nmrtk.dataset import DataSetWriter
from nmrtk.formula import VECTOR_WIDTH
from nmrtk.interfaces import Record
from nmrtk.molecule import parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.recipe import Recipe
from nmrtk.spectrum import spectrum_of_shifts


@pytest.fixture
def nmrtk(monkeypatch):
    loaded = LoadedModel(
        small_model(VECTOR_WIDTH).eval(), Recipe(), Calibration(), {}, Path("double")
    )
    monkeypatch.setattr("nmrtk.checkpoint.load_model", lambda name: loaded)

    def run(*arguments, code=0):
        result = CliRunner().invoke(cli, [*map(str, arguments), "--model", "double"])
        assert result.exit_code == code, result.output
        return result

    return run


def test_build_tells_what_became_of_the_structures(nmrtk, tmp_path):
    (tmp_path / "a.smi").write_text("CCO\nOCC\nxyz\nCC\n")
    result = nmrtk("library", "build", tmp_path / "a.smi", "-o", tmp_path / "a.h5")
    assert "2 structures; of 4 read, 1 duplicates and 1 skipped" in result.stdout
    assert "the first: line 3: 'xyz'" in result.stderr
    assert "a.skipped.csv" in result.stderr
    assert (tmp_path / "a.h5").is_file()
    nmrtk("library", "build", tmp_path / "a.smi", "-o", tmp_path / "a.h5", "--strict", code=1)


def test_build_from_json_lines_and_from_a_data_set(nmrtk, tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": "x", "smiles": "CCO"}) + "\n")
    nmrtk("library", "build", tmp_path / "a.jsonl", "-o", tmp_path / "a.h5")
    with DataSetWriter(tmp_path / "data.h5", Nucleus.parse("13C")) as data:
        spectrum = spectrum_of_shifts("13C", [18.1, 57.8])
        data.append(Record("row 1", "x", parse_smiles("CCO"), (spectrum,)))
    result = nmrtk("library", "build", tmp_path / "data.h5", "-o", tmp_path / "b.h5")
    assert "1 structures; of 1 read" in result.stdout
    output = tmp_path / "data.h5"
    assert "input" in nmrtk("library", "build", output, "-o", output, code=2).stderr
    again = nmrtk("library", "build", tmp_path / "a.h5", "-o", tmp_path / "c.h5", code=2)
    assert "is a library already" in again.stderr


def test_files_that_cannot_be_used(nmrtk, tmp_path):
    (tmp_path / "a.smi").write_text("xyz\n")
    nothing = nmrtk("library", "build", tmp_path / "a.smi", "-o", tmp_path / "a.h5", code=1)
    assert "none of 1 structures can be encoded" in nothing.stderr
    assert not (tmp_path / "a.h5").exists()
    assert ".h5" in nmrtk("library", "build", tmp_path / "a.smi", "-o", "a.lib", code=2).stderr
    missing = nmrtk("library", "build", tmp_path / "b.smi", "-o", tmp_path / "b.h5", code=1)
    assert "does not exist" in missing.stderr
