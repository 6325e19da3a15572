import json

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem

from nmrtk.dataset import DataSet, DataSetWriter
from nmrtk.errors import DataError, SpectrumError, UsageError
from nmrtk.interfaces import Record
from nmrtk.molecule import canonical_smiles, inchikey, parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.spectrum import Peak, Spectrum, spectrum_of_shifts
from nmrtk.splits import SplitRule

CARBON = Nucleus.parse("13C")
SMILES = [
    "CCO",
    "C/C=C/[C@H](O)c1ccncc1",
    "[O-][N+](=O)c1ccc(Cl)cc1",
    "OC(=O)[C@@H](N)CS",
    "c1ccc2[nH]ccc2c1",
    "[2H]C(Cl)(Cl)Cl",
    "F/C(Cl)=C(/F)Cl",
    "CC[Si](C)(C)C.[Na+].[Cl-]",
]


def record(smiles, *spectra, **fields):
    fields = {"position": "line 1", "id": smiles, **fields}
    return Record(molecule=parse_smiles(smiles), spectra=spectra, **fields)


def carbons(*shifts, **fields):
    return Spectrum("13C", tuple(Peak(shift) for shift in shifts), **fields)


def write(path, *records, nucleus=CARBON):
    with DataSetWriter(path, nucleus) as writer:
        for entry in records:
            writer.append(entry)
    return DataSet(path)


@st.composite
def records(draw):
    molecule = parse_smiles(draw(st.sampled_from(SMILES)))
    order = draw(st.permutations(range(molecule.GetNumAtoms())))
    molecule = Chem.RenumberAtoms(molecule, order)
    sites = CARBON.sites(molecule)
    positive = st.none() | st.floats(0.1, 1e3)
    peaks = st.builds(
        Peak,
        ppm=st.floats(-100, 300),
        intensity=st.none() | st.floats(-1e6, 1e6),
        multiplicity=st.sampled_from(["", "S", "Q", "br s", "é"]),
        atoms=st.lists(st.sampled_from(sites), max_size=3, unique=True).map(tuple),
    )
    spectra = st.builds(
        Spectrum,
        nucleus=st.just("13C"),
        peaks=st.lists(peaks, min_size=1, max_size=5).map(tuple),
        atom_count=st.none() | st.integers(1, 9),
        solvent=st.sampled_from(["", "CDCl3", "D₂O"]),
        field_mhz=positive,
        temperature_k=positive,
    )
    return Record(
        position="",
        id=draw(st.text(st.characters(codec="utf-8"), max_size=5)),
        molecule=molecule,
        spectra=tuple(draw(st.lists(spectra, min_size=1, max_size=3))),
        inchikey=inchikey(molecule),
        split=draw(st.sampled_from(["train", "val", "test"])),
    )


def atoms_of(molecule):
    return [
        (a.GetAtomicNum(), a.GetTotalNumHs(), a.GetFormalCharge(), a.GetIsotope())
        for a in molecule.GetAtoms()
    ]


@settings(max_examples=25, deadline=None)
@given(st.lists(records(), min_size=1, max_size=4))
def test_round_trip(tmp_path_factory, written):
    data = write(tmp_path_factory.mktemp("set") / "a.h5", *written)
    assert len(data) == len(written)
    for before, after in zip(written, data.records(), strict=True):
        assert (after.id, after.inchikey, after.split) == (before.id, before.inchikey, before.split)
        assert after.spectra == before.spectra
        assert atoms_of(after.molecule) == atoms_of(before.molecule)
        assert canonical_smiles(after.molecule, stereo=True) == canonical_smiles(
            before.molecule, stereo=True
        )
        bonds = {
            frozenset((b.GetBeginAtomIdx(), b.GetEndAtomIdx())) for b in before.molecule.GetBonds()
        }
        assert bonds == {
            frozenset((b.GetBeginAtomIdx(), b.GetEndAtomIdx())) for b in after.molecule.GetBonds()
        }


