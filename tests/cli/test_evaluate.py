"""The command, on a small data set and a model with random weights."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from nmrtk.checkpoint import Calibration, save_model
from nmrtk.cli.main import cli
from nmrtk.dataset import DataSetWriter
from nmrtk.interfaces import Record
from nmrtk.model import build_model
from nmrtk.molecule import parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.recipe import Part, Recipe
from nmrtk.spectrum import spectrum_of_shifts
from nmrtk.testing.material import examples

CARBON = Nucleus.parse("13C")


def nmrtk(*arguments, code=0):
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A data set `data.h5`, one of phosphorus `p31.h5`, and the seed system untrained, `run`."""
    folder = tmp_path_factory.mktemp("evaluate")
    with DataSetWriter(folder / "data.h5", CARBON) as writer:
        for index, example in enumerate(examples(CARBON)):
            split = ("train", "val", "test")[index % 3]
            writer.append(
                Record("line", example.id, example.molecule, (example.spectrum,), split=split)
            )
    with DataSetWriter(folder / "p31.h5", Nucleus.parse("31P")) as writer:
        spectrum = spectrum_of_shifts("31P", [-62.0])
        writer.append(Record("line", "p", parse_smiles("CP(C)C"), (spectrum,), split="test"))
    recipe = Recipe(
        encoder=Part(name="adjacency"), codec=Part(name="binary-128"), backbone=Part(name="irevnet")
    )
    torch.manual_seed(0)
    (folder / "run").mkdir()
    model = build_model(recipe)
    save_model(folder / "run" / "model.safetensors", model, recipe, Calibration(), {})
    return folder


def evaluate(folder, *arguments, code=0, data="data.h5"):
    chosen = ["--model", folder / "run", "--data", folder / data, "--draws", "4"]
    return nmrtk("evaluate", *chosen, *arguments, code=code)


def test_tables_on_stdout_and_both_reports(folder, tmp_path):
    outputs = ["-o", tmp_path / "report.json", "-o", tmp_path / "report.md"]
    result = evaluate(folder, "--baseline", "mean", "--baseline", "hose", *outputs)
    assert (tmp_path / "report.md").read_text() == result.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert [row["name"] for row in report["code"]["rows"]] == [
        *("model", "chance", "bin-frequency", "mean", "hose"),
    ]
    assert {row["name"] for row in report["lines"]["rows"]} == {"mean", "hose"}
    assert report["generation"]["molecules"]["valid"] >= 0
    assert report["reversibility"]["features"]["largest"] < 2e-4
    # The seed's encoder takes hydrocarbons only: the others are left out, and that is said.
    counts = report["counts"]
    assert counts["evaluated"] + counts["left_out"] == counts["in_split"] == 6
    assert counts["left_out"] > 0
    assert "left out for all" in result.stdout
    for text in ("0.1695", "0.0643", "9e-5", "0.0858", "3.46"):
        assert text in result.stdout


def test_lines_are_measured_in_ppm_and_as_a_code(folder, tmp_path):
    recipe = Recipe(
        encoder=Part(name="mpnn", hidden_dim=8, layers=1),
        codec=Part(name="binary-128"),
        backbone=Part(name="irevnet-flat", depth=2),
    )
    torch.manual_seed(0)
    model = tmp_path / "model.safetensors"
    save_model(model, build_model(recipe), recipe, Calibration(), {})
    chosen = ["--model", model, "--data", folder / "data.h5", "--assigned", folder / "data.h5"]
    output = tmp_path / "report.json"
    result = nmrtk("evaluate", *chosen, "--draws", "2", "--baseline", "hose", "-o", output)
    report = json.loads(output.read_text())
    codes = {row["name"]: row for row in report["code"]["rows"]}
    assert codes["model, code of its lines"]["tuned"]["micro_f1"] >= 0
    lines = {(row["name"], row["group"]): row for row in report["lines"]["rows"]}
    for name in ("model", "hose"):
        usual = lines[name, "usual molecules"]
        assert usual["score"] == lines[name, "all molecules"]["score"]
        assert usual["mae_over_molecule"] <= usual["score"]["mae"] + 1e-9
        assert set(usual["score"]["coverage"]) == {"0.5", "0.8", "0.95"}
    assert [row["name"] for row in report["lines"]["atoms"]] == ["model", "hose"]
    assert [row["name"] for row in report["lines"]["certainty"]] == ["model", "hose"]
    assert report["assigned"] == str(folder / "data.h5")
    assert "the least certain left out" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--split", "tset"], 2, "'tset' is not a split: choose train, val, test"),
        (["--baseline", "meen"], 2, "Did you mean 'mean'?"),
        (["--draws", "1"], 2, "1 is not in the range x>=2"),
        (["-o", "report.pdf"], 2, "report.pdf: the report ends in .json or .md"),
        (["--assigned", "x.h5"], 1, "x.h5 does not exist"),
    ],
)
def test_wrong_choices_end_in_one_line(folder, arguments, code, message):
    assert message in evaluate(folder, *arguments, code=code).stderr


def test_a_data_set_of_another_nucleus(folder):
    error = evaluate(folder, data="p31.h5", code=1).stderr
    assert "31P" in error
    assert "13C" in error


def test_a_report_that_cannot_be_written_is_found_before_the_work(folder, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    # The model does not exist: that would be the error if the output were tried last.
    arguments = ["--model", tmp_path / "none", "--data", folder / "data.h5"]
    error = nmrtk("evaluate", *arguments, "-o", blocked / "report.json", code=1).stderr
    assert "report.json cannot be written" in error


def test_a_failure_leaves_no_report(folder, tmp_path):
    evaluate(folder, "--split", "tset", "-o", tmp_path / "report.json", code=2)
    assert list(tmp_path.iterdir()) == []


def test_without_any_model_the_choice_is_explained(folder, monkeypatch):
    monkeypatch.setattr("nmrtk.checkpoint.components", lambda kind: {})
    result = nmrtk("evaluate", "--data", folder / "data.h5", code=2)
    assert "no pretrained model is installed" in result.stderr
