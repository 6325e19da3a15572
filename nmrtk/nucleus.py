"""Nuclei: names such as 13C, and the atoms of a molecule that give lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from nmrtk.errors import UsageError

if TYPE_CHECKING:
    from rdkit.Chem import Mol

DEFAULT_NUCLEUS = "13C"

_IMPLICIT_ELEMENT = "H"
_ELEMENTS = 118

# Chemists write the number of attached hydrogens of a carbon as the splitting they cause.
_LETTERS = "SDTQ"
HYDROGEN_LETTER_NUCLEI = frozenset({DEFAULT_NUCLEUS})
"""Nuclei whose multiplicity letters stand for the number of attached hydrogens."""


@cache
def _single_atom(element: str) -> Mol | None:
    """A substructure: any atom of an element; None if there is no such element."""
    from rdkit import Chem

    table = Chem.GetPeriodicTable()
    for number in range(1, _ELEMENTS + 1):
        if table.GetElementSymbol(number) == element:
            return Chem.MolFromSmarts(f"[#{number}]")
    return None


@dataclass(frozen=True, slots=True)
class Nucleus:
    """A magnetic nucleus.

    Args:
        mass_number: 13 for 13C.
        element: `C` for 13C.
    """

    mass_number: int
    element: str

    @classmethod
    def parse(cls, name: str) -> Nucleus:
        """Read `13C`, `31P`, ...

        Raises:
            UsageError: the name is not a mass number followed by an element symbol.

        Example:
            >>> Nucleus.parse("13C").element
            'C'
        """
        match = re.fullmatch(r"\s*(\d{1,3})([A-Z][a-z]?)\s*", name)
        if match is None:
            raise UsageError(f"{name!r} is not a nucleus: write it as 13C, 1H or 31P")
        return cls(int(match[1]), match[2])

    @property
    def is_implicit(self) -> bool:
        """Whether its atoms are no atoms of a molecule but belong to others: hydrogens."""
        return self.element == _IMPLICIT_ELEMENT

    def __str__(self) -> str:
        return f"{self.mass_number}{self.element}"

    def sites(self, molecule: Mol) -> list[int]:
        """Atoms that give a line, ascending: those of the element, or, for hydrogen, the heavy
        atoms that carry at least one.
        """
        count = molecule.GetNumAtoms()
        if self.is_implicit:
            # `GetAtoms` takes twice as long.
            atoms = map(molecule.GetAtomWithIdx, range(count))
            return [index for index, atom in enumerate(atoms) if atom.GetTotalNumHs() > 0]
        # A substructure, since that makes no object for each atom.
        atom = _single_atom(self.element)
        if atom is None:
            return []
        matches = molecule.GetSubstructMatches(atom, uniquify=False, maxMatches=count)
        return sorted(index for (index,) in matches)

    def multiplicities(self, molecule: Mol, sites: Sequence[int] | None = None) -> list[str]:
        """Expected multiplicity letter of each site, in the order of `sites`: S, D, T or Q by
        attached hydrogens; empty where the letters do not mean that for this nucleus.

        Args:
            molecule: hydrogens implicit.
            sites: what `sites` gives for it, where that is known already.
        """
        if sites is None:
            sites = self.sites(molecule)
        if str(self) not in HYDROGEN_LETTER_NUCLEI:
            return [""] * len(sites)
        hydrogens = (molecule.GetAtomWithIdx(i).GetTotalNumHs(True) for i in sites)
        return [_LETTERS[h] if h < len(_LETTERS) else "" for h in hydrogens]
