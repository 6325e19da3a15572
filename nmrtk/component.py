"""Descriptions of what plugins offer."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass

from nmrtk.errors import PluginError

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Component:
    """Names a class without importing it.

    Args:
        name: what users type, lower case with hyphens, such as `dgl-gin`.
        target: where the class is, `package.module:Class`.
        summary: one line for `nmrtk list`.

    Raises:
        PluginError: the name or the target is not of that form.
    """

    name: str
    target: str
    summary: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise PluginError(
                f"the component name {self.name!r} is not lower-case words joined by hyphens"
            )
        if not _TARGET.fullmatch(self.target):
            raise PluginError(
                f"component {self.name!r}: the target {self.target!r} is not 'module:Class'"
            )

    def load(self) -> type:
        """Import the class.

        Raises:
            PluginError: the module does not import, or what it names is no class.
        """
        module_name, _, class_name = self.target.partition(":")
        try:
            component_class = getattr(importlib.import_module(module_name), class_name)
        except Exception as error:
            raise PluginError(
                f"component {self.name!r} cannot be loaded from {self.target}: "
                f"{type(error).__name__}: {error}"
            ) from error
        if not isinstance(component_class, type):
            raise PluginError(f"component {self.name!r}: {self.target} is not a class")
        return component_class
