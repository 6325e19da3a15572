"""The pages made from the live commands and contracts are those of today."""

from __future__ import annotations

import importlib.util
import inspect

import click
import pytest

from nmrtk import hookspecs
from nmrtk.cli.main import cli
from nmrtk.plugins import KINDS


@pytest.fixture(scope="module")
def reference(repository):
    specification = importlib.util.spec_from_file_location(
        "make_reference", repository / "docs" / "make_reference.py"
    )
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["cli", "hooks"])
def test_the_page_has_not_drifted(reference, repository, page):
    written = (repository / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert written == getattr(reference, f"{page}_page")(), "run `make docs`"


def test_what_is_made_in_other_pages_has_not_drifted(reference):
    for path in reference.filled_pages():
        written = path.read_text(encoding="utf-8")
        assert written == reference.filled(written), f"run `make docs`: {path}"


def test_every_marker_of_what_is_made_is_understood(reference):
    for path in reference.filled_pages():
        text = path.read_text(encoding="utf-8")
        assert (
            len(reference.MADE.findall(text))
            == text.count("<!-- end -->")
            == text.count("<!-- ") / 2
        ), path


def test_the_example_is_what_new_plugin_writes(reference):
    wanted = reference.example_files()
    for path, text in wanted.items():
        assert path.read_text(encoding="utf-8") == text, f"run `make docs`: {path}"
    there = {path for path in reference.EXAMPLE.rglob("*") if path.is_file()}
    made = {path for path in there if "__pycache__" in path.parts}
    assert there - made == set(wanted)


def test_every_command_and_option_is_on_the_page(repository):
    page = (repository / "docs" / "cli.md").read_text(encoding="utf-8")
    sections = {part.split("\n", 1)[0]: part for part in page.split("\n## ")[1:]}

    def walk(command, path):
        text = sections[path]
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.opts[0] in text, (path, parameter.opts)
        if isinstance(command, click.Group):
            for name in command.list_commands(click.Context(command)):
                walk(command.get_command(click.Context(command), name), f"{path} {name}")

    walk(cli, "nmrtk")


def test_every_hook_is_on_the_page_with_signature_and_docstring(repository):
    page = (repository / "docs" / "hooks.md").read_text(encoding="utf-8")
    hooks = [
        name
        for name, value in inspect.getmembers(hookspecs, inspect.isfunction)
        if hasattr(value, "nmrtk_spec")
    ]
    assert sorted(hooks) == sorted(KINDS), "a hook that discovery does not know, or the reverse"
    for name in hooks:
        hook = getattr(hookspecs, name)
        signature = str(inspect.signature(hook)).replace("'", "")
        assert f"## {name}\n" in page
        assert f"def {name}{signature}:\n" in page
        assert inspect.getdoc(hook) in page


def test_every_hook_has_its_interface(reference):
    assert list(reference.INTERFACES) == list(KINDS)
    for hook, interface in reference.INTERFACES.items():
        named = f"`nmrtk.interfaces.{interface.__name__}`"
        assert named in inspect.getdoc(getattr(hookspecs, hook))
