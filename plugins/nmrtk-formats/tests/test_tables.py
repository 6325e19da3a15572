import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nmrtk_formats.hydrocarbons import ADJACENCY, BITS, HydrocarbonReader
from nmrtk_formats.peaktable import PeakTableReader, _read_entry
from nmrtk_formats.table import CsvReader

from nmrtk.errors import DataError
from nmrtk.interfaces import BadRecord, Record
from nmrtk.molecule import canonical_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.testing import check_reader

CARBON = Nucleus.parse("13C")
SHARED = Path(__file__).parents[4] / "shared/data"
NEEDS_SHARED = pytest.mark.skipif(not SHARED.exists(), reason="../shared/data is not there")


@pytest.fixture
def read(tmp_path):
    def read(reader, text, nucleus="13C"):
        path = tmp_path / "a.txt"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return list(reader().read(path, Nucleus.parse(nucleus)))

    return read


def entry(**changes):
    spectrum = {"nucleus": "13C", "peaks": [[57.8, "t"], [18.1, "Q"]], "atoms": 2}
    spectrum |= changes.pop("spectrum", {})
    return {"id": "a", "smiles": "CCO", "spectra": [spectrum], **changes}


def lines(*entries):
    return "".join(e if isinstance(e, str) else json.dumps(e) + "\n" for e in entries)


# --- peak table


def test_peak_table_contract(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(lines(entry(), "{]\n", entry(smiles="C(")))
    check_reader(PeakTableReader, sample=path)


def test_peak_table_row(read):
    key = "LFQSCWFLJHTTHZ-UHFFFAOYSA-N"
    conditions = {"solvent": "CDCl3", "field_mhz": "100.6", "temperature_k": "Unknown"}
    text = lines(entry(inchikey=key, split="val", spectrum=conditions))
    [record] = read(PeakTableReader, text)
    assert (record.position, record.id, record.inchikey, record.split) == (
        "line 1",
        "a",
        key,
        "val",
    )
    [spectrum] = record.spectra
    assert [(p.ppm, p.multiplicity) for p in spectrum.peaks] == [(18.1, "Q"), (57.8, "T")]
    assert spectrum.atom_count == 2
    assert (spectrum.solvent, spectrum.field_mhz, spectrum.temperature_k) == ("CDCl3", 100.6, None)


def test_peak_table_takes_bare_shifts(read):
    [record] = read(PeakTableReader, lines(entry(spectrum={"peaks": [57.8, [18]], "atoms": None})))
    assert record.spectra[0].shifts == [18, 57.8]
    assert record.spectra[0].atom_count is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{]\n", "not JSON"),
        ("[" * 100_000 + "\n", "not JSON"),
        ("[1]\n", "not a JSON object"),
        (entry(spectra=None), "no list of spectra"),
        (entry(spectra=[1]), "no list of spectra"),
        (entry(smiles=None), "unreadable structure"),
        (entry(smiles="C(C)(C)(C)(C)C"), "unreadable structure"),
        (entry(spectrum={"nucleus": "1H"}), "no 13C spectrum"),
    ],
)
def test_peak_table_bad_rows(read, line, reason):
    bad, good = read(PeakTableReader, lines(line, "\n", entry()))
    assert (bad.position, bad.reason) == ("line 1", reason)
    assert isinstance(good, Record)
    assert good.position == "line 3"


