"""The command with the generators of `nmrtk-search` and a model of doubles."""

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from doubles import small_model
from rdkit import Chem

from nmrtk.checkpoint import Calibration, LoadedModel
from nmrtk.cli.main import cli
from nmrtk.formula import VECTOR_WIDTH
from nmrtk.plugins import registry
from nmrtk.recipe import Recipe

pytest.importorskip("nmrtk_search", reason="the command needs a generator of candidates")

STRUCTURES = "CCO\nCOC\nc1ccccc1\nCC(C)=O\nCCN\nCCCCCC\n"


@pytest.fixture
def nmrtk(monkeypatch):
    # Whatever else is installed may take all the time that it gets.
    monkeypatch.setenv("NMRTK_PLUGINS", "search")
    registry.cache_clear()
    models = {
        name: LoadedModel(
            small_model(VECTOR_WIDTH, nucleus=nucleus).eval(),
            *(Recipe(), Calibration(), {}, Path(name)),
        )
        for name, nucleus in (("double", "13C"), ("protons", "1H"))
    }
    monkeypatch.setattr("nmrtk.checkpoint.load_model", models.__getitem__)

    def run(*arguments, code=0, stdin=None):
        result = CliRunner().invoke(cli, [*map(str, arguments), "--model", "double"], input=stdin)
        assert result.exit_code == code, result.output
        return result

    yield run
    registry.cache_clear()


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


PROTONS = "1H NMR (400 MHz, CDCl3) δ 3.72 (q, J = 7.0 Hz, 2H), 1.24 (t, J = 7.0 Hz, 3H)"


def probabilities(row):
    return {one["smiles"]: one["probability"] for one in row["candidates"]}


def test_lines_of_a_further_nucleus(nmrtk, structures):
    # Where the double predicts lines, so that probabilities differ from 0.
    options = ["--formula", "C2H6O", "--library", structures, "--also", "protons"]
    (alone,) = lines(nmrtk("elucidate", "102 98", *options).stdout)
    assert any("no 1H lines were given" in note for note in alone["notes"])
    for given in (["102 98", PROTONS], [f"13C NMR δ 102, 98. {PROTONS}"]):
        (both,) = lines(nmrtk("elucidate", *given, *options).stdout)
        found = probabilities(alone), probabilities(both)
        assert set(found[0]) == set(found[1]) == {"CCO", "COC"}
        assert found[0]["CCO"] != pytest.approx(found[1]["CCO"], abs=1e-4)
        assert not any("1H" in note for note in both.get("notes", []))
    result = nmrtk("elucidate", PROTONS, *options, code=1)
    assert "the text is of 1H, but 13C lines are needed" in result.stderr
    result = nmrtk("elucidate", "102 98", "--also", "double", code=2)
    assert "--also double: it is for 13C too" in result.stderr


def test_rows_hold_lines_of_further_nuclei(nmrtk, structures, tmp_path):
    queries = tmp_path / "queries.jsonl"
    rows = [
        {"peaks": [102, 98]},
        {"peaks": [102, 98], "also": PROTONS},
        {"peaks": "102 98", "also": [PROTONS]},
        {"peaks": [102, 98], "also": [3.72]},
        {"peaks": [102, 98], "also": "1H NMR δ nothing"},
    ]
    queries.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    options = ["--formula", "C2H6O", "--library", structures, "--also", "protons"]
    result = nmrtk("elucidate", "--input", queries, *options)
    alone, both, listed, no_text, broken = lines(result.stdout)
    assert probabilities(both) == probabilities(listed) != probabilities(alone)
    assert "line 4: also: write a text" in no_text["error"]
    assert "line 5" in broken["error"]


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


def test_text_of_a_paper(nmrtk, structures):
    text = "13C{1H} NMR (101 MHz, CDCl3) δ 57.8 (CH2), 18.1 (CH3)."
    result = nmrtk("elucidate", text, "--formula", "C2H6O", "--library", structures)
    (row,) = lines(result.stdout)
    assert {candidate["smiles"] for candidate in row["candidates"]} == {"CCO", "COC"}
    wrong = nmrtk("elucidate", "1H NMR δ 1.2, 3.6", "--library", structures, code=1)
    assert "the text is of 1H, but 13C lines are needed" in wrong.stderr


