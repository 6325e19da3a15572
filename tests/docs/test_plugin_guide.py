"""The plugin of docs/plugins.md installs and works exactly as it stands there."""

from __future__ import annotations

import json
import re
import sys

import pytest

from nmrtk import interfaces, testing
from nmrtk.plugins import KINDS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = re.compile(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def guide(repository):
    return (repository / "docs" / "plugins.md").read_text(encoding="utf-8")


@pytest.fixture
def installed(guide, site_packages):
    """The files of the guide, laid down as pip would."""
    files = dict(FILE.findall(guide))
    project = tomllib.loads(files.pop("pyproject.toml"))["project"]
    assert set(files) == {
        "nmrtk_coupling/__init__.py",
        "nmrtk_coupling/backbone.py",
        "tests/test_backbone.py",
    }
    entry_points = project["entry-points"]["nmrtk"]
    site_packages.add(project["name"], entry_points, files, project["version"])
    return site_packages


def test_it_is_healthy_and_listed_with_its_options(installed):
    settings = {"NMRTK_PLUGINS": "coupling", "NMRTK_STRICT_PLUGINS": "1"}
    (report,) = json.loads(installed.nmrtk("plugins", "--json", **settings).stdout)
    assert (report["distribution"], report["version"]) == ("nmrtk-coupling", "0.1.0")
    assert report["components"] == {"invertible_backbones": ["coupling"]}
    shown = installed.nmrtk("list", "--options", **settings)
    assert "one pair of additive couplings" in shown.stdout
    assert "hidden: int = 64" in shown.stdout


def test_its_own_test_passes(installed):
    completed = installed.run(
        *("-m", "pytest", "-q", "-W", "error", "--import-mode=importlib", "-p", "no:cacheprovider"),
        *("--rootdir", str(installed.folder), str(installed.folder / "tests")),
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert "1 passed" in completed.stdout


def test_its_options_are_checked(installed):
    program = (
        "from nmrtk.plugins import build\n"
        "from nmrtk.errors import UsageError\n"
        "print(build('invertible_backbones', 'coupling', {'hidden': 8}, 6, 2, 0).f[0])\n"
        "for width, options in ((6, {'hiden': 8}), (6, {'hidden': 0}), (5, {})):\n"
        "    try:\n"
        "        build('invertible_backbones', 'coupling', options, width, 2, 0)\n"
        "    except UsageError as error:\n"
        "        print(error)\n"
    )
    lines = installed.run("-c", program).stdout.splitlines()
    assert lines == [
        "Linear(in_features=3, out_features=8, bias=True)",
        "coupling has no option 'hiden'. Did you mean 'hidden'? Options: hidden",
        "coupling: hidden=0 must be at least 1",
        "coupling needs an even number of features, not 5",
    ]


def test_the_table_of_kinds_is_complete(guide):
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| [^|]+ \| `(\w+)` \|$", guide, re.MULTILINE)
    assert [hook for hook, _, _ in rows] == list(KINDS)
    for _, interface, check in rows:
        assert hasattr(interfaces, interface)
        assert check in testing.__all__
    checks = {name for name in testing.__all__ if name.startswith("check_")}
    assert checks == {check for _, _, check in rows}
