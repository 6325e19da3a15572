"""Molecular formulas: reading, writing, and the vector that conditions a backbone."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdMolDescriptors

from nmrtk.errors import UsageError, shorten
from nmrtk.molecule import Molecule

CARBON, HYDROGEN = "C", "H"
"""The symbols with which formulas begin (Hill, J. Am. Chem. Soc. 1900, 22, 478)."""

DEFAULT_ELEMENTS = ("H", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br", "I", "B")
"""Elements that have a place of their own in `Formula.vector`; all others share one."""

VECTOR_WIDTH = len(DEFAULT_ELEMENTS) + 2
"""Length of `Formula.vector`: the elements, the others, the charge."""

_SYMBOLS = frozenset(
    re.findall(
        r"[A-Z][a-z]?",
        "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As "
        "Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu "
        "Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U",
    )
)
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉⁺⁻−", "0123456789+--")
_TERM = re.compile(r"([A-Z][a-z]?)(\d{0,6})")
_CHARGE = re.compile(r"(\++|-+)(\d*)$")
_MOST_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Formula:
    """Counts of the elements, and the charge.

    Args:
        counts: pairs of element and a positive number, in Hill order.
        charge: in elementary charges.
    """

    counts: tuple[tuple[str, int], ...]
    charge: int = 0

    @classmethod
    def of_counts(cls, counts: Mapping[str, int], charge: int = 0) -> Formula:
        """From a mapping; zeros are left out.

        Raises:
            UsageError: a count is negative, a symbol is no element, or nothing is left.
        """
        for symbol, count in counts.items():
            if symbol not in _SYMBOLS:
                raise UsageError(f"{symbol!r} is not an element")
            if count < 0:
                raise UsageError(f"the formula has {count} {symbol}: counts cannot be negative")
        kept = {symbol: count for symbol, count in counts.items() if count}
        if not kept:
            raise UsageError("the formula is empty")
        return cls(tuple(sorted(kept.items(), key=_hill_key(kept))), charge)

    @classmethod
    def parse(cls, text: str) -> Formula:
        """Read `C2H6O`, `C5H12NO2+`, `Ca+2` or `C₆H₁₂O₆`.

        Raises:
            UsageError: the text is not a formula; the message says where reading stopped.

        Example:
            >>> str(Formula.parse("OH6C2"))
            'C2H6O'
        """
        plain = "".join(text.split()).translate(_SUBSCRIPTS)
        charge = 0
        if match := _CHARGE.search(plain):
            # A digit before the sign belongs to the last element: C2H5+ has charge +1.
            signs, size = match[1], match[2]
            if len(size) > _MOST_DIGITS or (size and len(signs) > 1):
                raise UsageError(
                    f"{shorten(text)!r} is not a molecular formula: cannot read "
                    f"{shorten(match[0])!r} as a charge; write it as + or +2"
                )
            charge = int(signs[0] + (size or str(len(signs))))
            plain = plain[: match.start()]
        counts: Counter[str] = Counter()
        position = 0
        while position < len(plain):
            term = _TERM.match(plain, position)
            if term is None or term[1] not in _SYMBOLS or len(term[2]) > _MOST_DIGITS:
                raise UsageError(
                    f"{shorten(text)!r} is not a molecular formula: cannot read "
                    f"{shorten(plain[position:])!r}; "
                    "write element symbols with counts, such as C9H8O4"
                )
            counts[term[1]] += int(term[2]) if term[2] else 1
            position = term.end()
        return cls.of_counts(counts, charge)

    @classmethod
    def of_molecule(cls, molecule: Molecule) -> Formula:
        """The formula of a molecule, implicit hydrogens included."""
        terms = _TERM.findall(rdMolDescriptors.CalcMolFormula(molecule))
        known = {symbol: int(count or 1) for symbol, count in terms if symbol in _SYMBOLS}
        charge = Chem.GetFormalCharge(molecule)
        return cls(tuple(sorted(known.items(), key=_hill_key(known))), charge)

    def __getitem__(self, symbol: str) -> int:
        return dict(self.counts).get(symbol, 0)

    def __str__(self) -> str:
        text = "".join(f"{symbol}{count if count > 1 else ''}" for symbol, count in self.counts)
        size = str(abs(self.charge)) if abs(self.charge) > 1 else ""
        sign = "" if self.charge == 0 else "+" if self.charge > 0 else "-"
        return text + sign + size

    def vector(self) -> NDArray[np.float32]:
        """Condition for a backbone, shape (VECTOR_WIDTH,): square roots of the counts of
        `DEFAULT_ELEMENTS` and of the other elements together, then the charge.
        """
        counts = dict(self.counts)
        named = [counts.pop(symbol, 0) for symbol in DEFAULT_ELEMENTS]
        roots = map(math.sqrt, [*named, sum(counts.values())])
        return np.array([*roots, self.charge], dtype=np.float32)


def _hill_key(counts: Mapping[str, int]) -> Callable[[tuple[str, int]], str]:
    """Hill order: carbon, hydrogen, then the alphabet; the alphabet alone without carbon."""
    first = {CARBON: "\0", HYDROGEN: "\1"} if CARBON in counts else {}
    return lambda item: first.get(item[0], item[0])
