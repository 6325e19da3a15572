"""The real commands, on the compounds that ship with nmrtk and on small files."""

import csv
import gzip
import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
from click.testing import CliRunner

from nmrtk.cli.main import cli
from nmrtk.dataset import DataSet

pytest.importorskip("nmrtk_formats", reason="the readers are in nmrtk-formats")

TABLE = "name,smiles,solvent,peaks\nethanol,CCO,CDCl3,18.4Q 58.3T\npropane,CCC,,16Q(2C) 16.1T\n"
SHARED = Path(__file__).parents[3] / "shared/data"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(TABLE)
    return path


def nmrtk(*arguments, code=0, **options):
    result = CliRunner().invoke(cli, ["data", *map(str, arguments)], **options)
    assert result.exit_code == code, result.output
    return result


def numbers(output):
    rows = (line.rsplit(maxsplit=1) for line in output.splitlines() if line.strip())
    return [
        (label.strip(), int(n))
        for label, n in (row for row in rows if len(row) == 2)
        if n.isdigit()
    ]


def test_import_and_info(table):
    output = table.with_name("out.h5")
    result = nmrtk("import", table, "-o", output)
    assert numbers(result.stdout)[:3] == [("entries read", 2), ("kept", 2), ("skipped", 0)]
    assert result.stderr == ""
    assert table.with_name("out.skipped.csv").read_text().count("\n") == 1
    shown = nmrtk("info", output).stdout
    assert "2 molecules" in " ".join(f"{n} {label}" for label, n in numbers(shown))
    for text in ("13C spectra", "shifts from 16 to 58.3 ppm", str(table), "(csv, ", "train"):
        assert text in shown
    summary = json.loads(nmrtk("info", output, "--json").stdout)
    assert summary["molecules"] == 2
    assert summary["elements"] == {"C": 2, "O": 1}


def test_hydrogens_are_imported_by_the_atom_that_carries_them(tmp_path):
    propanol = [[0.9, "t"], [1.5, ""], [2.2, "br s"], [3.5, "t"], [3.6, "t"]]
    spectra = [
        {"nucleus": "1H", "peaks": propanol, "atoms": 4},
        {"nucleus": "13C", "peaks": [[10, ""]]},
    ]
    rows = [{"id": "a", "smiles": "CCCO", "spectra": spectra}]
    rows.append(
        {"id": "b", "smiles": "BrC(Br)Br", "spectra": [{"nucleus": "1H", "peaks": [[1], [2]]}]}
    )
    source, output = tmp_path / "spectra.jsonl", tmp_path / "h1.h5"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    nmrtk("import", source, "-o", output, "--nucleus", "1H")
    skipped = (tmp_path / "h1.skipped.csv").read_text()
    assert "2 lines are too many for 1 atoms with 1 hydrogens" in skipped
    with DataSet(output) as data:
        (record,) = data.records()
        assert data.summary()["complete_spectra"] == 1
    (spectrum,) = record.spectra
    assert [(p.ppm, p.multiplicity) for p in spectrum.peaks] == [
        (0.9, "t"),
        (1.5, ""),
        (2.2, "br s"),
        (pytest.approx(3.55), "t"),
    ]


def test_what_ships_is_kept_whole(tmp_path):
    shipped = resources.files("nmrtk") / "data" / "everyday_13c.csv"
    result = nmrtk("import", shipped, "-o", tmp_path / "a.h5")
    counts = dict(numbers(result.stdout)[:2])
    assert counts["entries read"] == counts["kept"] >= 120


