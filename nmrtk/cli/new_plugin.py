"""`nmrtk new-plugin`: a package to start a plugin with."""

from __future__ import annotations

from pathlib import Path

import click

from nmrtk.new_plugin import DEFAULT_KIND, STARTERS


@click.command("new-plugin")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(list(STARTERS)),
    default=DEFAULT_KIND,
    show_default=True,
    help="What it offers.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="Folder to make the package in.  [default: this one]",
)
def new_plugin(name: str, kind: str, output: Path) -> None:
    """Write a package with a component NAME that works, its contract test, a README and CI.

    The package is called nmrtk-NAME. Install it, see it in `nmrtk list`, and put your own into its
    class.
    """
    from nmrtk.new_plugin import make_plugin

    folder = make_plugin(name, kind, output)
    click.echo(f"Made {folder}, which offers the {kind} {folder.name.removeprefix('nmrtk-')!r}.")
    click.echo(f"  pip install --editable '{folder}[test]'")
    click.echo("  nmrtk plugins")
    click.echo(f"  pytest '{folder}'")
