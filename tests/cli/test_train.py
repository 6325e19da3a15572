"""The real command, on the compounds that ship with nmrtk."""

import csv
import signal
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

pytest.importorskip("dgl", reason="the default encoder needs DGL")

SMALL = ["-E", "hidden_dim=16", "-E", "layers=2", "-B", "depth=2", "-B", "hidden_dim=16"]


def nmrtk(*arguments, code=0):
    command = [sys.executable, "-m", "nmrtk", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == code, result.stdout + result.stderr
    return result


def metrics(run: Path, *, without=("seconds", "cpu_seconds")):
    with (run / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if k not in without} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "everyday.h5"
    table = resources.files("nmrtk") / "data" / "everyday_13c.csv"
    nmrtk("data", "import", table, "-o", path)
    return path


def train(data, run, *more, code=0):
    threads = ["--threads", "1", "--accelerator", "cpu"]
    return nmrtk("train", "--data", data, "-o", run, *SMALL, *threads, *more, code=code)


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "whole"
    train(data, run, "--epochs", "4", "--set", "training.batch_size=16")
    return run


def test_learns_and_leaves_what_it_says(uninterrupted):
    rows = metrics(uninterrupted)
    assert len(rows) == 4
    assert float(rows[-1]["val_loss"]) < float(rows[0]["val_loss"])
    assert (uninterrupted / "model.safetensors").is_file()
    assert "dgl-gin" in (uninterrupted / "recipe.toml").read_text()


def test_interrupted_training_resumes_with_the_same_numbers(data, uninterrupted, tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "nmrtk", "train", "--data", str(data), "-o", str(run)]
    command += [*SMALL, "--threads", "1", "--accelerator", "cpu", "--epochs", "4"]
    command += ["--set", "training.batch_size=16"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith("epoch   1"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    assert "--resume" in rest
    assert len(metrics(run)) < 4
    nmrtk("train", "--resume", run, "--threads", "1", "--accelerator", "cpu")
    assert metrics(run) == metrics(uninterrupted)


def test_killed_training_resumes_with_the_same_numbers(data, uninterrupted, tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "nmrtk", "train", "--data", str(data), "-o", str(run)]
    command += [*SMALL, "--threads", "1", "--accelerator", "cpu", "--epochs", "4"]
    command += ["--set", "training.batch_size=16"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith("epoch   2"):
                process.kill()
                break
    nmrtk("train", "--resume", run, "--threads", "1", "--accelerator", "cpu")
    assert metrics(run) == metrics(uninterrupted)


def test_two_processes_give_the_same_curve(data, uninterrupted, tmp_path):
    train(data, tmp_path / "run", "--epochs", "4", "--set", "training.batch_size=16",
          "--devices", "2")  # fmt: skip
    for one, two in zip(metrics(uninterrupted), metrics(tmp_path / "run"), strict=True):
        for name, value in one.items():
            assert float(two[name]) == pytest.approx(float(value), rel=2e-3, abs=2e-3), name


def test_a_folder_with_a_training_is_not_overwritten(data, uninterrupted):
    result = train(data, uninterrupted, code=2)
    assert "--resume" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--encoder", "dgl-gim"], "Did you mean 'dgl-gin'?"),
        (["-E", "hiden_dim=3"], "Did you mean 'hidden_dim'?"),
        (["-E", "hidden_dim=wide"], "hidden_dim='wide' must be int"),
        (["--set", "training.epoch=3"], "training.epoch is unknown"),
        (["--set", "loss.generation=1"], "has no generation penalty"),
        (["--nucleus", "carbon"], "is not a nucleus"),
    ],
)
def test_wrong_choices_are_named(data, tmp_path, arguments, message):
    result = train(data, tmp_path / "run", *arguments, code=2)
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_another_nucleus_than_that_of_the_data_names_both(data, tmp_path):
    result = train(data, tmp_path / "run", "--nucleus", "31P", code=1)
    assert f"{data} holds 13C spectra, but 31P is needed" in result.stderr


def test_a_start_for_another_nucleus_names_both(data, uninterrupted, tmp_path):
    more = ["--nucleus", "31P", "--start", uninterrupted]
    result = train(data, tmp_path / "run", *more, code=2)
    assert f"the model {uninterrupted} is for 13C, but 31P is to be learned" in result.stderr


def test_resume_refuses_another_data_set(data, uninterrupted, tmp_path):
    other = tmp_path / "other.h5"
    other.write_bytes(data.read_bytes() + b"\0")
    result = nmrtk("train", "--resume", uninterrupted, "--data", other, code=1)
    assert "is not the data set" in result.stderr


def test_damaged_state_is_said(uninterrupted, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    whole = (uninterrupted / "last.safetensors").read_bytes()
    (run / "last.safetensors").write_bytes(whole[: len(whole) // 2])
    assert "damaged" in nmrtk("train", "--resume", run, code=1).stderr
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    (run / "last.safetensors").write_bytes(flipped)
    assert "checksum" in nmrtk("train", "--resume", run, code=1).stderr
