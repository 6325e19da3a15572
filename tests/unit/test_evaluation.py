import json
from pathlib import Path

import numpy as np
import pytest
from doubles import small_model

from nmrtk import evaluation
from nmrtk.checkpoint import Calibration, LoadedModel
from nmrtk.dataset import DataSetWriter
from nmrtk.errors import DataError, UsageError
from nmrtk.evaluation import evaluate
from nmrtk.evaluation_data import Plan
from nmrtk.formula import VECTOR_WIDTH
from nmrtk.interfaces import Baseline, Record
from nmrtk.line_accuracy import ALL
from nmrtk.molecule import inchikey, parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.recipe import Part, Recipe, SplitChoice
from nmrtk.spectrum import Peak, Spectrum, spectrum_of_shifts
from nmrtk.testing.material import examples

pytestmark = pytest.mark.usefixtures("plugins")  # evaluations name them and their versions

CARBON = Nucleus.parse("13C")
SPLITS = ("train", "val", "test")


class Recorder(Baseline):
    """Remembers what it was given."""

    fitted: list

    def fit(self, given):
        type(self).fitted = list(given)

    def predict_occupancy(self, molecules):
        return np.zeros((len(molecules), self.codec.bin_count), np.float32)


class LineRecorder(Recorder):
    predicts_lines = True
    learns_atoms = True

    def predict_spectra(self, molecules):
        return [
            spectrum_of_shifts("13C", [1.0] * len(CARBON.sites(molecule))) for molecule in molecules
        ]


def write(path: Path, records, nucleus=CARBON):
    with DataSetWriter(path, nucleus) as writer:
        for record in records:
            writer.append(record)
    return path


def record(example, split, **changes):
    values = {"spectra": (example.spectrum,), "split": split} | changes
    return Record("line 1", example.id, example.molecule, **values)


@pytest.fixture
def data(tmp_path):
    records = [record(e, SPLITS[i % 3]) for i, e in enumerate(examples(CARBON))]
    heavy = Spectrum("13C", (Peak(20.0), Peak(20.0)))
    records.append(Record("line 2", "heavy", parse_smiles("C[Hg]C"), (heavy,), split="test"))
    return write(tmp_path / "data.h5", records)


@pytest.fixture
def loaded(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"a file of its own")
    recipe = Recipe(
        encoder=Part(name="adjacency"),
        codec=Part(name="binary-128"),
        backbone=Part(name="irevnet-flat"),
    )
    training = {"data": {"path": "elsewhere.h5", "sha256": "0" * 64}}
    return LoadedModel(small_model(VECTOR_WIDTH), recipe, Calibration(), training, path)


@pytest.fixture
def recorders(monkeypatch):
    """`--baseline mean` and `hose` are recorders."""
    classes = {"mean": Recorder, "hose": LineRecorder}
    for one in classes.values():
        one.fitted = []
    monkeypatch.setattr(
        evaluation, "build", lambda kind, name, options, codec: classes[name](codec)
    )


def document(loaded, plan):
    found = json.loads(evaluate(loaded, plan).to_json())
    found.pop("seconds")
    return found


def test_the_report_has_all_sections_and_says_what_it_is_about(loaded, data):
    result = evaluate(loaded, Plan(data, draws=3))
    found = json.loads(result.to_json())
    for section in (
        "code",
        "lines",
        "reversibility",
        "free",
        "generation",
        "retrieval",
        "confidence",
    ):
        assert found[section]
    assert found["counts"] == {
        "in_split": 7,
        "chosen": 7,
        "evaluated": 6,
        "left_out": 1,
        "first_left_out": "heavy: element 80 is too heavy for this encoder",
        "train": 6,
        "assigned": 6,
    }
    assert found["model"]["path"] == str(loaded.path)
    assert found["split"] == {"name": "test", "kind": "given", "seed": 0, "train_fraction": 0.8}
    assert found["versions"]["nmrtk"]
    assert set(found["seconds"]) >= {"forward", "generation", "retrieval"}
    text = result.to_markdown()
    for table in result.tables():
        assert table.to_markdown() in text
    assert len(result.tables()) == 10
    assert "arXiv 2602.03875" in text
    assert any("left out" in note for note in found["notes"])
    assert any("not the one that the model was trained on" in note for note in found["notes"])


def test_figures_follow_from_the_seed(loaded, data):
    plan = Plan(data, limit=4, draws=3)
    assert document(loaded, plan) == document(loaded, plan)
    other = document(loaded, Plan(data, limit=4, draws=3, seed=1))
    assert other["generation"] != document(loaded, plan)["generation"]
    assert other["counts"]["chosen"] == 4


def test_baselines_learn_from_train_and_are_measured_on_the_same_molecules(loaded, data, recorders):
    result = evaluate(loaded, Plan(data, baselines=("mean", "hose"), draws=2))
    train = {e.id for i, e in enumerate(examples(CARBON)) if i % 3 == 0}
    assert {example.id for example in Recorder.fitted} == train
    assert {example.id for example in LineRecorder.fitted} == train
    assert [row.name for row in result.code.rows][-2:] == ["mean", "hose"]
    lines = {r.name: r.score.lines for r in result.lines.rows if r.group == ALL}
    assert lines["hose"] == lines["model"]


