"""A package to start a plugin with: `nmrtk new-plugin`."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from nmrtk import __version__
from nmrtk.errors import UsageError, shorten
from nmrtk.plugins import KINDS, registry

DEFAULT_KIND = "encoder"

_PREFIX = "nmrtk-"
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class Starter:
    """A component of `nmrtk.starters`, in the module named like its kind.

    Args:
        hook: that yields it.
        class_name: in its module.
        summary: one line for `nmrtk list`.
        imports: distributions besides nmrtk that it imports.
        use: a command that uses it, with `$name` for its name.
        test: template of its test.
    """

    hook: str
    class_name: str
    summary: str
    imports: tuple[str, ...]
    use: str
    test: str = "test"


STARTERS = {
    "encoder": Starter(
        "structure_encoders",
        "AtomSumEncoder",
        "Sums of a small network over atoms and their neighbours",
        ("torch",),
        "nmrtk train --data DATA.h5 --encoder $name -o RUN/",
    ),
    "codec": Starter(
        "spectrum_codecs",
        "BinsCodec",
        "Bins of equal width that hold a line or not",
        ("numpy", "torch"),
        "nmrtk train --data DATA.h5 --codec $name -o RUN/",
    ),
    "backbone": Starter(
        "invertible_backbones",
        "CouplingBackbone",
        "One pair of additive couplings with small dense networks",
        ("torch",),
        "nmrtk train --data DATA.h5 --backbone $name -o RUN/",
    ),
    "generator": Starter(
        "candidate_generators",
        "RandomGenerator",
        "Random structures of the formula",
        ("numpy", "rdkit"),
        'nmrtk elucidate "57.8 18.1" --formula C2H6O --generator $name --model RUN/',
    ),
    "baseline": Starter(
        "baselines",
        "SizeBaseline",
        "Frequency of each bin in training molecules of like size",
        ("numpy", "torch"),
        "nmrtk evaluate --model RUN/ --data DATA.h5 --baseline $name -o REPORT.json",
    ),
    "reader": Starter(
        "readers",
        "JsonLinesReader",
        "JSON lines with SMILES and shifts by nucleus",
        (),
        "nmrtk data import SPECTRA.jsonl --format $name -o DATA.h5",
        test="test_reader",
    ),
}
"""By kind, as `nmrtk new-plugin --kind` takes it."""


def make_plugin(name: str, kind: str, parent: Path) -> Path:
    """Write a package with one component that works, its contract test, a README and CI.

    Args:
        name: of the component. The distribution is called so after `nmrtk-`, which may be given.
        kind: one of `STARTERS`.
        parent: an existing folder.

    Returns:
        The folder of the package.

    Raises:
        UsageError: the name or the kind is not allowed, the name is taken by an installed plugin,
            or the folder exists.
    """
    component = _component_name(name)
    if kind not in STARTERS:
        raise UsageError(f"no kind of plugin is called {kind!r}: choose from {', '.join(STARTERS)}")
    _require_free(component, kind)
    folder = parent / f"{_PREFIX}{component}"
    contents = plugin_files(component, kind)
    try:
        folder.mkdir()
    except FileExistsError:
        raise UsageError(
            f"{folder} exists already: choose another name, or another folder with --output"
        ) from None
    for path, text in contents.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return folder


def plugin_files(name: str, kind: str) -> dict[str, str]:
    """The files of a package by path.

    Args:
        name: of the component, without `nmrtk-`.
        kind: one of `STARTERS`.
    """
    starter = STARTERS[kind]
    distribution = f"{_PREFIX}{name}"
    package = distribution.replace("-", "_")
    requirements = (f"nmrtk>={__version__}", *starter.imports)
    fields = {
        "name": name,
        "kind": kind,
        "distribution": distribution,
        "package": package,
        "class_name": starter.class_name,
        "summary": starter.summary,
        "hook": starter.hook,
        "check": f"check_{starter.hook.removesuffix('s')}",
        "use": Template(starter.use).substitute(name=name),
        "dependencies": ", ".join(f'"{requirement}"' for requirement in requirements),
    }
    source = files("nmrtk.starters").joinpath(f"{kind}.py").read_text(encoding="utf-8")
    return {
        "pyproject.toml": _render("pyproject.toml", fields),
        "README.md": _render("README.md", fields),
        f"{package}/__init__.py": _render("init", fields),
        f"{package}/{kind}.py": source,
        f"tests/test_{kind}.py": _render(starter.test, fields),
        ".github/workflows/test.yml": _render("workflow", fields),
    }


def _render(template: str, fields: Mapping[str, str]) -> str:
    path = files("nmrtk") / "templates" / "plugin" / f"{template}.template"
    return Template(path.read_text(encoding="utf-8")).substitute(fields)


def _component_name(name: str) -> str:
    """The name without `nmrtk-`.

    Raises:
        UsageError: it is not a name that a component and a package can have.
    """
    component = name.removeprefix(_PREFIX)
    if not _NAME.fullmatch(component) or len(component) > _LONGEST_NAME:
        raise UsageError(
            f"{shorten(name)!r} cannot name a plugin: write lower-case words of letters and "
            f"digits joined by hyphens, at most {_LONGEST_NAME} characters, such as atom-sums"
        )
    return component


def _require_free(component: str, kind: str) -> None:
    """Refuse what two installed plugins could not both be called.

    Raises:
        UsageError: an installed plugin has the name.
    """
    distribution = f"{_PREFIX}{component}"
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        pass
    else:
        raise UsageError(f"{distribution} {version} is installed already: choose another name")
    hook = STARTERS[kind].hook
    for health in registry().health:
        taken = [offered.name for offered in health.components.get(hook, [])]
        if component == health.name or component in taken:
            what = f"{KINDS[hook]} {component!r}" if component in taken else f"name {component!r}"
            raise UsageError(
                f"the {what} is taken by {health.distribution} {health.version}, which is "
                "installed: choose another name"
            )
