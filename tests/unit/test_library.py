import csv
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from doubles import small_model

from nmrtk import library as library_module
from nmrtk.checkpoint import Calibration, LoadedModel
from nmrtk.errors import DataError
from nmrtk.formula import VECTOR_WIDTH, Formula
from nmrtk.library import (
    LINE_COLUMNS,
    Library,
    build_library,
    is_library,
    model_identity,
    read_library_structures,
    skipped_path,
)
from nmrtk.line_score import hydrogen_counts
from nmrtk.molecule import canonical_smiles
from nmrtk.recipe import Recipe
from nmrtk.rows import StructureRow
from nmrtk.score_settings import ScoreSettings
from nmrtk.similar import similar_structures
from nmrtk.spectrum import spectrum_of_shifts

SMILES = ("CCO", "COC", "OCC", "xyz", "c1ccccc1", "C[C@H](O)F", "[Og]", "C[C@@H](O)F", "N")


def loaded(seed=0):
    model = small_model(VECTOR_WIDTH, seed).eval()
    return LoadedModel(model, Recipe(), Calibration(), {}, Path(f"model-{seed}"))


def rows(smiles=SMILES):
    return (StructureRow(f"line {n}", str(n), text) for n, text in enumerate(smiles, start=1))


@pytest.fixture
def path(tmp_path):
    build_library(loaded(), rows(), tmp_path / "a.h5")
    return tmp_path / "a.h5"


def test_every_structure_is_accounted_for(tmp_path):
    seen = []
    report = build_library(loaded(), rows(), tmp_path / "a.h5", seen.append)
    assert (report.read, report.kept, report.duplicates, report.skipped) == (9, 5, 2, 2)
    assert seen[-1] == 9
    assert report.first_problem.startswith("line 4: 'xyz'")
    with skipped_path(tmp_path / "a.h5").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(row["position"], row["smiles"]) for row in table] == [
        ("line 4", "xyz"),
        ("line 7", "[Og]"),
    ]


def test_entries_are_what_the_model_says(path):
    model = loaded()
    with Library(path, model) as library:
        found = [canonical_smiles(library.molecule(i), stereo=True) for i in range(len(library))]
        assert found == ["CCO", "COC", "c1ccccc1", "C[C@H](O)F", "N"]
        entries = np.arange(len(library))
        ((block, codes),) = library.codes(entries)
        expected = model.model.predict([library.molecule(i) for i in range(len(library))])
        assert block.tolist() == entries.tolist()
        np.testing.assert_allclose(codes, expected.code.numpy(), atol=1e-6)
        ((_, features),) = library.features(entries)
        np.testing.assert_allclose(features.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(features.std(0), 1, atol=1e-4)


def test_matching_by_formula_and_lines(path):
    with Library(path, loaded()) as library:
        ethers = library.matching(Formula.parse("C2H6O"), 2)
        assert ethers.tolist() == [0, 1]
        assert library.matching(Formula.parse("C9H9"), 1).tolist() == []
        assert library.matching(None, 2).tolist() == [0, 1, 2, 3]
        assert library.formula_counts(library.matching(None, 0)) == {
            "C2H6O": 2,
            "C6H6": 1,
            "C2H5FO": 1,
            "H3N": 1,
        }


def test_blocks_give_the_same_as_the_whole(path, monkeypatch):
    with Library(path, loaded()) as library:
        ((_, whole),) = library.codes(np.arange(5))
        monkeypatch.setattr(library_module, "BLOCK", 2)
        for entries in ([0, 1, 2, 3, 4], [1, 4], [3], []):
            blocks = list(library.codes(np.array(entries, np.int64)))
            assert all(len(block) <= 2 for block, _ in blocks)
            assert [e for block, _ in blocks for e in block.tolist()] == entries
            for block, codes in blocks:
                np.testing.assert_array_equal(codes, whole[block])
        monkeypatch.setattr(library_module, "_SPARSE", 1.1)
        np.testing.assert_array_equal(
            np.concatenate([codes for _, codes in library.codes(np.array([0, 1, 4]))]),
            whole[[0, 1, 4]],
        )


def test_another_model_is_refused(path):
    with pytest.raises(DataError, match=r"another model \(model-0\) than model-1: build it again"):
        Library(path, loaded(seed=1))


def test_identity_is_that_of_the_tensors():
    assert model_identity(loaded()) == model_identity(loaded())
    changed = loaded()
    with torch.no_grad():
        changed.model.backbone.add.bias += 1
    assert model_identity(changed) != model_identity(loaded())


def test_files_that_are_no_library(tmp_path, path):
    with pytest.raises(DataError, match="does not exist"):
        Library(tmp_path / "b.h5", loaded())
    (tmp_path / "c.h5").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="damaged or no library"):
        Library(tmp_path / "c.h5", loaded())
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.attrs["format"] = "else"
    with pytest.raises(DataError, match="no library"):
        Library(tmp_path / "d.h5", loaded())
    assert is_library(path)
    assert not is_library(tmp_path / "c.h5")
    assert not is_library(tmp_path / "d.h5")
    with h5py.File(path, "a") as file:
        file.attrs["format_version"] = 99
    with pytest.raises(DataError, match="install a newer nmrtk"):
        Library(path, loaded())


