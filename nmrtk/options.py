"""Options of components: the keyword-only parameters of their constructors."""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from nmrtk.errors import PluginError, UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a component: its type and its default."""

    name: str
    annotation: Any
    default: Any

    @property
    def type_text(self) -> str:
        """The type as a user reads it."""
        if isinstance(self.annotation, type) and not get_args(self.annotation):
            return self.annotation.__name__
        return str(self.annotation).replace("typing.", "")


def options_of(component_class: type) -> dict[str, Option]:
    """The options that a component has.

    Raises:
        PluginError: an option has no annotation or no default, or an annotation has no meaning.
    """
    constructor = component_class.__init__  # type: ignore[misc]  # it is a class, not an instance
    try:
        hints = get_type_hints(constructor)
    except NameError as error:
        raise PluginError(
            f"{component_class.__name__}: an annotation of an option cannot be resolved: {error}"
        ) from error
    options = {}
    for name, parameter in inspect.signature(constructor).parameters.items():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        if name not in hints or parameter.default is inspect.Parameter.empty:
            raise PluginError(
                f"{component_class.__name__}: the option {name!r} needs an annotation and a default"
            )
        options[name] = Option(name, hints[name], parameter.default)
    return options


def check_options(component_class: type, label: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with their values converted to the annotated types.

    Args:
        component_class: whose constructor takes them.
        label: the component's name, for messages.
        options: values as TOML has them.

    Raises:
        UsageError: an unknown option, or a value of the wrong type; lists what is allowed.
    """
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    known = options_of(component_class)
    checked = {}
    for name, value in options.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise UsageError(
                f"{label} has no option {name!r}.{hint} "
                f"Options: {', '.join(known) if known else 'none'}"
            )
        adapter: TypeAdapter[Any] = TypeAdapter(
            known[name].annotation, config=ConfigDict(allow_inf_nan=False)
        )
        try:
            checked[name] = adapter.validate_python(value)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise UsageError(
                f"{label}: option {name}={value!r} must be {known[name].type_text}: {reason}"
            ) from None
    return checked


def parse_assignments(texts: Iterable[str], flag: str) -> dict[str, Any]:
    """Options from a command line, `name=value` each; values as in TOML, else plain strings.

    Raises:
        UsageError: a text has no `=`.

    Example:
        >>> parse_assignments(["hidden_dim=256", "order=canonical"], "-E")
        {'hidden_dim': 256, 'order': 'canonical'}
    """
    options = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"{flag} {text!r}: write name=value, such as {flag} hidden_dim=256")
        try:
            options[name.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            options[name.strip()] = value.strip()
    return options
