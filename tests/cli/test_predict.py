import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from doubles import small_model

from nmrtk.checkpoint import Calibration, LoadedModel
from nmrtk.cli.main import cli
from nmrtk.formula import VECTOR_WIDTH
from nmrtk.recipe import Recipe


@pytest.fixture
def nmrtk(monkeypatch):
    loaded = LoadedModel(
        small_model(VECTOR_WIDTH).eval(), Recipe(), Calibration(), {}, Path("double")
    )
    monkeypatch.setattr("nmrtk.checkpoint.load_model", lambda name: loaded)

    def run(*arguments, code=0, stdin=None):
        result = CliRunner().invoke(cli, [*map(str, arguments), "--model", "double"], input=stdin)
        assert result.exit_code == code, result.output
        return result

    return run


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_smiles_on_the_command_line(nmrtk):
    rows = lines(nmrtk("predict", "CCO", "c1ccccc1").stdout)
    assert [(row["id"], row["smiles"], len(row["peaks"])) for row in rows] == [
        ("1", "CCO", 2),
        ("2", "c1ccccc1", 6),
    ]


def test_files_in_and_out(nmrtk, tmp_path):
    (tmp_path / "a.smi").write_text("CCO ethanol\nxyz bad\nN\n")
    result = nmrtk("predict", "--input", tmp_path / "a.smi", "-o", tmp_path / "a.jsonl")
    assert result.stdout == ""
    assert "1 of 3 structures could not be predicted:\n  line 2: 'xyz'" in result.stderr
    rows = lines((tmp_path / "a.jsonl").read_text())
    assert [row["id"] for row in rows] == ["ethanol", "bad", "3"]
    assert list(rows[1]) == ["id", "smiles", "error"]
    nmrtk("predict", "--input", tmp_path / "a.smi", "-o", tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["id"] for row in table] == ["ethanol", "ethanol", "bad", "3"]
    assert table[2]["error"].startswith("line 2")


def test_standard_input(nmrtk):
    rows = lines(nmrtk("predict", "--input", "-", stdin='{"id": 4, "smiles": "CC"}\n').stdout)
    assert rows[0]["id"] == 4


def test_exit_codes(nmrtk, tmp_path):
    nmrtk("predict", "xyz", "CC")
    nmrtk("predict", "xyz", "CC", "--strict", code=1)
    nmrtk("predict", "xyz", code=1)
    nmrtk("predict", code=2)
    nmrtk("predict", "CC", "--input", "a.smi", code=2)
    assert "end the name" in nmrtk("predict", "CC", "-o", "a.xlsx", code=2).stderr
    missing = tmp_path / "none" / "a.csv"
    assert "cannot be written" in nmrtk("predict", "CC", "-o", missing, code=1).stderr
    assert "does not exist" in nmrtk("predict", "--input", tmp_path / "a.smi", code=1).stderr
    (tmp_path / "a.smi").write_text("")
    assert "empty" in nmrtk("predict", "--input", tmp_path / "a.smi", code=1).stderr


def test_brackets_of_smiles_survive_on_a_terminal(capsys):
    from nmrtk.cli.predict import _show

    peak = {"ppm": 108.0, "sigma": None, "multiplicity": "D", "atoms": [0]}
    _show({"id": "a", "smiles": "c1cc[nH]c1", "nucleus": "13C", "peaks": [peak]})
    shown = capsys.readouterr().out
    assert "c1cc[nH]c1" in shown
    assert "108.00" in shown