def test_torn_and_altered_libraries_are_told(path):
    with h5py.File(path, "r") as file:
        offset = file["codes"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[offset] ^= 0xFF
    path.write_bytes(content)
    with Library(path, loaded()) as library, pytest.raises(DataError, match="damaged"):
        list(library.codes(np.arange(5)))
    path.write_bytes(bytes(content)[: len(content) // 2])
    with pytest.raises(DataError, match="damaged"):
        Library(path, loaded())


def test_nothing_is_left_when_nothing_can_be_encoded(tmp_path):
    with pytest.raises(DataError, match="none of 2 structures can be encoded, the first: line 1"):
        build_library(loaded(), rows(["xyz", "[Og]"]), tmp_path / "a.h5")
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_what_was_there(tmp_path, path):
    before = path.read_bytes()

    def interrupted():
        yield from rows(["CC"] * 300)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_library(loaded(), interrupted(), path)
    assert path.read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"a.h5", "a.skipped.csv"}


def test_a_library_is_no_source_of_structures(path):
    with pytest.raises(Exception, match="is a library already"):
        list(read_library_structures(str(path)))


@pytest.mark.parametrize("block", [2, 100])
def test_lines_are_what_the_model_says(path, monkeypatch, block):
    monkeypatch.setattr(library_module, "BLOCK", block)
    model = loaded()
    with Library(path, model) as library:
        assert library.has_lines
        found = {}
        for part in library.lines(np.array([0, 2, 3, 4])):
            for row, entry in enumerate(part.entries.tolist()):
                sites = part.owner == row
                found[entry] = part.shift[sites], part.scale[sites], part.hydrogens[sites]
        # Entry 4 is ammonia, which has no carbon.
        assert sorted(found) == [0, 2, 3]
        for entry, (shift, scale, hydrogens) in found.items():
            molecule = library.molecule(entry)
            lines = model.model.predict([molecule]).lines
            np.testing.assert_allclose(shift, lines.shift.detach().numpy(), rtol=1e-5)
            np.testing.assert_allclose(scale, lines.scale.detach().numpy(), rtol=1e-5)
            expected = hydrogen_counts(model.model.nucleus, [molecule])
            assert hydrogens.tolist() == expected.tolist()


def test_libraries_without_lines_work_as_before(path):
    with h5py.File(path, "a") as file:
        for name in LINE_COLUMNS:
            del file[name]
    model = loaded()
    with Library(path, model) as library:
        assert not library.has_lines
        assert len(next(iter(library.codes(np.array([0, 1]))))[1]) == 2
        spectrum = spectrum_of_shifts("13C", [100.0])
        assert similar_structures(library, spectrum, ScoreSettings(), "CCO") == []


def test_lines_that_lack_are_damage(path):
    with h5py.File(path, "a") as file:
        file["line_shift"].resize((2,))
    with pytest.raises(DataError, match="columns differ in length"):
        Library(path, loaded())


def test_similar_structures_are_not_the_candidate(path):
    model = loaded()
    with Library(path, model) as library:
        spectrum = spectrum_of_shifts("13C", [100.0])
        found = similar_structures(library, spectrum, ScoreSettings(), "OCC", count=2)
    assert len(found) == 2
    assert "CCO" not in {one.smiles for one in found}
    assert found[0].similarity >= found[1].similarity
