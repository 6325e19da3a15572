"""The command with the generators of `nmrtk-search` and a model of doubles."""

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

pytest.importorskip("nmrtk_search", reason="the command needs a generator of candidates")

STRUCTURES = "CCO\nCOC\nc1ccccc1\nCC(C)=O\nCCN\nCCCCCC\n"


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


@pytest.fixture
def structures(tmp_path):
    (tmp_path / "structures.smi").write_text(STRUCTURES)
    return tmp_path / "structures.smi"


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_a_peak_list_on_the_command_line(nmrtk, structures):
    for peaks in (["57.8T 18.1Q"], ["57.8", "18.1"], ["57.8,", "18.1"]):
        result = nmrtk("elucidate", *peaks, "--formula", "C2H6O", "--library", structures)
        (row,) = lines(result.stdout)
        assert {candidate["smiles"] for candidate in row["candidates"]} == {"CCO", "COC"}
        assert {candidate["source"] for candidate in row["candidates"]} == {"library"}
        total = sum(candidate["probability"] for candidate in row["candidates"])
        assert total + row["none_of_these"] == pytest.approx(1, abs=1e-5)


def test_built_libraries_and_plain_structures_give_the_same(nmrtk, structures, tmp_path):
    nmrtk("library", "build", structures, "-o", tmp_path / "a.h5")
    rows = [
        lines(nmrtk("elucidate", "57.8 18.1", "--library", library).stdout)[0]
        for library in (structures, tmp_path / "a.h5")
    ]
    assert rows[0]["candidates"] == rows[1]["candidates"]
    assert len(rows[0]["candidates"]) == 6


def test_files_in_and_out(nmrtk, structures, tmp_path):
    queries = [
        {"id": "a", "peaks": [[57.8, "T"], [18.1, "Q"]], "formula": "C2H6O"},
        {"id": "text", "peaks": [57.8, "abc"]},
        {"id": "far", "peaks": [1e9]},
        {"id": "empty", "peaks": []},
        {"id": "water", "peaks": [1.0], "formula": "H2O"},
        {"id": "many", "peaks": [1.0, 2.0, 3.0], "formula": "C2H6O"},
        {"id": "b", "peaks": [128.4], "formula": "C6H6"},
    ]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(query) + "\n" for query in queries))
    arguments = ["elucidate", "--input", tmp_path / "q.jsonl", "--library", structures, "-o"]
    result = nmrtk(*arguments, tmp_path / "out.jsonl")
    assert "5 of 7 peak lists could not be elucidated" in result.stderr
    rows = lines((tmp_path / "out.jsonl").read_text())
    assert [row["id"] for row in rows] == [query["id"] for query in queries]
    messages = ["peak 2: 'abc'", "peak 1: the shift 1e+09", "empty", "has no C", "has only 2 C"]
    for row, message in zip(rows[1:6], messages, strict=True):
        assert message in row["error"]
        assert row["error"].startswith("line ")
    assert [c["smiles"] for c in rows[6]["candidates"]] == ["c1ccccc1"]
    nmrtk(*arguments, tmp_path / "out.csv", "--top", 1)
    with (tmp_path / "out.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["id"] for row in table] == [query["id"] for query in queries]
    assert table[0]["rank"] == "1"
    nmrtk(*arguments, tmp_path / "out.jsonl", "--strict", code=1)


def test_nothing_in_the_library(nmrtk, structures):
    result = nmrtk("elucidate", "100.0", "--formula", "C9H8O4", "--library", structures)
    (row,) = lines(result.stdout)
    assert (row["candidates"], row["none_of_these"]) == ([], 1.0)
    assert "the library has no structure of formula C9H8O4" in row["notes"]


def test_choices_that_cannot_be(nmrtk, structures):
    nmrtk("elucidate", code=2)
    nmrtk("elucidate", "1.0", "--input", "a.jsonl", code=2)
    assert "cannot read 'Xx'" in nmrtk("elucidate", "1.0", "--formula", "C2Xx", code=2).stderr
    neither = nmrtk("elucidate", "1.0", code=2).stderr
    assert "cannot be decoded" in neither
    assert "--library" in neither
    unknown = nmrtk("elucidate", "1.0", "--generator", "librari", code=2).stderr
    assert "Did you mean 'library'?" in unknown
    named = ["elucidate", "18.1", "--library", structures]
    assert "cannot be decoded" in nmrtk(*named, "--generator", "decode", code=2).stderr
    nmrtk(*named, "-G", "library.draws=2", "-G", "library.neighbors=1")
    assert "draws=-1" in nmrtk(*named, "-G", "library.draws=-1", code=2).stderr
    assert "no option 'depth'" in nmrtk(*named, "-G", "library.depth=1", code=2).stderr
    assert "NAME.OPTION" in nmrtk(*named, "-G", "draws=1", code=2).stderr
    assert "does not exist" in nmrtk("elucidate", "1.0", "--library", "no.smi", code=1).stderr


def test_an_impossible_peak_list_is_told(nmrtk, structures):
    result = nmrtk("elucidate", "57.8 abc", "--library", structures, code=1)
    assert "abc" in result.stderr
    assert "abc" in lines(result.stdout)[0]["error"]


def test_standard_input(nmrtk, structures):
    arguments = ["elucidate", "--input", "-", "--library", structures, "--formula", "C2H6O"]
    (row,) = lines(nmrtk(*arguments, stdin='{"id": "s", "peaks": [18.1]}\n').stdout)
    assert row["id"] == "s"
    assert len(row["candidates"]) == 2


def test_brackets_of_smiles_survive_on_a_terminal(capsys):
    from nmrtk.cli.elucidate import _show

    candidate = {"smiles": "c1cc[nH]c1", "probability": 0.9, "mae_ppm": 0.5, "source": "library"}
    row = {"id": "[a]", "seconds": 1.0, "candidates": [{"rank": 1, **candidate}]}
    _show({**row, "none_of_these": 0.1, "notes": ["[b] is odd"]})
    shown = capsys.readouterr().out
    assert "c1cc[nH]c1" in shown
    assert "[a]" in shown
    assert "[b] is odd" in shown