def test_more_values_than_a_chunk_holds(tmp_path):
    spectra = [carbons(*np.linspace(0, 200, 3000) + i) for i in range(8)]
    data = write(tmp_path / "a.h5", *(record("CCO", s) for s in spectra))
    assert [r.spectra[0] for r in data.records()] == spectra
    assert [r.position for r in data.records([7])] == ["row 7"]


def test_key_and_split_are_made_where_missing(tmp_path):
    [entry] = write(tmp_path / "a.h5", record("CCO", carbons(18, 58))).records()
    assert entry.inchikey == "LFQSCWFLJHTTHZ-UHFFFAOYSA-N"
    assert entry.split == "train"


def test_example_is_the_first_complete_spectrum_where_there_is_one(tmp_path):
    rows = [
        record("CCO", carbons(18), carbons(18, 58, 59), carbons(18.2, 58), carbons(17, 57), id="a"),
        record("OCC", carbons(1, 2), id="b"),
        record("CCC", carbons(15, 16), split="train", id="c"),
        record("CCCC", carbons(13, 13, 25, 25, atom_count=3), split="train", id="d"),
    ]
    data = write(tmp_path / "a.h5", *rows)
    [example] = data.examples(SplitRule(), "train")
    assert example.id == "a"
    assert example.skeleton == "LFQSCWFLJHTTHZ"
    assert example.spectrum.shifts == [18.2, 58]
    lines = {
        e.id: e.spectrum.shifts for e in data.examples(SplitRule(), "train", complete_only=False)
    }
    assert lines == {"a": [18.2, 58], "c": [15, 16], "d": [13, 13, 25, 25]}


def test_assigned_spectra_go_before_others(tmp_path):
    assigned = Spectrum("13C", (Peak(18.0, atoms=(2,)), Peak(58.0, atoms=(1,))))
    data = write(tmp_path / "a.h5", record("CCO", carbons(18, 58)), record("OCC", assigned))
    [example] = data.examples(SplitRule(), "train")
    assert example.spectrum == assigned
    assert example.molecule.GetAtomWithIdx(0).GetSymbol() == "O"


def test_splits_that_give_nothing(tmp_path):
    data = write(tmp_path / "a.h5", record("CCC", carbons(15, 16), split="train"))
    with pytest.raises(UsageError, match=r"'val' is empty .* train \(1\)"):
        data.examples(SplitRule(), "val")
    with pytest.raises(UsageError, match="has a complete 13C spectrum: allow incomplete ones"):
        data.examples(SplitRule(), "train")


def test_summary(tmp_path):
    rows = [
        record("CCO", carbons(18, 58, solvent="CDCl3"), carbons(18), split="val"),
        record("CCS", carbons(19, 20), split="train"),
    ]
    summary = write(tmp_path / "a.h5", *rows).summary()
    json.dumps(summary)
    assert summary["molecules"] == 2
    assert (summary["spectra"], summary["complete_spectra"], summary["peaks"]) == (3, 2, 5)
    assert summary["elements"] == {"C": 2, "O": 1, "S": 1}
    assert summary["splits"]["val"] == {"molecules": 1, "with_complete_spectrum": 1}
    assert summary["shift_range_ppm"] == [18, 58]
    assert summary["solvents"] == {"CDCl3": 1}
    assert set(summary["provenance"]["versions"]) == {"nmrtk", "rdkit", "h5py"}
    assert summary["provenance"]["counts"] == {"molecules": 2, "spectra": 3, "peaks": 5}


