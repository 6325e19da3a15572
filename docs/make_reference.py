"""Write docs/cli.md from the live commands, and docs/hooks.md from the sources of the contracts."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

import click

from nmrtk import hookspecs, interfaces, inversion, plugins, query
from nmrtk.cli.main import cli

DOCS = Path(__file__).parent
WIDTH = 92

INTERFACES = {
    "structure_encoders": interfaces.StructureEncoder,
    "spectrum_codecs": interfaces.SpectrumCodec,
    "invertible_backbones": interfaces.InvertibleBackbone,
    "candidate_generators": interfaces.CandidateGenerator,
    "baselines": interfaces.Baseline,
    "readers": interfaces.Reader,
    "pretrained_models": interfaces.PretrainedModel,
}
VALUES = (
    interfaces.Example,
    interfaces.AtomLines,
    interfaces.Encoded,
    interfaces.Record,
    interfaces.BadRecord,
    query.Query,
    inversion.Inversion,
)

CLI_HEAD = """\
# Command line

Made from the commands by `make docs`; a test fails when this page and the commands differ.

Exit codes: 0 for success, 1 where nothing could be done (or anything failed under `--strict`),
2 for a usage error, 130 after Ctrl-C. `-` is standard input. A row that cannot be used becomes a
row with an `error`; the others go on. The rows themselves are in [formats.md](formats.md).
"""

HOOKS_HEAD = """\
# Hooks and contracts

Made from `nmrtk/hookspecs.py`, `nmrtk/interfaces.py`, `nmrtk/query.py` and `nmrtk/inversion.py` by
`make docs`; a test fails when this page and the sources differ. How to write a plugin is in
[plugins.md](plugins.md).

A hook returns a list of `nmrtk.Component(name, "module:Class", summary)`. The class implements
the interface below it. Letters of shapes: B molecules, A atoms that give a line, F features,
K code, N bins, C condition.
"""


def cli_page() -> str:
    """The command line reference."""
    sections = [CLI_HEAD]
    root = click.Context(cli, info_name="nmrtk", terminal_width=WIDTH, **cli.context_settings)
    for context in _contexts(cli, root):
        sections.append(
            f"## {context.command_path}\n\n```text\n{context.command.get_help(context)}\n```\n"
        )
    return "\n".join(sections)


def hooks_page() -> str:
    """The reference of hooks and interfaces."""
    sections = [HOOKS_HEAD]
    for hook, interface in INTERFACES.items():
        sections.append(
            f"## {hook}\n\nUsers call one of them *{plugins.KINDS[hook]}*.\n\n"
            f"```python\n{_contract(getattr(hookspecs, hook))}\n```\n\n"
            f"```python\n{_contract(interface)}\n```\n"
        )
    sections.append("## Values that pass between the parts\n")
    sections += [f"```python\n{_contract(value)}\n```\n" for value in VALUES]
    return "\n".join(sections)


def _contexts(command: click.Command, context: click.Context) -> Iterator[click.Context]:
    yield context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None:
                inner = click.Context(child, info_name=name, parent=context, terminal_width=WIDTH)
                yield from _contexts(child, inner)


def _contract(described: type | FunctionType) -> str:
    """The source of a class or function without its bodies and private parts."""
    (tree,) = ast.parse(inspect.getsource(described)).body
    if isinstance(tree, ast.ClassDef):
        tree.body = [node for node in tree.body if not _is_private(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            has_docstring = ast.get_docstring(node) is not None
            node.body = node.body[:1] if has_docstring else [ast.Expr(ast.Constant(...))]
    return ast.unparse(tree)


def _is_private(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.FunctionDef) and node.name.startswith("_") and node.name != "__init__"
    )


def main() -> None:
    """Write both pages."""
    (DOCS / "cli.md").write_text(cli_page(), encoding="utf-8")
    (DOCS / "hooks.md").write_text(hooks_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