def test_what_is_known_of_the_compound(nmrtk, structures, tmp_path):
    arguments = ["elucidate", "57.8 18.1", "--library", structures]
    (row,) = lines(nmrtk(*arguments, "--contains", "[OX2]", "--lacks", "[OH]").stdout)
    assert [c["smiles"] for c in row["candidates"]] == ["COC"]
    assert any("contains or lacks" in note for note in row["notes"])
    (row,) = lines(nmrtk(*arguments, "--mass", "45.0578").stdout)
    assert [c["smiles"] for c in row["candidates"]] == ["CCN"]
    (row,) = lines(nmrtk(*arguments, "--mass", "45.1", "--mass-tolerance", "2000").stdout)
    assert [c["smiles"] for c in row["candidates"]] == ["CCN"]
    query = {"peaks": [57.8, 18.1], "contains": "O", "lacks": ["[OH]"], "mass": 46.0419}
    (tmp_path / "q.jsonl").write_text(json.dumps(query))
    (row,) = lines(nmrtk(*arguments[:1], "--input", tmp_path / "q.jsonl", *arguments[2:]).stdout)
    assert [c["smiles"] for c in row["candidates"]] == ["COC"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--contains", "C(("], "'C((' is not a SMARTS"),
        (["--lacks", ""], "the SMARTS is empty"),
        (["--mass", "3"], "the mass 3 is outside 12 to 5000"),
        (["--mass", "nan"], "the mass nan is outside 12 to 5000"),
        (["--formula", "C-2H6"], "is not a molecular formula"),
        (["--formula", "C2H9"], "no structure has the formula C2H9"),
        (["--formula", "C2H7O"], "must be even"),
        (["--formula", "H2O"], "has no C"),
    ],
)
def test_impossible_wishes(nmrtk, structures, arguments, message):
    named = ["elucidate", "57.8 18.1", "--library", structures, *arguments]
    result = CliRunner().invoke(cli, [*map(str, named), "--model", "double"])
    assert result.exit_code in (1, 2)
    assert message in result.stderr


@pytest.mark.parametrize(
    ("peaks", "message"),
    [
        (" ".join(str(n / 2) for n in range(500)), "500 distinct lines, too many"),
        ("nan", "'nan' is not a peak"),
        ("1e6", "the shift 1e+06 ppm is impossible"),
        ("2000", "no 13C line lies at 2000 ppm"),
        ("", "the peak list is empty"),
    ],
)
def test_impossible_lines(nmrtk, structures, peaks, message):
    result = nmrtk("elucidate", peaks, "--library", structures, code=1)
    assert message in result.stderr


def test_unknown_formulas(nmrtk):
    result = nmrtk("elucidate", "57.8 18.1", "--generator", "decode", code=2)
    assert "cannot be decoded" in result.stderr


def test_structure_files_and_pages(nmrtk, structures, tmp_path):
    (tmp_path / "q.txt").write_text("57.8T 18.1Q\nabc\n100.0\n")
    arguments = ["elucidate", "--input", tmp_path / "q.txt", "--library", structures, "--top", 2]
    nmrtk(*arguments, "-o", tmp_path / "out.sdf")
    records = list(Chem.SDMolSupplier(str(tmp_path / "out.sdf")))
    assert [m.GetNumAtoms() == 0 for m in records] == [False, False, True, False, False]
    first = records[0]
    assert first.GetProp("Rank") == "1"
    assert 0 <= float(first.GetProp("Probability")) <= 1
    assert first.GetProp("Source") == "library"
    assert first.GetProp("MAE")
    assert "Spectrum 13C 0" in first.GetPropsAsDict()
    assert "'abc'" in records[2].GetProp("error")
    nmrtk(*arguments, "-o", tmp_path / "out.html")
    page = (tmp_path / "out.html").read_text()
    assert page.count('<div class="card">') == 4
    assert "&#39;abc&#39; is not a peak" in page
    assert "Similar known structures" in page
    assert "src=" not in page
    assert "<link" not in page
