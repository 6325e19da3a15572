"""The commands in the pages are real: all of them parse, those of the tutorial run."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from nmrtk.cli.main import cli

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *(*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")),
        *(*ROOT.glob("plugins/*/README.md"), *ROOT.glob("examples/*/README.md")),
    ]
)
BLOCK = re.compile(r"^```(?:console|sh|bash)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SEED_DATA = "seed-hydrocarbons.csv.gz"
EPOCHS = re.compile(r"--epochs \d+")


def commands(page: Path) -> list[str]:
    """Every command of a page, without the prompt."""
    text = page.read_text(encoding="utf-8")
    lines = [line.removeprefix("$ ") for block in BLOCK.findall(text) for line in block.split("\n")]
    return [line for line in lines if line.startswith(("nmrtk ", "printf ", "cp "))]


def parse(arguments: list[str]) -> None:
    """Read a command line without running it.

    Raises:
        click.UsageError: it is wrong.
    """
    context = click.Context(cli, info_name="nmrtk", **cli.context_settings)
    while isinstance(context.command, click.Group):
        name, *arguments = arguments
        command = context.command.get_command(context, name)
        assert command is not None, f"{context.command_path} has no command {name}"
        if not isinstance(command, click.Group):
            command.make_context(name, arguments, parent=context)
            return
        context = click.Context(command, info_name=name, parent=context)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_line_parses(page, monkeypatch):
    # What must exist when the command runs need not exist to read its line.
    monkeypatch.setattr(click.Path, "convert", lambda self, value, *rest: value)
    for line in commands(page):
        if line.startswith("nmrtk "):
            parse(shlex.split(line, comments=True)[1:])


@pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="the tutorial trains dgl-gin: no DGL on this Python"
)
def test_the_tutorial_runs(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "nmrtk" / "data", tmp_path / "nmrtk" / "data")
    monkeypatch.chdir(tmp_path)
    for line in commands(ROOT / "docs" / "tutorial.md"):
        if SEED_DATA in line:
            break
        if not line.startswith("nmrtk "):
            subprocess.run(line, shell=True, check=True)
            continue
        # As it stands, but for the time that it takes; later recipes take over the shorter one.
        arguments = shlex.split(EPOCHS.sub("--epochs 1", line))[1:]
        if arguments[0] == "evaluate":
            arguments += ["--draws", "4"]
        result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert result.exit_code == 0, (line, result.stderr)
    rows = [json.loads(row) for row in Path("predicted.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["ethanol", "acetone", "nonsense"]
    assert [len(row.get("peaks", [])) for row in rows] == [2, 3, 0]
    assert "'xyz' is not a SMILES" in rows[2]["error"]
    (answer,) = (json.loads(row) for row in Path("candidates.jsonl").read_text().splitlines())
    assert {candidate["smiles"] for candidate in answer["candidates"]} <= {"CCO", "COC"}
    total = sum(candidate["probability"] for candidate in answer["candidates"])
    assert total + answer["none_of_these"] == pytest.approx(1, abs=1e-4)
    assert Path("everyday.skipped.csv").read_text().startswith("source,position,id")
