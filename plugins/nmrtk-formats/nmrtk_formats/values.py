"""Values that sources write in many ways."""

from __future__ import annotations

import re

_UNKNOWN = frozenset({"", "unknown", "unreported"})
_NUMBER = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(?:[a-z]+)?", re.IGNORECASE)


def read_condition(text: str) -> str:
    """The name of a solvent; an empty string where the source says that it does not know.

    Example:
        >>> read_condition("Dimethylsulphoxide-D6 (DMSO-D6, C2D6SO))")
        'Dimethylsulphoxide-D6 (DMSO-D6, C2D6SO)'
    """
    plain = " ".join(text.split())
    # nmrshiftdb2 closes one bracket too many after some solvents.
    if plain.count(")") > plain.count("("):
        plain = plain.removesuffix(")")
    return "" if plain.lower() in _UNKNOWN else plain


def read_quantity(text: str) -> float | None:
    """A positive number, a unit behind it or not; None for all else.

    Example:
        >>> read_quantity("100 Mhz"), read_quantity("20.1 or 25.2"), read_quantity("0.0")
        (100.0, None, None)
    """
    match = _NUMBER.fullmatch(text.strip())
    value = float(match[1]) if match else 0.0
    return value if 0 < value < float("inf") else None
