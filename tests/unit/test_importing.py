import csv
import gzip
import hashlib
import io
import random
from collections import Counter
from pathlib import Path

import pytest

from nmrtk import importing, sources
from nmrtk.component import Component
from nmrtk.dataset import DataSet
from nmrtk.errors import DataError, PluginError, UsageError
from nmrtk.importing import import_files
from nmrtk.interfaces import BadRecord, Reader, Record
from nmrtk.molecule import parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.spectrum import Peak, Spectrum, spectrum_of_shifts
from nmrtk.splits import split_of_skeleton

CARBON = Nucleus.parse("13C")


class Entries(Reader):
    """Yields what the test prepared; reads the file as well, as real readers do."""

    entries: list = []  # noqa: RUF012 - set by each test

    def recognizes(self, path, head):
        return head.startswith(b"entries")

    def read(self, path, nucleus):
        for _ in sources.read_lines(path):
            pass
        for entry in self.entries:
            if isinstance(entry, Exception):
                raise entry
            yield entry


class Greedy(Entries):
    def recognizes(self, path, head):
        return head.endswith(b"anything")


class Broken(Entries):
    def recognizes(self, path, head):
        raise RuntimeError("boom")


READERS = {"entries": Entries, "greedy": Greedy, "broken": Broken}


@pytest.fixture
def source(tmp_path, monkeypatch):
    def build(kind, name, options=None):
        if name not in READERS:
            raise UsageError(f"no format is called {name!r}")
        return READERS[name]()

    listed = {name: Component(name, f"tests:{c.__name__}", "") for name, c in READERS.items()}
    monkeypatch.setattr(importing, "components", lambda kind: listed)
    monkeypatch.setattr(importing, "build", build)
    path = tmp_path / "source.txt"
    path.write_text("entries\n")
    return path


def record(smiles, *spectra, position="line 1", **fields):
    return Record(position, fields.pop("id", smiles), parse_smiles(smiles), spectra, **fields)


def carbons(*shifts):
    return spectrum_of_shifts("13C", shifts)


def run(source, entries, monkeypatch, *more, **options):
    monkeypatch.setattr(Entries, "entries", entries)
    output = source.with_name("out.h5")
    report = import_files([source, *more], output, CARBON, **options)
    with report.skipped_file.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return report, rows


def check_balance(report, rows):
    assert report.kept + report.skipped.total() == report.read
    by_kind = Counter(row["kind"] for row in rows)
    assert by_kind["record"] == report.skipped.total()
    assert by_kind["spectrum"] == report.spectra_skipped.total()
    data = DataSet(report.output)
    assert len(data) == report.kept
    assert data.summary()["spectra"] == report.spectra_kept


def test_every_entry_is_kept_or_listed(source, monkeypatch):
    entries = [
        record("CCO", carbons(18, 58)),
        BadRecord("line 2", "b", "not JSON", "found ','\nand more"),
        record("CCC", spectrum_of_shifts("1H", [1]), position="line 3"),
        record("CCS", position="line 4", problems=("unreadable spectrum: no number: x",)),
        record("O", carbons(5), position="line 5"),
        record("CCO", carbons(58, 18), position="line 6"),
        record("CCO", carbons(58, 18.1), carbons(), position="line 7"),
        record("CCN", carbons(1), position="line 8", split="dev"),
        record("CCCC", Spectrum("13C", (Peak(1.0, atoms=(9,)),)), position="line 9"),
        record("CO", carbons(50), position="line 10", id="\ud800", problems=("calculated: 2",)),
    ]
    report, rows = run(source, entries, monkeypatch)
    check_balance(report, rows)
    assert (report.read, report.kept) == (10, 3)
    assert [(r["position"], r["kind"], r["reason"]) for r in rows] == [
        ("line 2", "record", "not JSON"),
        ("line 3", "record", "no 13C spectrum"),
        ("line 4", "record", "unreadable spectrum"),
        ("line 5", "record", "spectrum does not fit the molecule"),
        ("line 6", "record", "duplicate"),
        ("line 7", "spectrum", "spectrum does not fit the molecule"),
        ("line 8", "record", "unknown split"),
        ("line 9", "record", "spectrum does not fit the molecule"),
        ("line 10", "spectrum", "calculated"),
    ]
    assert rows[2]["detail"] == "no number: x"
    assert rows[0]["detail"] == "found ','\nand more"
    assert {row["source"] for row in rows} == {str(source)}


def test_any_mixture_balances(source, monkeypatch):
    draw = random.Random(0)

    def entry(i):
        if draw.random() < 0.2:
            return BadRecord(f"line {i}", "", draw.choice(["a", "b"]))
        spectra = [
            draw.choice([carbons(1, 2), carbons(draw.random()), carbons(), Spectrum("1H", ())])
            for _ in range(draw.randrange(3))
        ]
        smiles = draw.choice(["CC", "CCC", "O", "c1ccccc1"])
        problems = tuple(draw.choices(["x: 1", "y"], k=draw.randrange(2)))
        return record(smiles, *spectra, position=f"line {i}", problems=problems)

    report, rows = run(source, [entry(i) for i in range(400)], monkeypatch)
    check_balance(report, rows)
    assert report.read == 400
    assert 0 < report.kept < 400
    assert DataSet(report.output).provenance["import"] == report.as_dict()


def test_assigned_spectrum_is_no_duplicate(source, monkeypatch):
    assigned = Spectrum("13C", (Peak(50.0, atoms=(0,)),))
    report, _ = run(source, [record("CO", carbons(50)), record("CO", assigned)], monkeypatch)
    assert report.kept == 2


