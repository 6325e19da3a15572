"""The core knows no nucleus, element or plugin by name, but for defaults that are named as such."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rdkit import Chem

import nmrtk
from nmrtk.plugins import KINDS, components

CORE = Path(nmrtk.__file__).parent
MODULES = sorted(CORE.rglob("*.py"))

NUCLEUS = re.compile(r"\d{1,3}[A-Z][a-z]?")
DISTRIBUTION = re.compile(r"\bnmrtk-[a-z]+")
DEFAULT = re.compile(r"_?DEFAULT_\w+|_\w*_DEFAULT")
CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]*")

# Names of components that are also words or file formats, which the core needs.
WORDS = {"csv", "decode", "library", "linear", "mean", "nearest"}
# Letters that mean something else: multiplicities.
LETTERS = {"S"}


def texts(tree: ast.AST, constant: str = "") -> Iterator[tuple[str, str, int]]:
    """Every text of a module that is no docstring: with the constant of the module that it is part
    of, an empty text elsewhere, and its line.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, constant, node.lineno
        name = constant
        if isinstance(tree, ast.Module) and isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            names = [n.id for n in ast.walk(target) if isinstance(n, ast.Name)]
            name = names[0] if names and CONSTANT.fullmatch(names[0]) else ""
        yield from texts(node, name)


def problems(source: str, names: set[str], elements: set[str]) -> list[str]:
    """What a module names that it must not know."""
    found = []
    for text, constant, line in texts(ast.parse(source)):
        if DEFAULT.fullmatch(constant):
            continue
        if NUCLEUS.fullmatch(text):
            found.append(f"{line}: the nucleus {text}")
        if text in names:
            found.append(f"{line}: the component {text}")
        if match := DISTRIBUTION.search(text):
            found.append(f"{line}: the distribution {match[0]}")
        # Tables of chemistry are constants; what functions do depends on no element.
        if text in elements and not constant:
            found.append(f"{line}: the element {text}")
    return found


@pytest.fixture(scope="module")
def names(plugins):
    return {name for kind in KINDS for name in components(kind)} - WORDS


@pytest.fixture(scope="module")
def elements():
    table = Chem.GetPeriodicTable()
    return {table.GetElementSymbol(number) for number in range(1, 119)} - LETTERS


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(CORE)))
def test_the_core_knows_no_names(module, names, elements):
    assert problems(module.read_text(encoding="utf-8"), names, elements) == []


def test_the_check_finds_what_it_looks_for(names, elements):
    source = '''
"""13C"""
DEFAULT_NUCLEUS = "13C"
VALENCES = {"C": 4}
OTHER = "31P"
def f(nucleus="1H"):
    """13C"""
    if nucleus.element == "P":
        raise ValueError("pip install nmrtk-formats")
    return build("encoders", "mpnn")
'''
    assert problems(source, {*names, "mpnn"}, elements) == [
        "5: the nucleus 31P",
        "6: the nucleus 1H",
        "8: the element P",
        "9: the distribution nmrtk-formats",
        "10: the component mpnn",
    ]
