"""Random structures of a formula."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
from rdkit import Chem
from rdkit.rdBase import BlockLogs

from nmrtk.errors import UsageError
from nmrtk.formula import HYDROGEN, Formula
from nmrtk.interfaces import CandidateGenerator
from nmrtk.inversion import Inversion
from nmrtk.molecule import Molecule
from nmrtk.query import Query

_VALENCES = {
    **{"B": 3, "C": 4, "N": 3, "O": 2, "F": 1, "Si": 4},
    **{"P": 3, "S": 2, "Cl": 1, "Br": 1, "I": 1},
}
_MOST_ORDER = 3


class RandomGenerator(CandidateGenerator):
    """Joins the atoms of the formula at random: a tree of single bonds, then what is unsaturated
    as further bonds.

    The lines choose nothing here: the score of `nmrtk elucidate` does. A better generator asks
    `inversion.sample` for features that would give the lines, and proposes what has such features.

    Args:
        tries: number of structures that are tried.

    Raises:
        UsageError: `tries` is not positive.
    """

    needs_formula = True

    def __init__(self, *, tries: int = 2000) -> None:
        if tries < 1:
            raise UsageError(f"random structures: tries={tries} must be at least 1")
        self.tries = tries

    def generate(self, query: Query, inversion: Inversion) -> Iterator[Molecule]:
        """Valid structures of the formula, until the tries or the time are used up.

        Raises:
            UsageError: no formula is known, or the atoms of this one cannot be joined.
        """
        if query.formula is None:
            raise UsageError("random structures need a formula: give it with --formula")
        atoms = _heavy_atoms(query.formula)
        extra = _extra_bonds(query.formula, atoms)
        rng = np.random.default_rng(inversion.seed)
        for _ in range(self.tries):
            if time.monotonic() >= query.deadline:
                return
            molecule = _join(atoms, extra, rng)
            if molecule is not None:
                yield molecule


def _heavy_atoms(formula: Formula) -> list[str]:
    """Symbols of all atoms but hydrogens.

    Raises:
        UsageError: an element has no usual valence, or the formula has a charge.
    """
    unusual = [s for s, _ in formula.counts if s != HYDROGEN and s not in _VALENCES]
    if unusual or formula.charge:
        raise UsageError(
            f"{formula}: random structures are of uncharged {', '.join(_VALENCES)} and H alone"
        )
    return [s for s, count in formula.counts if s != HYDROGEN for _ in range(count)]


def _extra_bonds(formula: Formula, atoms: list[str]) -> int:
    """Bonds beyond those of a tree: rings and multiple bonds.

    Raises:
        UsageError: the numbers of the atoms fit no structure.
    """
    ends = sum(_VALENCES[symbol] for symbol in atoms) - formula[HYDROGEN]
    extra = ends // 2 - (len(atoms) - 1)
    if not atoms or ends % 2 or extra < 0:
        raise UsageError(f"{formula}: no structure of usual valences has this formula")
    return extra


def _join(atoms: list[str], extra: int, rng: np.random.Generator) -> Molecule | None:
    """One structure, or None where the atoms did not come together."""
    free = np.array([_VALENCES[symbol] for symbol in atoms])
    bonds: dict[tuple[int, int], int] = {}

    def bind(one: int, other: int) -> None:
        pair = (min(one, other), max(one, other))
        bonds[pair] = bonds.get(pair, 0) + 1
        free[[one, other]] -= 1

    order = rng.permutation(len(atoms)).tolist()
    for place, atom in enumerate(order[1:], start=1):
        joined = [other for other in order[:place] if free[other]]
        if not joined:
            return None
        bind(atom, joined[rng.integers(len(joined))])
    for _ in range(extra):
        open_atoms = np.flatnonzero(free)
        if len(open_atoms) < 2:
            return None
        one, other = rng.choice(open_atoms, 2, replace=False).tolist()
        bind(one, other)
    return None if max(bonds.values(), default=0) > _MOST_ORDER else _molecule(atoms, bonds)


def _molecule(atoms: list[str], bonds: dict[tuple[int, int], int]) -> Molecule | None:
    editable = Chem.RWMol()
    for symbol in atoms:
        editable.AddAtom(Chem.Atom(symbol))
    for (one, other), order in bonds.items():
        editable.AddBond(one, other, Chem.BondType.values[order])
    with BlockLogs():
        failed = Chem.SanitizeMol(editable, catchErrors=True)
    return None if failed else editable.GetMol()
