"""The distributions of this repository say what they need and where they belong."""

from __future__ import annotations

import re
import sys

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# For authors of plugins, not for users.
NOT_FOR_ALL = {"nmrtk-example"}


@pytest.fixture
def projects(repository):
    """The table `project` of every distribution, the core's first."""
    paths = [repository / "pyproject.toml", *sorted(repository.glob("plugins/*/pyproject.toml"))]
    return [tomllib.loads(path.read_text(encoding="utf-8"))["project"] for path in paths]


def name_of(requirement: str) -> str:
    return re.split(r"[^\w-]", requirement, maxsplit=1)[0]


def test_the_extra_all_names_every_plugin(projects):
    core, *plugins = projects
    extra = [name_of(requirement) for requirement in core["optional-dependencies"]["all"]]
    names = {plugin["name"] for plugin in plugins}
    assert names > NOT_FOR_ALL
    assert sorted(extra) == sorted({"nmrtk"} | names - NOT_FOR_ALL)


def test_every_plugin_requires_the_core(projects):
    for plugin in projects[1:]:
        assert "nmrtk" in map(name_of, plugin["dependencies"]), plugin["name"]


def test_folder_package_and_entry_point_of_a_plugin_have_its_name(projects, repository):
    for plugin in projects[1:]:
        name = plugin["name"]
        package = name.replace("-", "_")
        assert (repository / "plugins" / name / package / "__init__.py").is_file()
        assert plugin["entry-points"]["nmrtk"] == {name.removeprefix("nmrtk-"): package}
