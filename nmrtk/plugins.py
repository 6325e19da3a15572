"""Plugins: find them, guard against broken ones, report their health, build their components."""

from __future__ import annotations

import difflib
import importlib.metadata
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import ModuleType
from typing import Any

import pluggy

from nmrtk import hookspecs
from nmrtk.component import Component
from nmrtk.errors import PluginError, UsageError

ENTRY_POINT_GROUP = "nmrtk"
ONLY_VARIABLE = "NMRTK_PLUGINS"
STRICT_VARIABLE = "NMRTK_STRICT_PLUGINS"

KINDS = {
    "structure_encoders": "encoder",
    "spectrum_codecs": "codec",
    "invertible_backbones": "backbone",
    "candidate_generators": "generator",
    "baselines": "baseline",
    "readers": "format",
    "pretrained_models": "model",
}
"""The hooks, and what users call one of what they yield."""


@dataclass(slots=True)
class PluginHealth:
    """One entry point: where it comes from, what it offers, what is wrong with it."""

    name: str
    distribution: str
    version: str
    components: dict[str, list[Component]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "distribution": self.distribution,
            "version": self.version,
            "healthy": self.healthy,
            "components": {kind: [c.name for c in cs] for kind, cs in self.components.items()},
            "problems": self.problems,
        }


class Registry:
    """All plugins that could be loaded, and what was wrong with the others.

    Args:
        entry_points: those of the group `nmrtk`.
        only: names of the entry points to load, or None for all.
        strict: raise on the first broken plugin.

    Raises:
        PluginError: with `strict`, for the first problem.
    """

    def __init__(
        self,
        entry_points: list[importlib.metadata.EntryPoint],
        *,
        only: list[str] | None = None,
        strict: bool = False,
    ) -> None:
        self._strict = strict
        self._manager = pluggy.PluginManager(ENTRY_POINT_GROUP)
        self._manager.add_hookspecs(hookspecs)
        self._owners: dict[tuple[str, str], list[tuple[PluginHealth, Component]]] = {}
        self.health: list[PluginHealth] = []
        if only is not None:
            known = {entry_point.name for entry_point in entry_points}
            for name in sorted(set(only) - known):
                missing = PluginHealth(name, "unknown", "unknown")
                self.health.append(missing)
                self._report(missing, f"{ONLY_VARIABLE} names it, but it is not installed")
            entry_points = [e for e in entry_points if e.name in only]
        for entry_point in sorted(entry_points, key=lambda e: (e.name, _distribution(e)[0])):
            self._add(entry_point)
        self._report_duplicates()

    def components(self, kind: str) -> dict[str, Component]:
        """Components of a kind by name, sorted; names that two plugins claim are left out."""
        return {
            name: owners[0][1]
            for (owned_kind, name), owners in sorted(self._owners.items())
            if owned_kind == kind and len(owners) == 1
        }

    def find(self, kind: str, name: str) -> Component:
        """The component of that kind and name.

        Raises:
            UsageError: there is none; lists what there is.
            PluginError: two distributions claim the name.
        """
        owners = self._owners.get((kind, name), [])
        if len(owners) == 1:
            return owners[0][1]
        label = KINDS[kind]
        if owners:
            raise PluginError(_duplicate_text(label, name, owners))
        known = self.components(kind)
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        broken = [h.distribution for h in self.health if not h.healthy]
        note = f" ({', '.join(broken)}: see `nmrtk plugins` for what is wrong)" if broken else ""
        raise UsageError(
            f"no {label} is called {name!r}.{hint} Installed: {', '.join(known) or 'none'}{note}"
        )

    def versions(self, kind: str, name: str) -> str:
        """Distribution and version that own a component, such as `nmrtk-dgl 0.1.0`."""
        owner = self._owners[kind, name][0][0]
        return f"{owner.distribution} {owner.version}"

    def _add(self, entry_point: importlib.metadata.EntryPoint) -> None:
        health = PluginHealth(entry_point.name, *_distribution(entry_point))
        self.health.append(health)
        # SystemExit too: a module that exits on import must not take nmrtk down with it.
        try:
            module = entry_point.load()
        except (Exception, SystemExit) as error:
            self._report(health, f"cannot be imported: {_cause(error)}")
            return
        # Entry points of two distributions may have the same name.
        label = f"{health.distribution}:{entry_point.name}"
        try:
            misspelt = list(_unknown_hooks(self._manager, module))
            if not misspelt:
                self._manager.register(module, name=label)
        except (Exception, SystemExit) as error:
            self._manager.unregister(name=label)
            self._report(health, f"cannot be registered: {_cause(error)}")
            return
        for text in misspelt:
            self._report(health, text)
        if misspelt:
            return
        self._collect(module, health)

    def _collect(self, module: ModuleType, health: PluginHealth) -> None:
        others = [p for p in self._manager.get_plugins() if p is not module]
        for kind in KINDS:
            caller = self._manager.subset_hook_caller(kind, remove_plugins=others)
            try:
                offered = [component for components in caller() for component in components]
                for component in offered:
                    if not isinstance(component, Component):
                        raise PluginError(f"yields {component!r}, which is not a Component")
            except (Exception, SystemExit) as error:
                self._report(health, f"hook {kind}: {_cause(error)}")
                continue
            if offered:
                health.components[kind] = offered
            for component in offered:
                self._owners.setdefault((kind, component.name), []).append((health, component))
        if not health.components and health.healthy:
            self._report(health, "offers nothing: none of its hooks yields a component")

    def _report_duplicates(self) -> None:
        for (kind, name), owners in sorted(self._owners.items()):
            if len(owners) > 1:
                text = _duplicate_text(KINDS[kind], name, owners)
                for health in {id(health): health for health, _ in owners}.values():
                    self._report(health, text)

    def _report(self, health: PluginHealth, problem: str) -> None:
        health.problems.append(problem)
        if self._strict:
            raise PluginError(f"{health.distribution} {health.version}: {problem}")


