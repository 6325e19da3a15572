"""Whether any structure can have a molecular formula."""

from __future__ import annotations

from nmrtk.errors import UsageError
from nmrtk.formula import HYDROGEN, Formula

VALENCES = {
    "H": 1, "F": 1, "Cl": 1, "Br": 1, "I": 1, "At": 1, "Li": 1, "Na": 1, "K": 1, "Rb": 1, "Cs": 1,
    "O": 2, "S": 2, "Se": 2, "Te": 2,
    "N": 3, "P": 3, "As": 3, "Sb": 3, "B": 3,
    "C": 4, "Si": 4, "Ge": 4, "Sn": 4,
}  # fmt: skip
"""Usual valences. Higher ones of an element differ from them by an even number."""

_HIGHEST = {"S": 6, "Se": 6, "Te": 6, "P": 5, "As": 5, "Sb": 5, "Cl": 7, "Br": 7, "I": 7, "B": 4}
_BASES = ("N", "P", "As", "S")
_ACIDS = ("F", "Cl", "Br", "I")


def unsaturation(formula: Formula) -> float | None:
    """Number of rings and double bonds with usual valences; None where an element has none.

    Example:
        >>> unsaturation(Formula.parse("C6H6"))
        4.0
    """
    total = 2 + formula.charge
    for symbol, count in formula.counts:
        if symbol not in VALENCES:
            return None
        total += (VALENCES[symbol] - 2) * count
    return total / 2


def require_possible(formula: Formula) -> None:
    """Make sure that a structure with closed shells can have a formula.

    Raises:
        UsageError: there are too many hydrogens, or their number is odd where it must be even;
            says what would be possible.
    """
    rings = unsaturation(formula)
    if rings is None:
        return
    if rings != int(rings):
        raise UsageError(
            f"no structure has the formula {formula}: its number of hydrogens and halogens must be "
            f"{_parity(formula)}; check the formula, and write the charge of an ion, as in C2H8N+"
        )
    highest = 2 + formula.charge
    for symbol, count in formula.counts:
        highest += (max(_HIGHEST.get(symbol, 0), VALENCES[symbol]) - 2) * count
    # The salt of a base and an acid is two structures, each with its own ends.
    pairs = min(sum(formula[s] for s in _BASES), sum(formula[s] for s in _ACIDS))
    if highest + 2 * pairs < 0:
        most = formula[HYDROGEN] + highest + 2 * pairs
        raise UsageError(
            f"no structure has the formula {formula}: with its other atoms it can have at most "
            f"{max(most, 0)} hydrogens"
        )


def _parity(formula: Formula) -> str:
    """What the number of monovalent atoms must be."""
    others = formula.charge + sum(
        VALENCES[symbol] * count for symbol, count in formula.counts if VALENCES[symbol] != 1
    )
    return "odd" if others % 2 else "even"