@pytest.mark.parametrize(
    ("spectra", "message"),
    [
        ((), "no spectrum"),
        ((spectrum_of_shifts("1H", [1]),), "a 1H spectrum is not a 13C spectrum"),
        ((carbons(),), "no lines"),
        ((Spectrum("13C", (Peak(1.0, atoms=(2,)),)),), "atom 2, which gives no 13C line"),
        ((Spectrum("13C", (Peak(1.0, atoms=(-1,)),)),), "atom -1"),
    ],
)
def test_records_that_make_no_sense_are_refused_and_the_rest_is_kept(tmp_path, spectra, message):
    with DataSetWriter(tmp_path / "a.h5", CARBON) as writer:
        writer.append(record("CCO", carbons(18)))
        with pytest.raises(SpectrumError, match=message):
            writer.append(record("CCO", *spectra))
    assert len(DataSet(tmp_path / "a.h5")) == 1


def test_molecule_without_the_element(tmp_path):
    with DataSetWriter(tmp_path / "a.h5", CARBON) as writer:
        writer.append(record("CCO", carbons(18)))
        with pytest.raises(SpectrumError, match="has no C to give 13C lines"):
            writer.append(record("O", carbons(18)))


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_interrupted_writing_leaves_nothing(tmp_path, failure):
    def write_half():
        with DataSetWriter(tmp_path / "a.h5", CARBON) as writer:
            writer.append(record("CCO", carbons(18)))
            raise failure

    with pytest.raises(failure):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_data_set_without_records_is_none(tmp_path):
    with pytest.raises(DataError, match="at least one record"):
        write(tmp_path / "a.h5")
    assert list(tmp_path.iterdir()) == []


def test_another_nucleus_is_named(tmp_path):
    data = write(tmp_path / "a.h5", record("CCO", carbons(18)))
    data.require_nucleus(CARBON)
    with pytest.raises(DataError, match="holds 13C spectra, but 31P is needed"):
        data.require_nucleus("31P")


def test_files_that_are_no_data_sets(tmp_path):
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").touch()
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1]
    for name, message in (
        ("gone", "does not exist"),
        ("text", "is not an HDF5 file"),
        ("empty", "is empty"),
        ("other.h5", "not an nmrtk data set"),
        (".", "is a folder"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            DataSet(tmp_path / name)
        assert "nmrtk data import" in str(caught.value)


def test_newer_format(tmp_path):
    write(tmp_path / "a.h5", record("CCO", carbons(18)))
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file.attrs["format_version"] = 99
    with pytest.raises(DataError, match="format version 99; nmrtk .* reads up to 1: install"):
        DataSet(tmp_path / "a.h5")


def damage_column(path, name, change):
    with h5py.File(path, "r+") as file:
        values = file[name][:]
        del file[name]
        file[name] = change(values)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("peaks/ppm", lambda v: v[:-1]),
        ("peaks/atoms_end", lambda v: v + 1),
        ("molecules/spectra_end", lambda v: v[::-1]),
        ("molecules/smiles", lambda v: np.full_like(v, 0xFF)),
        ("molecules/split", lambda v: v + 7),
        ("spectra/solvent", lambda v: v[:0]),
    ],
)
def test_columns_that_do_not_fit(tmp_path, name, change):
    write(tmp_path / "a.h5", record("CCO", carbons(18)), record("CCC", carbons(15, 16)))
    damage_column(tmp_path / "a.h5", name, change)
    with pytest.raises(DataError, match="is damaged .*: import its sources again"):
        DataSet(tmp_path / "a.h5")


def test_structures_that_cannot_be_restored(tmp_path):
    write(tmp_path / "a.h5", record("CCO", carbons(18), split="val"))
    damage_column(tmp_path / "a.h5", "molecules/smiles", lambda v: np.full_like(v, ord("(")))
    with pytest.raises(DataError, match="is damaged"):
        DataSet(tmp_path / "a.h5").examples(SplitRule(), "val", complete_only=False)


def test_torn_and_altered_files(tmp_path):
    path = tmp_path / "a.h5"
    write(path, *(record("CCO", carbons(18 + i / 100)) for i in range(200)))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="is damaged"):
        DataSet(path)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.attrs["format"] = "nmrtk data set"
    with pytest.raises(DataError, match="is damaged"):
        DataSet(tmp_path / "b.h5")