def test_assigned_records_come_from_molecules_of_train_alone(loaded, data, recorders, tmp_path):
    # All molecules, under other splits than in the main data set, and one that it lacks.
    records = [record(e, "train") for e in examples(CARBON)]
    stranger = Spectrum("13C", (Peak(49.9, atoms=(0,)),))
    records.append(Record("line 9", "methanol", parse_smiles("CO"), (stranger,), split="train"))
    first = examples(CARBON)[0]
    unassigned = spectrum_of_shifts("13C", first.spectrum.shifts)
    records.append(record(first, "train", spectra=(unassigned,)))
    assigned = write(tmp_path / "assigned.h5", records)
    plan = Plan(data, baselines=("mean", "hose"), assigned=assigned, draws=2)
    found = document(loaded, plan)
    train = {e.id for i, e in enumerate(examples(CARBON)) if i % 3 == 0}
    assert sorted(example.id for example in LineRecorder.fitted) == sorted(train)
    assert all(p.atoms for e in LineRecorder.fitted for p in e.spectrum.peaks)
    assert LineRecorder.fitted[0].skeleton == inchikey(first.molecule)[:14]
    assert {example.id for example in Recorder.fitted} == train
    assert found["baselines"]["hose"] == {"learned_from": len(train)}


def test_skeletons_that_train_shares_with_another_split_are_not_learned_from(
    loaded, recorders, tmp_path
):
    """Splits that a user made carelessly: one constitution on both sides."""
    some = examples(CARBON)
    twin = Spectrum("13C", (Peak(20.0, atoms=(0,)), Peak(60.0, atoms=(1,))))
    left, right = (parse_smiles(s) for s in ("C[C@H](O)F", "C[C@@H](O)F"))
    records = [record(e, SPLITS[i % 3]) for i, e in enumerate(some)]
    records += [
        Record("line 7", "left", left, (twin,), split="train"),
        Record("line 8", "right", right, (twin,), split="test"),
    ]
    path = write(tmp_path / "careless.h5", records)
    evaluate(loaded, Plan(path, baselines=("hose",), assigned=path, draws=2))
    learned = {example.id for example in LineRecorder.fitted}
    assert learned
    assert not learned & {"left", "right"}


def test_assigned_records_without_molecules_of_train_are_refused(loaded, data, recorders, tmp_path):
    test = [e for i, e in enumerate(examples(CARBON)) if i % 3 == 2]
    other = write(tmp_path / "other.h5", [record(e, "train") for e in test])
    with pytest.raises(UsageError, match="holds no assigned 13C lines of molecules of the train"):
        evaluate(loaded, Plan(data, baselines=("hose",), assigned=other, draws=2))


def test_assigned_records_of_the_split_show_errors_at_the_true_atoms(loaded, data, tmp_path):
    # All molecules: those of other splits must not be looked at.
    records = [record(e, "val") for e in examples(CARBON)]
    assigned = write(tmp_path / "assigned.h5", records)
    lines = evaluate(loaded, Plan(data, assigned=assigned, draws=2)).lines
    own = evaluate(loaded, Plan(data, draws=2)).lines
    (row,) = lines.atoms
    assert row == own.atoms[0]
    test = [e for i, e in enumerate(examples(CARBON)) if i % 3 == 2]
    assert row.name == "model"
    assert row.molecules == len(test)
    assert row.score.lines == sum(len(e.spectrum.peaks) for e in test)
    # Sorting is the assignment with the least error.
    assert row.complete_mae >= row.complete_mae_sorted
    assert "at their true atoms" in lines.tables()[1].title


def test_assigned_records_without_molecules_of_the_split_are_refused(loaded, data, tmp_path):
    train = [e for i, e in enumerate(examples(CARBON)) if i % 3 == 0]
    other = write(tmp_path / "other.h5", [record(e, "test") for e in train])
    with pytest.raises(UsageError, match="holds no assigned 13C lines of molecules of the test"):
        evaluate(loaded, Plan(data, assigned=other, draws=2))


def test_lines_are_told_apart_by_kind_of_molecule(loaded, data):
    found = json.loads(evaluate(loaded, Plan(data, draws=2)).to_json())["lines"]
    groups = {row["group"]: row for row in found["by_molecule"]}
    spectra = found["spectra"]
    assert groups["up to 16 heavy atoms"]["molecules"] == spectra
    novelty = [row["molecules"] for name, row in groups.items() if name.startswith("similarity")]
    assert sum(novelty) == spectra
    assert groups["with O"]["molecules"] > 0


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"split": "tset"}, "'tset' is not a split: choose train, val, test"),
        ({"draws": 1}, "draws is 1: at least 2"),
        ({"baselines": ("naerest",)}, "Did you mean 'nearest'"),
    ],
)
def test_wrong_choices_are_named(loaded, data, plan, message):
    with pytest.raises(UsageError, match=message):
        evaluate(loaded, Plan(data, **plan))


def test_a_split_that_the_rule_does_not_make_is_named(loaded, data):
    recipe = loaded.recipe.model_copy(update={"split": SplitChoice(kind="random")})
    random = LoadedModel(loaded.model, recipe, loaded.calibration, loaded.training, loaded.path)
    with pytest.raises(UsageError, match="'test' is empty with the rule 'random'"):
        evaluate(random, Plan(data))
    notes = evaluate(random, Plan(data, split="val", draws=2)).notes
    assert any("may hold molecules that trained the model" in note for note in notes)
    assert any("tuned on val" in note for note in notes)


def test_data_of_another_nucleus_are_refused_by_both_names(loaded, tmp_path):
    phosphorus = Nucleus.parse("31P")
    trimethyl = Record(
        "line 1", "p", parse_smiles("CP(C)C"), (spectrum_of_shifts("31P", [-62.0]),), split="test"
    )
    path = write(tmp_path / "p.h5", [trimethyl], phosphorus)
    with pytest.raises(DataError, match="holds 31P spectra, but 13C is needed"):
        evaluate(loaded, Plan(path))
