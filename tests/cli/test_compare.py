"""The real command, on the compounds that ship with nmrtk."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from importlib import resources

import pytest
from click.testing import CliRunner

from nmrtk.cli.main import cli

RECIPE = """
encoder = {name = "mpnn", hidden_dim = 16, layers = LAYERS}
backbone = {name = "irevnet-flat", depth = 2, hidden_dim = 16}
training = {epochs = EPOCHS, batch_size = 16, patience = 99}
"""
ONE = RECIPE.replace("LAYERS", "2").replace("EPOCHS", "12")
TWO = RECIPE.replace("LAYERS", "1").replace("EPOCHS", "2")


def arguments(place, *more, recipes=("one", "two")):
    files = [str(place / f"{name}.toml") for name in recipes]
    options = ["--data", place / "data.h5", "-o", place / "out", "--seeds", "1", "--threads", "1"]
    return ["compare", *files, *map(str, options), *more]


def started(place, *more, **options):
    """The command, running."""
    command = [sys.executable, "-m", "nmrtk", *arguments(place, *more, **options)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )


def finished(place, *more, code=0, **options):
    """The command's output and messages, after it has run."""
    with started(place, *more, **options) as process:
        out, err = process.communicate()
    assert process.returncode == code, out + err
    return out, err


def refused(place, *more, **options):
    """The message of the command that stops before any work."""
    result = CliRunner().invoke(cli, arguments(place, *more, **options))
    assert result.exit_code == 2, result.output
    return result.stderr


def rows(place):
    with (place / "out" / "runs.csv").open(encoding="utf-8") as file:
        return {row["recipe"]: row for row in csv.DictReader(file)}


def run_of(place, name):
    return place / "out" / "runs" / name / "seed-0"


def metrics(place):
    return (run_of(place, "one") / "metrics.csv").read_text().splitlines()


def kill_once_an_epoch_is_saved(place):
    with started(place) as process:
        while process.poll() is None and not (run_of(place, "one") / "last.safetensors").exists():
            time.sleep(0.02)
        process.kill()
        # Ends when the process of the training has ended too, which nobody told to.
        process.stderr.read()


def stop_in_the_second(place):
    with started(place) as process:
        for line in process.stderr:
            if line.startswith("two, seed 0: begins"):
                process.send_signal(signal.SIGTERM)
                break
        process.communicate()
    return process.returncode


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "data.h5"
    table = str(resources.files("nmrtk") / "data" / "everyday_13c.csv")
    result = CliRunner().invoke(cli, ["data", "import", table, "-o", str(path)])
    assert result.exit_code == 0, result.output
    return path


def prepared(place, data):
    shutil.copy(data, place / "data.h5")
    (place / "one.toml").write_text(ONE)
    (place / "two.toml").write_text(TWO)
    return place


@pytest.fixture
def place(tmp_path, data):
    return prepared(tmp_path, data)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory, data):
    """A comparison that was killed, then asked to stop, then went on to its end."""
    place = prepared(tmp_path_factory.mktemp("interrupted"), data)
    kill_once_an_epoch_is_saved(place)
    first = metrics(place)
    finished_then = (run_of(place, "one") / "cost.json").exists()
    code = stop_in_the_second(place)
    out, err = finished(place)
    return place, first, finished_then, code, out, err


@pytest.fixture
def compared(interrupted, tmp_path):
    """A copy of its folder, to spoil."""
    shutil.copytree(interrupted[0], tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_killed_training_goes_on_where_its_state_stood(interrupted):
    place, first, finished_then, *_ = interrupted
    assert not finished_then
    # With the seconds that the epochs took before.
    assert metrics(place)[: len(first)] == first
    assert len(metrics(place)) == 1 + 12


def test_a_stopped_comparison_does_only_what_is_left(interrupted):
    *_, code, out, err = interrupted
    assert code == 130
    assert "one, seed 0" not in err
    assert "two, seed 0: done" in err
    assert "difference from one" in out


def test_results_are_a_page_a_table_and_a_picture(interrupted):
    place, *_, out, _ = interrupted
    folder = place / "out"
    assert (folder / "report.md").read_text(encoding="utf-8") == out
    assert all(float(row["mae_ppm"]) > 0 for row in rows(place).values())
    assert all(float(row["cpu_seconds"]) > 0 for row in rows(place).values())
    assert int(rows(place)["one"]["parameters"]) > int(rows(place)["two"]["parameters"])
    picture = (folder / "comparison.svg").read_text(encoding="utf-8")
    assert "<svg" in picture
    assert (folder / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_notes_say_what_differs_and_what_to_beware_of(interrupted):
    out = interrupted[4]
    assert "- two beside one: encoder.layers 2 → 1, training.epochs 12 → 2." in out
    assert "- With one seed the spread over seeds is unknown" in out
    assert "- On test: whoever now chooses" in out
    assert "- Trained with nmrtk " in out


def test_a_damaged_measurement_is_made_again_without_training(compared):
    before, cost = rows(compared), (run_of(compared, "one") / "cost.json").read_bytes()
    measured = run_of(compared, "one") / "measured-test.safetensors"
    measured.write_bytes(measured.read_bytes()[:-8])
    _, err = finished(compared)
    assert "one, seed 0: done" in err
    assert "two, seed 0" not in err
    assert (run_of(compared, "one") / "cost.json").read_bytes() == cost
    assert rows(compared)["one"]["mae_ppm"] == before["one"]["mae_ppm"]


def test_a_training_that_fails_leaves_the_others(compared):
    (compared / "wild.toml").write_text(TWO.replace("patience", "learning_rate = 1e30, patience"))
    out, err = finished(compared, recipes=("one", "wild", "two"), code=1)
    assert "wild, seed 0: failed: the loss is" in err
    assert "- wild, seed 0 failed: the loss is" in out
    assert list(rows(compared)) == ["one", "two"]


def test_another_data_set_is_refused(compared):
    import h5py

    with h5py.File(compared / "data.h5", "a") as file:
        file.attrs["note"] = "another"
    assert "on another data set" in refused(compared)
    # Neither is a model from elsewhere in a folder of its own data set.
    claim = compared / "out" / "comparison.json"
    document = json.loads(claim.read_text())
    from nmrtk.run_folder import DataReference

    document["data"]["sha256"] = DataReference.of(compared / "data.h5").sha256
    claim.write_text(json.dumps(document))
    message = refused(compared)
    assert "model.safetensors was trained on another data set" in message
    assert f"remove {run_of(compared, 'one')}" in message


def test_a_changed_recipe_is_refused(compared):
    (compared / "two.toml").write_text(TWO.replace("layers = 1", "layers = 3"))
    assert "encoder.layers was 1 and is 3" in refused(compared)


def test_a_model_of_another_recipe_is_refused(compared):
    shutil.copy(run_of(compared, "two") / "model.safetensors", run_of(compared, "one"))
    assert "model.safetensors was trained by another recipe" in refused(compared)


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
    assert message in refused(place)
    assert not (place / "out").exists()


def test_molecules_that_a_model_learned_from_compare_nothing(place):
    assert "'train' is no split to compare on: choose val or test" in refused(
        place, "--split", "train"
    )


def test_two_recipes_of_one_name_are_refused(place):
    (place / "sub").mkdir()
    (place / "sub" / "one.toml").write_text(TWO)
    assert "both called 'one'" in refused(place, recipes=("one", "sub/one"))
