"""Write what is made from the sources: docs/cli.md, docs/hooks.md, the example plugin, and the
parts of the other pages that stand between `<!-- file: PATH -->` or the like and `<!-- end -->`.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

import click

from nmrtk import hookspecs, interfaces, inversion, plugins, query, testing
from nmrtk.cli.main import cli
from nmrtk.new_plugin import plugin_files

DOCS = Path(__file__).parent
ROOT = DOCS.parent
EXAMPLE = ROOT / "plugins" / "nmrtk-example"
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

# A part of a page that is made: its marker says from what.
MADE = re.compile(
    r"^<!-- (file|hook|interface|check): (\S+) -->\n.*?^<!-- end -->$", re.MULTILINE | re.DOTALL
)
LANGUAGES = {".py": "python", ".toml": "toml", ".yml": "yaml"}
CONTRACTS = {"hook": hookspecs, "interface": interfaces, "check": testing}

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


def filled(page: str) -> str:
    """A page with the parts that are made as they are today."""
    return MADE.sub(lambda part: _made(part[1], part[2]), page)


def filled_pages() -> list[Path]:
    """All pages that may have such parts."""
    return sorted(DOCS.rglob("*.md"))


def example_files() -> dict[Path, str]:
    """The files of `plugins/nmrtk-example`: what `nmrtk new-plugin` writes."""
    return {EXAMPLE / path: text for path, text in plugin_files("example", "backbone").items()}


def _made(what: str, name: str) -> str:
    if what == "file":
        language = LANGUAGES[Path(name).suffix]
        text = (ROOT / name).read_text(encoding="utf-8").rstrip()
    else:
        language = "python"
        text = _contract(getattr(CONTRACTS[what], name))
    return f"<!-- {what}: {name} -->\n```{language}\n{text}\n```\n<!-- end -->"


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
    source = inspect.getsource(described)
    lines = source.splitlines()
    (tree,) = ast.parse(source).body
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef):
            continue
        first, last = node.body[0], _end(node)
        if isinstance(tree, ast.ClassDef) and _is_private(node):
            kept = min([node.lineno, *(one.lineno for one in node.decorator_list)]) - 1
        elif ast.get_docstring(node):
            kept = _end(first)
        else:
            kept = first.lineno
            lines[kept - 1] = " " * first.col_offset + "..."
        lines[kept:last] = [""] * (last - kept)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip()


def _end(node: ast.stmt) -> int:
    """Number of its last line."""
    return node.end_lineno or node.lineno


def _is_private(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.FunctionDef) and node.name.startswith("_") and node.name != "__init__"
    )


def main() -> None:
    """Write all of it, the example first: pages quote it."""
    for path, text in example_files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (DOCS / "cli.md").write_text(cli_page(), encoding="utf-8")
    (DOCS / "hooks.md").write_text(hooks_page(), encoding="utf-8")
    for path in filled_pages():
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
