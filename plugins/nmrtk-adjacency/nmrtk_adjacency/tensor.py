"""Molecules as sets of entries of a 4 x 16 x 16 tensor, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.rdBase import BlockLogs

from nmrtk.errors import MoleculeError, UsageError
from nmrtk.molecule import Molecule, canonical_smiles, finish_molecule

MOST_ATOMS = 17
WIDTH = 4 * 16 * 16

_SIDE = MOST_ATOMS - 1
_BOND_TYPES = (
    Chem.BondType.SINGLE,
    Chem.BondType.DOUBLE,
    Chem.BondType.TRIPLE,
    Chem.BondType.AROMATIC,
)
AROMATIC_PLANE = _BOND_TYPES.index(Chem.BondType.AROMATIC)
_CHARGES = (1, -1)


def _entries(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.intp]:
    """Positions (4, n) of entries of all planes in the flat tensor."""
    planes = np.arange(len(_BOND_TYPES))[:, None]
    flat: NDArray[np.intp] = (planes * _SIDE + rows) * _SIDE + columns
    return flat


# Row i and column k - 1 stand for the bond of atoms i < k, so the diagonal is in use.
_ROWS, _COLUMNS = np.triu_indices(_SIDE)
BOND_ENTRIES = _entries(_ROWS, _COLUMNS)
"""Positions (4, 136) that hold bonds: single, double, triple, aromatic."""

_MARK_ENTRIES = _entries(*np.tril_indices(_SIDE, -1)).ravel()
_MOST_MARKS = len(_MARK_ENTRIES) // MOST_ATOMS
MOST_ELEMENTS = _MOST_MARKS - len(_CHARGES)


class AdjacencyTensor:
    """Which entries are 1 for a molecule.

    Bonds stand in the upper triangle. With more than one element, the lower triangle of the
    planes, which is 0 otherwise, says for each atom which element it is, if not the first, whether
    its charge is 1 or -1, and whether it has the hydrogen that an aromatic atom other than a
    neutral carbon may have or not.

    Args:
        elements: allowed elements, the first one the unmarked.

    Raises:
        UsageError: an element is unknown, repeated, hydrogen, or one too many.
    """

    def __init__(self, elements: Sequence[str]) -> None:
        for symbol in elements:
            if not _is_heavy_element(symbol):
                raise UsageError(f"adjacency: {symbol!r} in elements is no element above hydrogen")
        if not 1 <= len(elements) <= MOST_ELEMENTS or len(set(elements)) < len(elements):
            raise UsageError(
                f"adjacency: elements is {','.join(elements)!r}, 1 to {MOST_ELEMENTS} different "
                "ones are allowed"
            )
        self.elements = tuple(elements)
        self._charge_mark = len(elements) - 1
        self._hydrogen_mark = self._charge_mark + len(_CHARGES)
        self._mark_count = self._hydrogen_mark + 1 if len(elements) > 1 else 0
        used = _MARK_ENTRIES[: self._mark_count * MOST_ATOMS]
        self._marks = used.reshape(self._mark_count, MOST_ATOMS)

    def require_size(self, molecule: Molecule) -> None:
        """Check that a molecule has bonds, is of one part, and not too large.

        Raises:
            MoleculeError: it is not.
        """
        atoms = molecule.GetNumAtoms()
        if atoms > MOST_ATOMS:
            raise MoleculeError(f"{atoms} heavy atoms, at most {MOST_ATOMS} can be encoded")
        if len(Chem.GetMolFrags(molecule)) > 1:
            raise MoleculeError("several unconnected parts: a salt or mixture cannot be encoded")
        if molecule.GetNumBonds() == 0:
            raise MoleculeError("no bond between heavy atoms: nothing would be encoded")

    def entries(self, molecule: Molecule, rank: Sequence[int]) -> NDArray[np.int16]:
        """Positions that are 1.

        Args:
            molecule: one that passes `require_size`.
            rank: place of each of its atoms in the tensor.

        Raises:
            MoleculeError: the tensor cannot express an atom or a bond.
        """
        found: list[int] = []
        for atom in molecule.GetAtoms():
            found += self._marks[self._marks_of(atom), rank[atom.GetIdx()]].tolist()
        for bond in molecule.GetBonds():
            kind = bond.GetBondType()
            if kind not in _BOND_TYPES:
                raise MoleculeError(f"a bond of type {kind} cannot be encoded")
            first, second = sorted((rank[bond.GetBeginAtomIdx()], rank[bond.GetEndAtomIdx()]))
            found.append((_BOND_TYPES.index(kind) * _SIDE + first) * _SIDE + second - 1)
        entries = np.sort(np.array(found, dtype=np.int16))
        self._require_lossless(molecule, entries)
        return entries

    def molecule(self, values: NDArray[np.float32], threshold: float) -> Molecule | None:
        """The molecule of a flat tensor (1024,), or None where it stands for no valid one.

        Of several types of bond, elements or charges, the one of the greatest value counts, if it
        is above the threshold. Atoms without a bond do not exist; bonds that do not hang together
        are no molecule.
        """
        strengths = values[BOND_ENTRIES]
        bonded = np.flatnonzero(strengths.max(axis=0) > threshold)
        if not bonded.size:
            return None
        firsts, seconds = _ROWS[bonded], _COLUMNS[bonded] + 1
        places = np.unique([firsts, seconds]).tolist()
        index = {place: number for number, place in enumerate(places)}
        draft = Chem.RWMol()
        for place in places:
            draft.AddAtom(self._atom(values[self._marks[:, place]], threshold))
        for first, second, kind in zip(
            firsts.tolist(), seconds.tolist(), strengths[:, bonded].argmax(axis=0), strict=True
        ):
            draft.AddBond(index[first], index[second], _BOND_TYPES[kind])
            if _BOND_TYPES[kind] == Chem.BondType.AROMATIC:
                for place in (first, second):
                    draft.GetAtomWithIdx(index[place]).SetIsAromatic(True)
        if len(Chem.GetMolFrags(draft)) > 1:
            return None
        try:
            return finish_molecule(draft.GetMol(), "decoded features")
        except MoleculeError:
            return None

    def _marks_of(self, atom: Chem.Atom) -> list[int]:
        symbol, charge = atom.GetSymbol(), atom.GetFormalCharge()
        if symbol not in self.elements:
            raise MoleculeError(
                f"element {symbol} at atom {atom.GetIdx()}: the encoder was made with the option "
                f"elements={','.join(self.elements)}"
            )
        allowed = (0, *_CHARGES) if self._mark_count else (0,)
        if charge not in allowed:
            raise MoleculeError(
                f"charge {charge:+d} at atom {atom.GetIdx()}: only "
                f"{', '.join(f'{c:+d}' if c else '0' for c in allowed)} can be encoded"
                + ("" if self._mark_count else " with one element")
            )
        marks = [self.elements.index(symbol) - 1] if symbol != self.elements[0] else []
        if charge:
            marks.append(self._charge_mark + _CHARGES.index(charge))
        if self._mark_count and atom.GetIsAromatic() and (symbol != "C" or charge):
            marks += [self._hydrogen_mark] * (atom.GetTotalNumHs() == 1)
        return marks

    def _atom(self, marks: NDArray[np.float32], threshold: float) -> Chem.Atom:
        """A new atom from the values (marks,) of its marks."""
        if not self._mark_count:
            return Chem.Atom(self.elements[0])
        others = marks[: self._charge_mark]
        charges = marks[self._charge_mark : self._hydrogen_mark]
        element = int(others.argmax()) + 1 if others.max() > threshold else 0
        atom = Chem.Atom(self.elements[element])
        if charges.max() > threshold:
            atom.SetFormalCharge(_CHARGES[int(charges.argmax())])
        if marks[self._hydrogen_mark] > threshold:
            atom.SetNumExplicitHs(1)
        return atom

    def _require_lossless(self, molecule: Molecule, entries: NDArray[np.int16]) -> None:
        values = np.zeros(WIDTH, dtype=np.float32)
        values[entries] = 1.0
        decoded = self.molecule(values, 0.5)
        wanted = canonical_smiles(molecule)
        if decoded is None or canonical_smiles(decoded) != wanted:
            raise MoleculeError(
                f"{wanted} has a radical or an unusual number of hydrogens, which cannot be encoded"
            )


def _is_heavy_element(symbol: str) -> bool:
    try:
        with BlockLogs():
            return bool(Chem.GetPeriodicTable().GetAtomicNumber(symbol) > 1)
    except RuntimeError:
        return False