def test_split_is_given_or_that_of_the_skeleton_or_hashed(source, monkeypatch):
    rows = [
        record("C[C@H](O)F", carbons(1, 2), split="test"),
        record("C[C@@H](O)F", carbons(1, 2)),
        record("CCO", carbons(1, 2)),
    ]
    report, _ = run(source, rows, monkeypatch)
    data = DataSet(report.output)
    assert data.splits() == ["test", "test", split_of_skeleton(data.skeletons()[2])]


def test_false_inchikey_is_computed_anew(source, monkeypatch):
    report, _ = run(source, [record("CCO", carbons(1), inchikey="none")], monkeypatch)
    assert DataSet(report.output).skeletons() == ["LFQSCWFLJHTTHZ"]


def test_provenance_names_the_sources(source, monkeypatch):
    report, _ = run(source, [record("CCO", carbons(1))], monkeypatch)
    [entry] = DataSet(report.output).provenance["sources"]
    assert entry["path"] == str(source)
    assert entry["format"] == "entries"
    assert entry["bytes"] == 8
    assert entry["sha256"] == hashlib.sha256(b"entries\n").hexdigest()


def test_source_that_ends_too_early_keeps_what_was_read(source, monkeypatch):
    entries = [record("CCO", carbons(1)), DataError("source.txt ends too early, after line 7")]
    report, rows = run(source, entries, monkeypatch)
    check_balance(report, rows)
    assert rows[-1]["position"] == "after entry 1"
    assert "after line 7" in rows[-1]["detail"]


def test_source_whose_checksum_fails_is_refused(source, monkeypatch):
    packed = source.with_name("packed.gz")
    content = bytearray(gzip.compress(b"entries" * 1000))
    content[-6] ^= 0xFF
    packed.write_bytes(content)
    with pytest.raises(DataError, match="is damaged.*no part of it can be trusted"):
        run(source, [record("CCO", carbons(1))], monkeypatch, packed)
    assert not source.with_name("out.h5").exists()


def test_nothing_kept_is_an_error_with_its_list(source, monkeypatch):
    with pytest.raises(DataError, match=r"nothing could be kept of 1 entry: bad \(why\); .*lists"):
        run(source, [BadRecord("line 1", "", "bad", "why")], monkeypatch)
    assert "why" in source.with_name("out.skipped.csv").read_text()
    assert not source.with_name("out.h5").exists()


@pytest.mark.parametrize("failure", [KeyboardInterrupt, KeyError])
def test_interrupted_import_leaves_the_old_files(source, monkeypatch, failure):
    run(source, [record("CCO", carbons(1))], monkeypatch)
    before = {path: path.read_bytes() for path in source.parent.iterdir()}

    def entries():
        yield record("CCC", carbons(1, 2))
        raise failure("boom")

    with pytest.raises((KeyboardInterrupt, PluginError)) as caught:
        run(source, entries(), monkeypatch)
    if failure is KeyError:
        assert "the reader 'entries' failed" in str(caught.value)
        assert "after entry 1: KeyError" in str(caught.value)
    assert {path: path.read_bytes() for path in source.parent.iterdir()} == before


def test_unknown_and_ambiguous_formats(source, monkeypatch):
    source.write_text("what is this?")
    with pytest.raises(UsageError, match=r"not recognized. Choose .*--format NAME: entries.*boom"):
        run(source, [], monkeypatch)
    source.write_text("entries of anything")
    with pytest.raises(UsageError, match="any of these formats: entries, greedy.*--format NAME"):
        run(source, [], monkeypatch)
    report, _ = run(source, [record("CCO", carbons(1))], monkeypatch, format="entries")
    assert report.kept == 1


def test_paths_that_cannot_work(source, monkeypatch):
    for sources_, output, error, message in (
        ([], "out.h5", UsageError, "at least one source"),
        ([source], "out.csv", UsageError, r"must end in .h5 or .hdf5"),
        ([source], ".", UsageError, r"must end in .h5 or .hdf5"),
        ([source.with_name("out.h5")], "out.h5", UsageError, "is a source"),
        ([Path("-"), Path("-")], "out.h5", UsageError, "read only once"),
        ([source.with_name("gone")], "out.h5", DataError, "gone does not exist"),
        ([source.parent], "out.h5", DataError, "is a folder: give the files in it"),
    ):
        with pytest.raises(error, match=message):
            import_files(sources_, source.parent / output, CARBON)
    source.write_bytes(b"")
    with pytest.raises(DataError, match=r"source.txt is empty"):
        import_files([source], source.with_name("out.h5"), CARBON)


def test_standard_input(source, monkeypatch, tmp_path):
    class Input:
        buffer = io.BytesIO(b"entries\n")

    monkeypatch.setattr("sys.stdin", Input)
    monkeypatch.setattr(Entries, "entries", [record("CCO", carbons(1))])
    report = import_files([Path("-")], tmp_path / "out.h5", CARBON)
    [entry] = DataSet(report.output).provenance["sources"]
    assert (entry["path"], entry["bytes"]) == ("standard input", 8)


def test_progress_comes_to_its_end(source, monkeypatch):
    seen = []
    entries = [record("CCO", carbons(i)) for i in range(1, 200)]
    run(source, entries, monkeypatch, progress=lambda *args: seen.append(args[:2]))
    assert len(seen) > 2
    assert seen[-1] == (8, 8)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
