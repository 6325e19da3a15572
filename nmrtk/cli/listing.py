"""`nmrtk list` and `nmrtk plugins`: what is installed, and whether it works."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from nmrtk.component import Component


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--options", "with_options", is_flag=True, help="Show the options of each component.")
def list_components(as_json: bool, with_options: bool) -> None:
    """List the installed components of every kind."""
    from nmrtk.plugins import KINDS, registry

    found = {kind: registry().components(kind) for kind in KINDS}
    if as_json:
        rows = [
            {"kind": KINDS[kind], "name": c.name, "summary": c.summary, "target": c.target}
            for kind, named in found.items()
            for c in named.values()
        ]
        click.echo(json.dumps(rows, indent=1))
    else:
        width = max((len(name) for named in found.values() for name in named), default=0)
        for kind, named in found.items():
            click.echo(f"{KINDS[kind]}s")
            for name, component in named.items():
                click.echo(f"  {name:<{width}}  {component.summary}")
                if with_options:
                    _echo_options(component, " " * (width + 4))
            if not named:
                click.echo("  (none installed)")
    broken = [health for health in registry().health if not health.healthy]
    for health in broken:
        click.echo(
            f"Warning: {health.distribution} {health.version} {health.problems[0]}"
            " (nmrtk plugins shows more)",
            err=True,
        )


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plugins(as_json: bool) -> None:
    """Show every plugin distribution and its health."""
    from nmrtk.plugins import KINDS, registry

    reports = registry().health
    if as_json:
        click.echo(json.dumps([health.as_dict() for health in reports], indent=1))
        return
    for health in reports:
        state = "ok" if health.healthy else "BROKEN"
        click.echo(f"{health.distribution} {health.version} [{health.name}] {state}")
        for kind, offered in health.components.items():
            click.echo(f"  {KINDS[kind]}: {', '.join(c.name for c in offered)}")
        for problem in health.problems:
            click.echo(f"  problem: {problem}")
    if not reports:
        click.echo("No plugin is installed: try `pip install nmrtk[all]`.")


def _echo_options(component: Component, indent: str) -> None:
    from nmrtk.errors import PluginError
    from nmrtk.options import options_of

    try:
        options = options_of(component.load())
    except PluginError as error:
        click.echo(f"Warning: {error}", err=True)
        return
    for option in options.values():
        click.echo(f"{indent}{option.name}: {option.type_text} = {option.default!r}")
