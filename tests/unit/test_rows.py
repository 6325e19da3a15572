import csv
import gzip
import io
import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem

from nmrtk.errors import DataError, UsageError
from nmrtk.nucleus import Nucleus
from nmrtk.row_output import JSON_LINES, RowWriter, csv_format, output_format
from nmrtk.rows import query_row, read_queries, read_structures

CARBON = Nucleus.parse("13C")


def write(path, text):
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", '{"id": "e", "smiles": "CCO"}\n\n{"smiles": "CC"}\n'),
        ("a.smi", "# comment\nCCO e\nCC\n"),
        ("a.smiles", "smiles name\nCCO\te\nCC\n"),
        ("a.csv", "ID;SMILES\ne;CCO\n;CC\n"),
        ("a.tsv", "\ufeffsmiles\tid\nCCO\te\nCC\t\n"),
    ],
)
def test_structures_of_every_format(tmp_path, name, text):
    rows = list(read_structures(write(tmp_path / name, text)))
    assert [(row.id, row.smiles, row.error) for row in rows] == [("e", "CCO", ""), ("2", "CC", "")]
    packed = write(tmp_path / f"{name}.gz", gzip.compress(text.encode()))
    assert list(read_structures(packed)) == rows


def sd_record(smiles, name=""):
    molecule = Chem.MolFromSmiles(smiles)
    molecule.SetProp("_Name", name)
    return Chem.MolToMolBlock(molecule) + "$$$$\n"


def test_sd_records_and_a_broken_valence_among_them(tmp_path):
    broken = sd_record("CCO").replace(" O  ", " F  ").replace("  2  3  1", "  2  3  3")
    text = sd_record("c1ccccc1O", "phenol") + broken + "garbage\n$$$$\n" + sd_record("CC")
    for name, data in (("a.sdf", text.encode()), ("a.sdf.gz", gzip.compress(text.encode()))):
        rows = list(read_structures(write(tmp_path / name, data)))
        assert [row.smiles for row in rows] == ["Oc1ccccc1", "", "", "CC"]
        assert rows[0].id == "phenol"
        assert rows[1].position == "record 2"
        assert "valence" in rows[1].error
        assert "molblock" in rows[2].error


def test_bad_json_rows_say_where_and_why(tmp_path):
    text = '{"id": 7, "smiles": "C"}\nnot json\n[1]\n{"id": "x"}\n{"smiles": 5}\n'
    rows = list(read_structures(write(tmp_path / "a.jsonl", text)))
    assert [row.position for row in rows] == [f"line {n}" for n in range(1, 6)]
    assert rows[0].id == 7
    for row, expected in zip(rows[1:], ("not JSON", "JSON object", "no text", "=5"), strict=True):
        assert expected in row.error


def test_rows_before_the_damage_of_a_file_are_kept(tmp_path):
    packed = gzip.compress("".join(f"{'C' * (n % 40 + 1)} {n}\n" for n in range(20000)).encode())
    rows = list(read_structures(write(tmp_path / "a.smi.gz", packed[:-2000])))
    assert len(rows) > 100
    assert all(not row.error for row in rows[:-1])
    assert "cannot be read" in rows[-1].error


@pytest.mark.parametrize("name", ["a.jsonl", "a.smi", "a.csv", "a.sdf"])
@pytest.mark.parametrize("text", ["", "\n \n"])
def test_empty_files(tmp_path, name, text):
    with pytest.raises(DataError, match="empty"):
        list(read_structures(write(tmp_path / name, text)))


def test_files_that_cannot_be_used(tmp_path):
    for name in ("missing.smi", "missing.sdf"):
        with pytest.raises(DataError, match="does not exist"):
            read_structures(str(tmp_path / name))
    with pytest.raises(UsageError, match=r"allowed: \.csv, \.jsonl, \.sdf, \.smi"):
        read_structures("a.pdf")
    with pytest.raises(DataError, match=r"no column smiles; its columns: a, b"):
        list(read_structures(write(tmp_path / "a.csv", "a,b\n1,2\n")))
    with pytest.raises(DataError, match=r"no column peaks or ppm"):
        list(read_queries(write(tmp_path / "b.csv", "a,b\n1,2\n"), CARBON))


@pytest.mark.parametrize(
    ("text", "first"), [('{"id":"e","smiles":"CCO"}\n', "CCO"), ("CCO e\n", "CCO")]
)
def test_standard_input_is_json_lines_or_smiles(monkeypatch, text, first):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    (row,) = read_structures("-")
    assert (row.id, row.smiles) == ("e", first)


