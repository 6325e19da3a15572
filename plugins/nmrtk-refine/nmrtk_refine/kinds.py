"""Kinds of atoms, and structures as arrays of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.rdBase import BlockLogs

from nmrtk.errors import MoleculeError
from nmrtk.molecule import Molecule
from nmrtk_refine.codes import (
    MOST_ATOMS,
    MOST_NEIGHBOURS,
    Graph,
    new_graph,
    set_bond,
    write_first_codes,
)
from nmrtk_refine.compiled import entry_point, mixed

_ORDERS = {Chem.BondType.SINGLE: 1, Chem.BondType.DOUBLE: 2, Chem.BondType.TRIPLE: 3}
_BOND_TYPES = {order: kind for kind, order in _ORDERS.items()}
_TABLE = Chem.GetPeriodicTable()
_MOST_CHARGE = 4
_CODE_SHIFT = 32  # leaves room below for what a code adds


@dataclass(frozen=True, slots=True, order=True)
class Kind:
    """An atom whose valence is fixed.

    Args:
        element: symbol.
        charge: in elementary charges.
        valence: sum of the bond orders, hydrogens included.
    """

    element: str
    charge: int
    valence: int

    @property
    def code(self) -> int:
        """A number of its own."""
        number = _TABLE.GetAtomicNumber(self.element)
        return (number * 64 + (self.charge + _MOST_CHARGE) * 8 + self.valence) << _CODE_SHIFT

    def __str__(self) -> str:
        return f"{self.element},{self.charge},{self.valence}"

    @classmethod
    def parse(cls, text: str) -> Kind:
        """Read what `str` wrote."""
        element, charge, valence = text.split(",")
        return cls(element, int(charge), int(valence))


@dataclass(frozen=True, slots=True)
class Isomer:
    """A structure as arrays: A heavy atoms.

    Args:
        kinds: (A,).
        hydrogens: (A,), int8.
        bonds: (A, A), int8, orders.
    """

    kinds: tuple[Kind, ...]
    hydrogens: NDArray[np.int8]
    bonds: NDArray[np.int8]

    @classmethod
    def of_molecule(cls, molecule: Molecule) -> Isomer:
        """The arrays of a molecule, atoms in its order.

        Raises:
            MoleculeError: it is of several parts, too large, or has bonds, isotopes, radicals or
                valences that the search does not know.
        """
        count = molecule.GetNumAtoms()
        if count > MOST_ATOMS:
            raise MoleculeError(f"it has more than {MOST_ATOMS} heavy atoms")
        kekulized = Chem.Mol(molecule)
        try:
            with BlockLogs():
                Chem.Kekulize(kekulized, clearAromaticFlags=True)
        except (ValueError, RuntimeError) as error:
            raise MoleculeError(f"it has no Kekulé structure: {error}") from error
        bonds = np.zeros((count, count), np.int8)
        for bond in kekulized.GetBonds():
            order = _ORDERS.get(bond.GetBondType())
            if order is None:
                raise MoleculeError(f"a bond of type {bond.GetBondType()} has no order")
            bonds[bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()] = order
        bonds += bonds.T
        hydrogens = np.zeros(count, np.int8)
        kinds = []
        for index, atom in enumerate(kekulized.GetAtoms()):
            if atom.GetNumRadicalElectrons() or atom.GetIsotope() or atom.GetAtomicNum() < 2:
                raise MoleculeError("it has radicals, isotopes, dummies or hydrogens as atoms")
            hydrogens[index] = atom.GetTotalNumHs()
            valence = int(bonds[index].sum()) + int(hydrogens[index])
            if (
                abs(atom.GetFormalCharge()) > _MOST_CHARGE - 1
                or not 1 <= valence <= MOST_NEIGHBOURS
            ):
                raise MoleculeError("it has an ion or an atom of unknown valence")
            kinds.append(Kind(atom.GetSymbol(), atom.GetFormalCharge(), valence))
        if len(Chem.GetMolFrags(molecule)) > 1:
            raise MoleculeError("it has several parts")
        return cls(tuple(kinds), hydrogens, bonds)

    def graph(self) -> Graph:
        """The structure in the inner loop."""
        graph = new_graph(
            np.array([kind.code for kind in self.kinds], np.uint64),
            np.array([kind.valence for kind in self.kinds], np.int64),
        )
        load_graph(graph, self.bonds, self.hydrogens)
        return graph

    def molecule(self) -> Molecule | None:
        """The molecule, checked by RDKit; None where it finds fault."""
        editable = Chem.RWMol()
        for kind, hydrogens in zip(self.kinds, self.hydrogens.tolist(), strict=True):
            atom = Chem.Atom(kind.element)
            atom.SetFormalCharge(kind.charge)
            atom.SetNumExplicitHs(hydrogens)
            atom.SetNoImplicit(True)
            editable.AddAtom(atom)
        for first, second in np.argwhere(np.triu(self.bonds)).tolist():
            editable.AddBond(first, second, _BOND_TYPES[int(self.bonds[first, second])])
        molecule: Molecule = editable.GetMol()
        try:
            with BlockLogs():
                Chem.SanitizeMol(molecule)
        except (ValueError, RuntimeError):
            return None
        return molecule


@entry_point
def load_graph(graph: Graph, bonds: NDArray[np.int8], hydrogens: NDArray[np.int8]) -> None:
    """Make a graph's bonds (A, A) and hydrogens (A,) those given."""
    count = len(hydrogens)
    graph.bonds[:] = 0
    graph.degrees[:] = 0
    graph.masks[:] = 0
    for first in range(count):
        graph.hydrogens[first] = hydrogens[first]
        for second in range(first):
            set_bond(graph, first, second, bonds[first, second])


@entry_point
def write_bond_kinds(graph: Graph) -> None:
    """Write what kind of bond leads to each neighbour, by its order and smallest ring."""
    write_first_codes(graph, np.zeros((2, len(graph.degrees)), np.uint64))


@entry_point
def code_of_number(number: np.uint64) -> np.uint64:
    """A hash, for Python."""
    return mixed(number)