@lru_cache(maxsize=1)
def registry() -> Registry:
    """The plugins of this environment, loaded once a process."""
    only = os.environ.get(ONLY_VARIABLE)
    return Registry(
        list(importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)),
        only=None if only is None else [name.strip() for name in only.split(",") if name.strip()],
        strict=os.environ.get(STRICT_VARIABLE, "") not in ("", "0"),
    )


def components(kind: str) -> dict[str, Component]:
    """Installed components of a kind (a hook's name), by name."""
    return registry().components(kind)


def build(kind: str, name: str, options: Mapping[str, Any] | None = None, *context: Any) -> Any:
    """Make a component.

    Args:
        kind: a hook's name.
        name: the component's.
        options: keyword-only parameters of its constructor.
        context: positional parameters of its constructor, as `nmrtk.interfaces` says.

    Raises:
        UsageError: no such component or option, or a value of the wrong type.
        PluginError: its class cannot be imported.
    """
    from nmrtk.options import check_options

    component_class = registry().find(kind, name).load()
    return component_class(*context, **check_options(component_class, name, options or {}))


def _distribution(entry_point: importlib.metadata.EntryPoint) -> tuple[str, str]:
    """Name and version of the distribution that an entry point belongs to."""
    owner = entry_point.dist
    return (owner.name, owner.version) if owner else ("unknown", "unknown")


def _unknown_hooks(manager: pluggy.PluginManager, module: ModuleType) -> Iterator[str]:
    for name in dir(module):
        if manager.parse_hookimpl_opts(module, name) is not None and name not in KINDS:
            close = difflib.get_close_matches(name, KINDS, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            yield f"implements the unknown hook {name!r}{hint}"


def _duplicate_text(label: str, name: str, owners: list[tuple[PluginHealth, Component]]) -> str:
    places = " and ".join(f"{h.distribution} {h.version} ({c.target})" for h, c in owners)
    return f"the {label} {name!r} is offered by {places}: uninstall one, or set {ONLY_VARIABLE}"


def _cause(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, PluginError) else f"{type(error).__name__}: {text}"
