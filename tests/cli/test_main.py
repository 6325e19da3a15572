"""The entry point: help, exit codes, one line for an error."""

from __future__ import annotations

import errno
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from nmrtk.cli.main import COMMANDS, CommandGroup, cli
from nmrtk.errors import CheckpointError, ConfigurationError, DataError, PluginError, UsageError

RUNNER = CliRunner()


def group_that_raises(error: BaseException) -> click.Group:
    command = click.Command("go", callback=lambda: (_ for _ in ()).throw(error))
    group = CommandGroup("nmrtk")
    group.get_command = lambda context, name: command
    return group


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("no encoder is called 'x'"), 2),
        (ConfigurationError("widths differ"), 2),
        (DataError("a.h5 is empty"), 1),
        (CheckpointError("damaged"), 1),
        (PluginError("two of one name"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_are_one_line_with_the_documented_exit_code(error, code):
    result = RUNNER.invoke(group_that_raises(error), ["go"])
    assert result.stderr == f"Error: {error}\n"
    assert result.stdout == ""
    assert result.exit_code == code


def test_a_full_disk_is_one_line():
    error = OSError(errno.ENOSPC, "No space left on device", "out.h5")
    result = RUNNER.invoke(group_that_raises(error), ["go"])
    assert result.stderr == "Error: out.h5: No space left on device\n"
    assert result.exit_code == 1


def test_ctrl_c_ends_with_130_and_no_traceback():
    result = RUNNER.invoke(group_that_raises(KeyboardInterrupt()), ["go"])
    assert result.stderr == "Interrupted.\n"
    assert result.exit_code == 130


def test_a_fault_of_the_program_is_not_hidden():
    result = RUNNER.invoke(group_that_raises(ZeroDivisionError("x")), ["go"])
    assert isinstance(result.exception, ZeroDivisionError)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["elucidat"], "No such command 'elucidat'"),
        (["list", "--no-such"], "No such option"),
        (["--no-such"], "No such option"),
    ],
)
def test_usage_errors_end_with_2(arguments, expected):
    result = RUNNER.invoke(cli, arguments)
    assert expected in result.stderr
    assert result.exit_code == 2


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_shows_every_command_in_order(flag):
    result = RUNNER.invoke(cli, [flag])
    assert result.exit_code == 0
    shown = [line.split()[0] for line in result.stdout.partition("Commands:\n")[2].splitlines()]
    assert shown == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_a_summary(name):
    result = RUNNER.invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.get_short_help_str(), "the command has no docstring"


def test_the_reader_of_the_output_may_leave_early():
    completed = subprocess.run(
        ["bash", "-c", '"$1" -m nmrtk list --json | true', "bash", sys.executable],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert completed.returncode == 0
    assert completed.stderr == ""


def test_list_shows_options_and_goes_on_after_a_class_that_does_not_import(site_packages):
    site_packages.add(
        "nmrtk-x",
        {"x": "x_plugin"},
        {
            "x_plugin.py": (
                "from nmrtk import Component, hookimpl\n@hookimpl\ndef readers():"
                " return [Component('x-format', 'x_reader:X', 'reads x')]"
            ),
            "x_reader.py": "class X:\n    def __init__(self, *, strict: bool = False): pass\n",
        },
    )
    site_packages.add(
        "nmrtk-y",
        {"y": "y_plugin"},
        {
            "y_plugin.py": (
                "from nmrtk import Component, hookimpl\n@hookimpl\ndef readers():"
                " return [Component('y-format', 'no_such_module:Y', 'reads y')]"
            )
        },
    )
    result = site_packages.nmrtk("list", "--options", NMRTK_PLUGINS="x,y")
    assert result.returncode == 0, result.stderr
    assert "strict: bool = False" in result.stdout
    assert "Warning: component 'y-format' cannot be loaded from no_such_module:Y" in result.stderr


def test_without_plugins_every_kind_is_shown_as_empty(site_packages):
    result = site_packages.nmrtk("list", NMRTK_PLUGINS="")
    assert result.stdout.count("(none installed)") == 7
    assert "No plugin is" in site_packages.nmrtk("plugins", NMRTK_PLUGINS="").stdout