def test_skipped_rows_are_counted_and_listed(table):
    table.write_text(f"{TABLE}bad,C(,1\nbad too,CCO,,many\nworse,C(C,,1\n")
    output = table.with_name("out.h5")
    result = nmrtk("import", table, "-o", output)
    counts = numbers(result.stdout)
    assert counts[:3] == [("entries read", 5), ("kept", 2), ("skipped", 3)]
    assert {("no 13C spectrum", 1), ("unreadable spectrum", 1), ("unreadable structure", 1)} <= set(
        counts
    )
    skipped = table.with_name("out.skipped.csv")
    assert str(skipped) in result.stderr
    with skipped.open(newline="") as file:
        assert [row["position"] for row in csv.DictReader(file)] == ["line 4", "line 5", "line 6"]
    strict = nmrtk("import", table, "-o", output, "--strict", code=1)
    assert "--strict: 3 entries and 0 spectra of kept entries were skipped" in strict.stderr
    assert len(DataSet(output)) == 2


def test_nothing_kept_is_a_failure(table):
    result = nmrtk(
        "import", table, "-o", table.with_name("out.h5"), "--format", "peak-table", code=1
    )
    assert "Error: nothing could be kept of 3 entries: not JSON" in result.stderr
    assert not table.with_name("out.h5").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["gone.csv", "-o", "a.h5"], 1, "gone.csv does not exist"),
        ([".", "-o", "a.h5"], 1, ". is a folder"),
        (["empty", "-o", "a.h5"], 1, "empty is empty"),
        (["noise", "-o", "a.h5"], 2, "the format of noise is not recognized"),
        (["table.csv", "-o", "a.txt"], 2, "must end in .h5 or .hdf5"),
        (["table.csv", "-o", "table.csv/a.h5"], 1, "table.csv is not a folder"),
        (["table.csv", "-o", "a.h5", "--nucleus", "carbon"], 2, "'carbon' is not a nucleus"),
        (["table.csv", "-o", "a.h5", "--format", "cvs"], 2, "Did you mean 'csv'?"),
        (["table.csv"], 2, "Missing option '-o'"),
        (["torn.csv.gz", "-o", "a.h5"], 1, "ends too early"),
        (["altered.csv.gz", "-o", "a.h5"], 1, "no part of it can be trusted"),
    ],
)
def test_one_clear_message_and_no_file(table, monkeypatch, arguments, code, message):
    monkeypatch.chdir(table.parent)
    Path("empty").touch()
    Path("noise").write_bytes(bytes(range(256)) * 20)
    packed = gzip.compress(TABLE.encode())
    Path("torn.csv.gz").write_bytes(packed[:-20])
    Path("altered.csv.gz").write_bytes(packed[:-8] + b"XXXX" + packed[-4:])
    result = nmrtk("import", *arguments, code=code)
    assert message in result.stderr
    assert not list(Path().glob("*a.h5*"))


def test_standard_input(tmp_path):
    result = nmrtk("import", "-", "-o", tmp_path / "a.h5", input=TABLE)
    assert numbers(result.stdout)[:2] == [("entries read", 2), ("kept", 2)]


def test_info_of_other_files(table):
    assert "is not an HDF5 file" in nmrtk("info", table, code=1).stderr
    assert "does not exist" in nmrtk("info", table.with_name("gone.h5"), code=1).stderr


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX")
def test_full_disk_ends_cleanly(table):
    import resource

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))

    output = table.with_name("out.h5")
    command = [sys.executable, "-m", "nmrtk", "data", "import", str(table), "-o", str(output)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit)
    assert result.returncode == 1, result.stderr
    assert f"Error: {output} cannot be written: File too large" in result.stderr
    assert "Traceback" not in result.stderr
    assert {path.suffix for path in table.parent.iterdir()} == {".csv"}


def test_help_imports_nothing_heavy():
    code = (
        "import sys, nmrtk.cli.data\n"
        "heavy = {'torch', 'rdkit', 'h5py', 'numpy', 'rich'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(not SHARED.exists(), reason="../shared/data is not there")
def test_real_hydrocarbons(tmp_path):
    output = tmp_path / "seed.h5"
    result = nmrtk("import", SHARED / "seed-hydrocarbons.csv.gz", "-o", output)
    assert numbers(result.stdout)[:3] == [("entries read", 1400), ("kept", 1400), ("skipped", 0)]
