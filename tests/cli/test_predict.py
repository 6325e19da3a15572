import csv
import json
import re
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner
from doubles import small_model

from nmrtk.checkpoint import Calibration, LoadedModel
from nmrtk.cli.main import cli
from nmrtk.cli.predict import FORMAT_NAMES, PRECISIONS
from nmrtk.formula import VECTOR_WIDTH
from nmrtk.prediction_formats import FORMATS
from nmrtk.recipe import Precision, Recipe


@pytest.fixture
def nmrtk(monkeypatch):
    loaded = LoadedModel(
        small_model(VECTOR_WIDTH).eval(), Recipe(), Calibration(), {}, Path("double")
    )
    monkeypatch.setattr("nmrtk.checkpoint.load_model", lambda name, precision: loaded)

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


def test_formats_by_ending_and_by_name(nmrtk, tmp_path):
    nmrtk("predict", "CCO", "xyz", "-o", tmp_path / "a.txt")
    good, bad = (tmp_path / "a.txt").read_text(encoding="utf-8").splitlines()
    assert re.fullmatch(r"1: 13C NMR δ \S+ \(CH\d\), \S+ \(CH\d\)\.", good)
    assert bad.startswith("2: argument 2: 'xyz'")
    assert nmrtk("predict", "CCO", "--format", "acs").stdout == good + "\n"
    nmrtk("predict", "CCO", "N", "-o", tmp_path / "a.sdf")
    assert (tmp_path / "a.sdf").read_text().count("$$$$") == 2
    nmrtk("predict", "CCO", "--format", "jsonl", "-o", tmp_path / "a.any")
    assert lines((tmp_path / "a.any").read_text())[0]["smiles"] == "CCO"


def test_names_of_formats_are_those_that_exist():
    assert list(FORMAT_NAMES) == list(FORMATS)
    assert get_args(Precision) == PRECISIONS


def test_plot_beside_the_rows(nmrtk, tmp_path):
    pytest.importorskip("matplotlib", reason="pictures need nmrtk[report]")
    result = nmrtk("predict", "CCO", "xyz", "N", "--plot", tmp_path / "a.svg")
    assert len(lines(result.stdout)) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-1.svg", "a-3.svg"]
    assert "end the name of a picture" in nmrtk("predict", "C", "--plot", "a.gif", code=2).stderr


def test_long_files_go_to_workers_and_short_ones_do_not(nmrtk, tmp_path, monkeypatch):
    asked = []

    def render(model, structures, form, workers, precision):
        rows = list(structures)
        asked.append((model, len(rows), form, workers, precision))
        return iter([(f"{row.smiles}\n", "" if row.id != "2" else "line 2: no") for row in rows])

    monkeypatch.setattr("nmrtk.prediction_workers.render_in_workers", render)
    monkeypatch.setattr("nmrtk.prediction_workers.LEAST_STRUCTURES", 3)
    monkeypatch.setattr("nmrtk.prediction_workers.usual_workers", lambda: 2)
    (tmp_path / "a.smi").write_text("C\nCC\nCCC\nCCCC\n")
    result = nmrtk("predict", "--input", tmp_path / "a.smi", "--format", "acs")
    assert asked.pop() == ("double", 4, "acs", 2, "float32")
    assert result.stdout == "C\nCC\nCCC\nCCCC\n"
    assert "1 of 4 structures" in result.stderr
    (tmp_path / "a.smi").write_text("C\nCC\n")
    assert len(lines(nmrtk("predict", "--input", tmp_path / "a.smi").stdout)) == 2
    nmrtk("predict", "C", "CC", "CCC", "--workers", "0")
    assert not asked
    nmrtk("predict", "C", "--workers", "5", "--precision", "bfloat16")
    assert asked.pop() == ("double", 1, "jsonl", 5, "bfloat16")


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