@pytest.mark.parametrize(
    ("spectrum", "problem"),
    [
        ({"peaks": []}, "no list of peaks"),
        ({"peaks": "18.1"}, "no list of peaks"),
        ({"peaks": [[1e9, ""]]}, "peak 1: the shift 1e"),
        ({"peaks": [[18, ""], [float("nan"), ""]]}, "peak 2: the shift nan"),
        ({"peaks": [[10**400, ""]]}, "peak 1: int too large"),
        ({"peaks": [["18", ""]]}, "peak 1: '18' is not a shift"),
        ({"peaks": [[True, ""]]}, "peak 1: True is not a shift"),
        ({"peaks": [[]]}, "peak 1: [] is not a shift"),
        ({"peaks": [[18, 3]]}, "peak 1: 3 is not a multiplicity"),
        ({"atoms": 7}, "atoms=7 is not a number of atoms that 2 peaks"),
        ({"atoms": "2"}, "atoms='2'"),
    ],
)
def test_peak_table_bad_spectrum_leaves_the_good_one(read, spectrum, problem):
    both = entry(spectrum=spectrum)
    both["spectra"] += entry()["spectra"]
    [record] = read(PeakTableReader, lines(both))
    assert len(record.spectra) == 1
    [text] = record.problems
    assert text.startswith("unreadable spectrum: spectrum 1: ")
    assert problem in text


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.just("13C"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["smiles", "spectra", "nucleus", "peaks", "atoms"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_peak_table_survives_any_json(value):
    assert isinstance(_read_entry(json.dumps(value), "line 1", "13C"), Record | BadRecord)


# --- CSV


def test_csv_contract(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("name,SMILES,Peaks\na,CCO,58T 18Q\nb,C(,1\n")
    check_reader(CsvReader, sample=path)


@pytest.mark.parametrize(
    "text",
    [
        "# a table\n\nid,smiles,solvent,split,peaks\na,CCO,CDCl3,val,18.1Q 57.8T\n",
        'id,smiles,solvent,split,peaks\n"a",CCO,CDCl3,Val,"18.1Q, 57.8T"\n',
        "id;smiles;solvent;split;peak list\na;CCO;CDCl3;val;18.1Q 57.8T\n",
        'id;smiles;solvent;split;peak list\na;CCO;CDCl3;val;"18,1Q;57,8T"\n',
        "peaks\tstructure\tname\tsplit\tsolvent\textra\n18.1Q 57.8T\tCCO\ta\tval\tCDCl3\tx\n",
        "\ufeffid,smiles,solvent,split,peaks,note\r\na,CCO,CDCl3,val,18.1Q|57.8T\r\n# end\r\n",
    ],
)
def test_csv_in_all_its_forms(read, text):
    assert CsvReader().recognizes(Path("a"), text.encode())
    [record] = read(CsvReader, text)
    assert (record.id, record.split, canonical_smiles(record.molecule)) == ("a", "val", "CCO")
    [spectrum] = record.spectra
    assert [(p.ppm, p.multiplicity) for p in spectrum.peaks] == [(18.1, "Q"), (57.8, "T")]
    assert spectrum.solvent == "CDCl3"


def test_csv_bad_rows_cost_only_themselves(read):
    rows = [
        ("a,C(,18 58", "unreadable structure"),
        ("b,CCO,18 y58", "unreadable spectrum"),
        ("c,CCO,1e9", "unreadable spectrum"),
        ("d,CCO,", "no 13C spectrum"),
        ("e,CCO", "no 13C spectrum"),
        ("f,CCO,18,58", "more cells than columns"),
        ('g,"CCO,18', "unreadable row"),
        ("h,CCO,18 58", None),
        (f"i,CCO,{'1 ' * 100_000}", "unreadable row"),
        ("j,CCO,18 58,,", None),
    ]
    entries = read(CsvReader, "\n".join(["name,smiles,peaks", *(row for row, _ in rows)]))
    assert [getattr(e, "reason", None) for e in entries] == [reason for _, reason in rows]
    assert [e.position for e in entries] == [f"line {i}" for i in range(2, len(rows) + 2)]
    assert "put a peak list that contains ',' in double quotes" in entries[5].detail
    assert "at character 4" in entries[1].detail


def test_csv_needs_its_columns(read):
    for text in ("smiles,shift\nC,1\n", "a,b\n"):
        assert not CsvReader().recognizes(Path("a.csv"), text.encode())
        with pytest.raises(DataError, match="line 1: the header needs a column 'smiles' and"):
            read(CsvReader, text)
    with pytest.raises(DataError, match="has no header"):
        read(CsvReader, "# nothing\n\n")


def test_csv_name_in_an_old_encoding(read):
    [record] = read(CsvReader, "name,smiles,peaks\nmenthène,CCO,18 58\n".encode("latin-1"))
    assert record.id == "menth\ufffdne"


# --- the seed's hydrocarbons


def hydrocarbon(bonds, bins):
    digits = ["0"] * 136
    pairs = [(i, j) for i in range(17) for j in range(i + 1, 17)]
    for i, j, digit in bonds:
        digits[pairs.index((i, j))] = digit
    return "".join(digits), "".join("1" if i in bins else "0" for i in range(1024))


def hydrocarbon_file(*rows):
    table = [f"nmrshiftdb2_molecule,nmrshiftdb2_spectrum,{ADJACENCY},{BITS}"]
    return "\n".join([*table, *(f"{n},{n},{','.join(row)}" for n, row in enumerate(rows))])


BENZENE = hydrocarbon([(i, (i + 1) % 6, "67"[i % 2]) for i in range(5)] + [(0, 5, "7")], {642})
PROPENE = hydrocarbon([(0, 2, "2"), (0, 1, "1")], {0, 668, 1023})


def test_hydrocarbons_contract(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(hydrocarbon_file(PROPENE, ("1", "0")))
    check_reader(HydrocarbonReader, sample=path)


def test_hydrocarbons_have_the_order_of_the_file_and_centres_of_bins(read):
    benzene, propene = read(HydrocarbonReader, hydrocarbon_file(BENZENE, PROPENE))
    assert canonical_smiles(benzene.molecule) == "c1ccccc1"
    assert benzene.spectra[0].shifts == [128.5]
    assert propene.id == "1"
    assert [a.GetTotalNumHs() for a in propene.molecule.GetAtoms()] == [1, 3, 2]
    assert propene.spectra[0].shifts == [0.1, 133.7, 204.7]


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        (("12", PROPENE[1]), "unreadable structure", "not 136 digits"),
        (("9" * 136, PROPENE[1]), "unreadable structure", "not 136 digits"),
        (("1" * 136, PROPENE[1]), "unreadable structure", "valence"),
        (hydrocarbon([(0, 1, "1"), (2, 3, "1")], {5}), "unreadable structure", "not bonded"),
        ((PROPENE[0], "01"), "unreadable spectrum", "2 characters are not 1024"),
        ((PROPENE[0], "0" * 1024), "unreadable spectrum", "no bit is set"),
    ],
)
def test_hydrocarbons_bad_rows(read, row, reason, detail):
    bad, good = read(HydrocarbonReader, hydrocarbon_file(row, PROPENE))
    assert bad.reason == reason
    assert detail in bad.detail
    assert isinstance(good, Record)


def test_hydrocarbons_of_other_files(read):
    with pytest.raises(DataError, match=f"no column {ADJACENCY} and no column {BITS}"):
        read(HydrocarbonReader, "a,b\n1,2\n")
    [entry] = read(HydrocarbonReader, hydrocarbon_file(PROPENE), "1H")
    assert entry.reason == "no 1H spectrum"


@NEEDS_SHARED
def test_real_hydrocarbons():
    entries = list(HydrocarbonReader().read(SHARED / "seed-hydrocarbons.csv.gz", CARBON))
    assert len(entries) == 1400
    assert all(isinstance(entry, Record) for entry in entries)
    assert max(entry.molecule.GetNumAtoms() for entry in entries) == 17


@NEEDS_SHARED
def test_real_peak_table():
    path = SHARED / "nmrshiftdb2.jsonl.gz"
    with gzip.open(path) as file:
        assert PeakTableReader().recognizes(path, file.read(4096))
    entries = PeakTableReader().read(path, CARBON)
    reasons = {getattr(e, "reason", "kept") for e, _ in zip(entries, range(1000), strict=False)}
    assert reasons == {"kept", "no 13C spectrum"}
