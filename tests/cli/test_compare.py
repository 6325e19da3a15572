"""The real command, on the compounds that ship with nmrtk."""

import json
import signal
import subprocess
import sys
from importlib import resources

import pytest

RECIPE = """
encoder = {name = "mpnn", hidden_dim = 16, layers = LAYERS}
backbone = {name = "irevnet-flat", depth = 2, hidden_dim = 16}
training = {epochs = 2, batch_size = 16}
"""


def nmrtk(*arguments, code=0):
    command = [sys.executable, "-m", "nmrtk", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == code, result.stdout + result.stderr
    return result


@pytest.fixture
def place(tmp_path):
    table = resources.files("nmrtk") / "data" / "everyday_13c.csv"
    nmrtk("data", "import", table, "-o", tmp_path / "data.h5")
    for name, layers in (("one", "2"), ("two", "1")):
        (tmp_path / f"{name}.toml").write_text(RECIPE.replace("LAYERS", layers))
    return tmp_path


def arguments(place, *more):
    recipes = [place / "one.toml", place / "two.toml"]
    rest = ["--data", place / "data.h5", "-o", place / "out", "--seeds", "1", "--threads", "1"]
    return ["compare", *recipes, *rest, *more]


def test_killed_comparison_goes_on_and_a_changed_recipe_is_refused(place):
    command = [sys.executable, "-m", "nmrtk", *map(str, arguments(place))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith("two, seed 0"):
                process.send_signal(signal.SIGTERM)
                break
        process.stderr.read()
    assert process.returncode == 130
    again = nmrtk(*arguments(place))
    assert "one, seed 0" not in again.stderr
    assert "two, seed 0: done" in again.stderr
    runs = [json.loads(row) for row in (place / "out" / "runs.jsonl").read_text().splitlines()]
    assert [(row["recipe"], row["seed"]) for row in runs] == [("one", 0), ("two", 0)]
    assert all(row["mae_ppm"] > 0 and row["cpu_seconds"] > 0 for row in runs)
    assert "difference from one" in (place / "out" / "report.md").read_text()
    (place / "two.toml").write_text(RECIPE.replace("LAYERS", "3"))
    refused = nmrtk(*arguments(place), code=2)
    assert "encoder.layers was 1 and is 3" in refused.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("encoder = {name = 'mpn'}", "Did you mean 'mpnn'?"),
        ("encoder = ", "is not TOML"),
        ("nucleus = '31P'", "two"),
        ("split = {kind = 'random'}", "split.kind is"),
    ],
)
def test_errors_come_before_any_training(place, text, message):
    (place / "two.toml").write_text(text)
    result = nmrtk(*arguments(place), code=2)
    assert message in result.stderr
    assert not (place / "out").exists()


def test_two_recipes_of_one_name_are_refused(place):
    (place / "sub").mkdir()
    (place / "sub" / "one.toml").write_text(RECIPE.replace("LAYERS", "1"))
    result = nmrtk("compare", place / "sub" / "one.toml", *arguments(place)[1:], code=2)
    assert "both called 'one'" in result.stderr
