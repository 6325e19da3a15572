"""`nmrtk new-plugin` writes packages that install and work."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from fresh_environment import FreshEnvironment

from nmrtk import interfaces, testing
from nmrtk.cli.main import cli
from nmrtk.new_plugin import STARTERS, plugin_files
from nmrtk.peaklist import parse_peaks

NAMES = {kind: f"my-{kind}" for kind in STARTERS}


def test_a_package_of_each_kind_installs_and_works(tmp_path, repository):
    """In an environment with nmrtk from its wheel and no other plugin."""
    environment = FreshEnvironment(tmp_path, repository)
    for kind, name in NAMES.items():
        environment.run("nmrtk", "new-plugin", name, "--kind", kind)
    environment.install(*sorted(environment.work.glob("nmrtk-my-*")))
    require_nothing_of_the_checkout(environment)
    require_all_healthy_and_listed(environment)
    require_their_tests_to_pass(environment)
    require_the_way_from_lines_to_candidates(environment, repository)


def require_nothing_of_the_checkout(environment):
    program = "import nmrtk, nmrtk_my_codec; print(nmrtk.__file__, nmrtk_my_codec.__file__)"
    for path in environment.run("python", "-c", program).split():
        assert Path(path).is_relative_to(environment.folder / "venv"), path


def require_all_healthy_and_listed(environment):
    reports = json.loads(environment.run("nmrtk", "plugins", "--json"))
    assert [(report["distribution"], report["problems"]) for report in reports] == [
        (f"nmrtk-{name}", []) for name in sorted(NAMES.values())
    ]
    listed = json.loads(environment.run("nmrtk", "list", "--json"))
    assert sorted((row["name"], row["summary"]) for row in listed) == sorted(
        (name, STARTERS[kind].summary) for kind, name in NAMES.items()
    )


def require_their_tests_to_pass(environment):
    folders = [f"nmrtk-{name}" for name in NAMES.values()]
    output = environment.run("python", *["-m", "pytest", "-q", "-W", "error"], *folders)
    assert f"{len(NAMES)} passed" in output


def require_the_way_from_lines_to_candidates(environment, repository):
    """A data set, a model, a report and candidates, of generated parts alone."""
    with (repository / "nmrtk" / "data" / "everyday_13c.csv").open(encoding="utf-8") as file:
        rows = [
            {
                "id": row["name"],
                "smiles": row["smiles"],
                "spectra": {"13C": parse_peaks(row["peaks"], "13C").shifts},
            }
            for row in csv.DictReader(file)
        ]
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    (environment.work / "spectra.jsonl").write_text(lines)
    parts = {kind: f"--{kind}={name}" for kind, name in NAMES.items()}
    model = [parts["encoder"], parts["codec"], parts["backbone"]]
    for command, *more in (
        ["data import spectra.jsonl -o data.h5"],
        ["train --data data.h5 --epochs 2 -o run", *model],
        ["evaluate --model run --data data.h5 --draws 4 -o report.json", parts["baseline"]],
        ["elucidate 57.8,18.1 --formula C2H6O --model run -o found.jsonl", parts["generator"]],
    ):
        environment.run("nmrtk", *command.split(), *more)
    assert NAMES["baseline"] in (environment.work / "report.json").read_text()
    (answer,) = map(json.loads, (environment.work / "found.jsonl").read_text().splitlines())
    assert {candidate["smiles"] for candidate in answer["candidates"]} == {"CCO", "COC"}


@pytest.mark.parametrize("kind", STARTERS)
def test_the_files_of_a_kind(kind):
    starter = STARTERS[kind]
    files = plugin_files("two-words", kind)
    assert set(files) == {
        "pyproject.toml",
        "README.md",
        "nmrtk_two_words/__init__.py",
        f"nmrtk_two_words/{kind}.py",
        f"tests/test_{kind}.py",
        ".github/workflows/test.yml",
    }
    assert f"class {starter.class_name}(" in files[f"nmrtk_two_words/{kind}.py"]
    (check,) = (name for name in testing.__all__ if f"{name}(" in files[f"tests/test_{kind}.py"])
    interface = "".join(word.title() for word in check.removeprefix("check_").split("_"))
    assert hasattr(interfaces, interface)
    assert f"({interface}):" in files[f"nmrtk_two_words/{kind}.py"]


def test_the_command_says_what_to_do_next(tmp_path):
    result = CliRunner().invoke(cli, ["new-plugin", "nmrtk-first-try", "-o", str(tmp_path)])
    folder = tmp_path / "nmrtk-first-try"
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"Made {folder}, which offers the encoder 'first-try'.",
        f"  pip install --editable '{folder}[test]'",
        "  nmrtk plugins",
        f"  pytest '{folder}'",
    ]
    assert (folder / "nmrtk_first_try" / "encoder.py").is_file()


@pytest.fixture
def make(site_packages):
    """Makes a plugin where nmrtk-taken is installed, and gives the last line of any error."""
    site_packages.add(
        "nmrtk-taken",
        {"entry": "taken"},
        {
            "taken.py": "from nmrtk import Component, hookimpl\n"
            "@hookimpl\n"
            "def spectrum_codecs():\n"
            "    return [Component('offered', 'taken:None', 'not this one')]\n"
        },
        "2.5",
    )

    def make(name: str, kind: str, parent: Path) -> str:
        program = (
            "import sys, pathlib\n"
            "from nmrtk.new_plugin import make_plugin\n"
            "make_plugin(sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]))\n"
        )
        completed = site_packages.run("-c", program, name, kind, str(parent), NMRTK_PLUGINS="entry")
        return "".join(completed.stderr.splitlines()[-1:])

    return make


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("Mine", "codec", "'Mine' cannot name a plugin: write lower-case words"),
        ("two--words", "codec", "'two--words' cannot name"),
        ("my_codec", "codec", "joined by hyphens"),
        ("../up", "codec", "'../up' cannot name"),
        ("nmrtk-", "codec", "such as atom-sums"),
        ("", "codec", "'' cannot name"),
        ("x" * 61, "codec", "at most 60 characters"),
        ("mine", "model", "no kind of plugin is called 'model': choose from encoder, codec"),
        ("taken", "codec", "nmrtk-taken 2.5 is installed already"),
        ("entry", "codec", "the name 'entry' is taken by nmrtk-taken 2.5"),
        ("offered", "codec", "the codec 'offered' is taken by nmrtk-taken 2.5"),
        ("there", "codec", "there exists already: choose another name"),
    ],
)
def test_what_cannot_be_made_is_said_and_nothing_is_written(make, tmp_path, name, kind, message):
    (tmp_path / "parent" / "nmrtk-there").mkdir(parents=True)
    error = make(name, kind, tmp_path / "parent")
    assert error.startswith("nmrtk.errors.UsageError: ")
    assert message in error
    assert [path.name for path in (tmp_path / "parent").rglob("*")] == ["nmrtk-there"]


def test_components_of_two_kinds_may_have_one_name(make, tmp_path):
    assert make("offered", "encoder", tmp_path) == ""
    assert (tmp_path / "nmrtk-offered" / "nmrtk_offered" / "encoder.py").is_file()
