"""The entry point `nmrtk`: finds the command, and turns errors into one clear line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

from nmrtk import __version__
from nmrtk.errors import NmrtkError, UsageError

COMMANDS = {
    "data": "nmrtk.cli.data:data",
    "train": "nmrtk.cli.train:train",
    "evaluate": "nmrtk.cli.evaluate:evaluate",
    "compare": "nmrtk.cli.compare:compare",
    "predict": "nmrtk.cli.predict:predict",
    "elucidate": "nmrtk.cli.elucidate:elucidate",
    "library": "nmrtk.cli.library:library",
    "list": "nmrtk.cli.listing:list_components",
    "plugins": "nmrtk.cli.listing:plugins",
    "new-plugin": "nmrtk.cli.new_plugin:new_plugin",
    "demo": "nmrtk.cli.demo:demo",
}

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class CommandGroup(click.Group):
    """Imports a command's module when it is needed, and reports errors in one line."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Names in the order of a user's work, not of the alphabet."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of that name."""
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[name]} is not a command")
        return command

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """Run, and end with the exit codes of the documentation: 0, 1 for a failure, 2 for a
        usage error, 130 after Ctrl-C.
        """
        try:
            return super().main(args, *rest, **options)
        except UsageError as error:
            _fail(str(error), EXIT_USAGE)
        except NmrtkError as error:
            _fail(str(error), EXIT_FAILURE)
        except OSError as error:
            # Where no part knew better: a full disk, a folder without permission.
            place = f"{error.filename}: " if error.filename else ""
            _fail(f"{place}{error.strerror or error}", EXIT_FAILURE)

    def invoke(self, context: click.Context) -> Any:
        """Run the command; Ctrl-C ends it without a traceback."""
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            context.exit(EXIT_INTERRUPTED)


def _fail(message: str, code: int) -> None:
    click.echo(f"Error: {message}", err=True)
    sys.exit(code)


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nmrtk")
def cli() -> None:
    """Molecular structures to NMR spectra and back, with one reversible network."""


if __name__ == "__main__":
    cli()