@pytest.mark.parametrize(
    "peaks",
    [[[57.8, "T"], [18.1, "q"]], "57.8T 18.1Q", [{"ppm": 57.8, "multiplicity": "T"}, [18.1, "Q"]]],
)
def test_peaks_with_multiplicities(peaks):
    row = query_row("line 1", {"id": "a", "peaks": peaks, "formula": "C2H6O"}, CARBON, 1)
    assert row.error == ""
    found = [(peak.ppm, peak.multiplicity) for peak in row.spectrum.peaks]
    assert found == [(18.1, "Q"), (57.8, "T")]
    assert str(row.formula) == "C2H6O"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-5000, 5000) | st.integers(-5000, 5000), min_size=1, max_size=30))
def test_plain_shifts_survive(shifts):
    row = query_row("line 1", json.loads(json.dumps({"peaks": shifts})), CARBON, 3)
    assert row.spectrum.shifts == sorted(map(float, shifts))
    assert row.id == "3"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "no 'peaks'"),
        ({"peaks": []}, "empty"),
        ({"peaks": "  "}, "empty"),
        ({"peaks": 57.8}, "peaks=57.8 is not a list"),
        ({"peaks": [18.1, "abc"]}, "peak 2: 'abc' is not a number"),
        ({"peaks": [18.1, True]}, "peak 2: True is not a number"),
        ({"peaks": [18.1, None]}, "peak 2: None is not a number"),
        ({"peaks": [1e9]}, r"peak 1: the shift 1e\+09 ppm is impossible"),
        ({"peaks": [float("nan")]}, "peak 1: the shift nan"),
        ({"peaks": [10**400]}, "peak 1: the shift 1000.* is impossible"),
        ({"peaks": [[57.8, 18.1]]}, "peak 1: the multiplicity 18.1 is not a text"),
        ({"peaks": [[57.8, "T", 3]]}, "peak 1: .* is not a pair"),
        ({"peaks": [[]]}, "peak 1: .* is not a pair"),
        ({"peaks": [1.0], "formula": "C2Xy"}, "cannot read 'Xy'"),
        ({"peaks": [1.0], "formula": 5}, "formula 5 is not a text"),
    ],
)
def test_bad_queries_say_what_and_where(fields, message):
    row = query_row("line 1", fields, CARBON, 1)
    assert row.spectrum is None
    assert re.search(message, row.error)


@settings(max_examples=50, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=8), st.lists))
def test_no_peaks_make_it_crash(peaks):
    row = query_row("line 1", {"peaks": peaks}, CARBON, 1)
    assert (row.spectrum is None) == bool(row.error)


def test_queries_from_tables_and_text(tmp_path):
    text = "id,peaks,formula\na,57.8T 18.1Q,C2H6O\nb,57.8 xx,\n"
    good, bad = read_queries(write(tmp_path / "a.csv", text), CARBON)
    assert good.spectrum.shifts == [18.1, 57.8]
    assert bad.position == "line 3"
    assert "xx" in bad.error
    table = "ppm;multiplicity;count\n128,5;D;2\n# comment\n21,0;Q;1\n"
    (row,) = read_queries(write(tmp_path / "b.csv", table), CARBON)
    assert row.spectrum.shifts == [21.0, 128.5, 128.5]
    (row,) = read_queries(write(tmp_path / "c.csv", "ppm\n12\nxx\n"), CARBON)
    assert (row.position, row.error) == ("line 3", "'xx' is not a number")
    first, second = read_queries(write(tmp_path / "d.txt", "57.8 18.1\n\n77.0\n"), CARBON)
    assert (first.spectrum.shifts, second.position) == ([18.1, 57.8], "line 3")


def writer(output, source=None):
    table = csv_format(
        ("id", "value"), lambda row: [{"id": row["id"], "value": v} for v in row["values"]]
    )
    form = output_format(str(output), source, {".jsonl": JSON_LINES, ".csv": table})
    return RowWriter(str(output), form)


def test_rows_are_on_disk_as_soon_as_they_are_written(tmp_path):
    with writer(tmp_path / "a.jsonl") as out:
        out.write({"id": "å", "values": [1]})
        assert json.loads((tmp_path / "a.jsonl").read_text(encoding="utf-8"))["id"] == "å"
    with writer(tmp_path / "a.csv") as out:
        out.write({"id": "a", "values": [1, 2]})
    with (tmp_path / "a.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["id", "value"], ["a", "1"], ["a", "2"]]


def test_outputs_that_cannot_be(tmp_path):
    with pytest.raises(UsageError, match=r"\.jsonl or \.csv"):
        writer(tmp_path / "a.txt")
    with pytest.raises(DataError, match="cannot be written"):
        writer(tmp_path / "missing" / "a.csv")
    source = write(tmp_path / "a.jsonl", "{}")
    with pytest.raises(UsageError, match="overwritten"):
        writer(source, source)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_told(tmp_path):
    (tmp_path / "a.jsonl").symlink_to("/dev/full")
    with (
        pytest.raises(DataError, match=r"a\.jsonl cannot be written: No space left"),
        writer(tmp_path / "a.jsonl") as out,
    ):
        out.write({"id": "a", "values": []})
