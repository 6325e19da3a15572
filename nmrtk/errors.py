"""The errors that nmrtk raises for what users give it."""

from __future__ import annotations


class NmrtkError(Exception):
    """Base of all errors that say what was given, where, and what to do."""


class UsageError(NmrtkError):
    """A choice that cannot be carried out: an unknown name, option or combination."""


class ConfigurationError(UsageError):
    """Parts that do not fit together, such as widths that differ."""


class PluginError(NmrtkError):
    """A plugin that cannot be used."""


class DataError(NmrtkError):
    """A file or a data set that cannot be used as a whole."""


class MoleculeError(NmrtkError):
    """One structure that cannot be read or encoded."""


class SpectrumError(NmrtkError):
    """One spectrum or peak list that cannot be read or encoded."""


class CheckpointError(NmrtkError):
    """A trained model that cannot be loaded."""


def shorten(text: str, limit: int = 60) -> str:
    """What a message quotes of a text that a user gave."""
    return text if len(text) <= limit else text[: limit - 3] + "..."
