"""The page of each kind explains every way in which the contract check of the kind can fail."""

from __future__ import annotations

import ast
import importlib
import inspect
import re

import pytest

from nmrtk import testing
from nmrtk.plugins import KINDS

PAGES = {
    "structure_encoders": "encoder",
    "spectrum_codecs": "codec",
    "invertible_backbones": "backbone",
    "candidate_generators": "generator",
    "baselines": "baseline",
    "readers": "reader",
    "pretrained_models": "model",
}
ROW = re.compile(r"^\| `([^`]+)` \| \S[^|]* \|$", re.MULTILINE)
# What the checks of several kinds have in common, in nmrtk.testing.report.
SHARED = {"options": "constructor", "same_after_reload": "state_dict round trip"}


def test_every_kind_has_a_page():
    assert PAGES.keys() == KINDS.keys()


@pytest.mark.parametrize("hook", PAGES)
def test_every_failure_of_the_check_is_explained(hook, repository):
    page = (repository / "docs" / "kinds" / f"{PAGES[hook]}.md").read_text(encoding="utf-8")
    rows = ROW.findall(page.partition("## Where the check fails")[2])
    labels = properties(getattr(testing, f"check_{hook.removesuffix('s')}"))
    assert not [label for label in labels if not any(label.startswith(row) for row in rows)]
    assert not [row for row in rows if not any(label.startswith(row) for label in labels)]
    assert len(rows) == len(set(rows))


def properties(check) -> set[str]:
    """Names of what a check looks at, with an ellipsis for each part that varies."""
    tree = ast.parse(inspect.getsource(importlib.import_module(check.__module__)))
    found = set()
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        variables = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign):
                variables |= assigned(node.targets[0], node.value)
        for node in ast.walk(function):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            if name in SHARED:
                found.add(SHARED[name])
            elif name in ("measure", "require", "raises"):
                label = node.args[0]
                found.add(text(variables[label.id] if isinstance(label, ast.Name) else label))
    return found


def assigned(target: ast.expr, value: ast.expr) -> dict[str, ast.expr]:
    """Variables that an assignment sets to a single expression each."""
    if isinstance(target, ast.Name):
        return {target.id: value}
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        pairs = zip(target.elts, value.elts, strict=True)
        return {name.id: one for name, one in pairs if isinstance(name, ast.Name)}
    return {}


def text(label: ast.expr) -> str:
    if isinstance(label, ast.Constant):
        return label.value
    parts = [part.value if isinstance(part, ast.Constant) else "…" for part in label.values]
    return "".join(parts)
