"""Wrong structures of the right formula, to fit and to test the score of candidates with."""

from __future__ import annotations

import numpy as np
from rdkit import Chem
from rdkit.rdBase import BlockLogs

from nmrtk.errors import MoleculeError
from nmrtk.molecule import Molecule, canonical_smiles, parse_smiles

_MOST_ORDER = 3
_MOST_TRIES = 40
_ORDERS = {
    Chem.BondType.SINGLE: 1,
    Chem.BondType.DOUBLE: 2,
    Chem.BondType.TRIPLE: 3,
}
_BONDS = {order: bond for bond, order in _ORDERS.items()}


def random_isomers(
    molecule: Molecule, count: int, rng: np.random.Generator, most_moves: int = 8
) -> list[Molecule]:
    """Different isomers of a molecule with the same hydrogens on each atom, at random.

    Each is some exchanges of bonds between four atoms away from the molecule (J.-L. Faulon, J.
    Chem. Inf. Comput. Sci. 1996, 36, 731), which keep all valences.

    Args:
        molecule: to start from; not among the results.
        count: how many at the most; small molecules have fewer.
        rng: of the moves.
        most_moves: between a structure and the molecule.
    """
    known = {canonical_smiles(molecule)}
    found: list[Molecule] = []
    plain = Chem.Mol(molecule)
    Chem.Kekulize(plain, clearAromaticFlags=True)
    size = plain.GetNumAtoms()
    if size < 4 or any(bond.GetBondType() not in _ORDERS for bond in plain.GetBonds()):
        return found
    start = np.zeros((size, size), np.int64)
    for bond in plain.GetBonds():
        ends = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        start[ends] = start[ends[::-1]] = _ORDERS[bond.GetBondType()]
    hydrogens = [atom.GetTotalNumHs() for atom in plain.GetAtoms()]
    for _ in range(count * _MOST_TRIES):
        if len(found) >= count:
            break
        bonds = start.copy()
        for _ in range(int(rng.integers(1, most_moves + 1))):
            _exchange(bonds, rng)
        isomer = _build(plain, bonds, hydrogens)
        if isomer is None:
            continue
        key = canonical_smiles(isomer)
        if key not in known:
            known.add(key)
            found.append(isomer)
    return found


def _exchange(bonds: np.ndarray, rng: np.random.Generator) -> None:
    """One exchange, in place, if the four atoms that are drawn allow it."""
    for _ in range(_MOST_TRIES):
        a, b = rng.integers(len(bonds), size=2)
        others = np.flatnonzero(bonds[a])
        if a == b or not len(others):
            continue
        c = int(rng.choice(others))
        ends = np.flatnonzero(bonds[b])
        if not len(ends):
            continue
        d = int(rng.choice(ends))
        if len({int(a), int(b), c, d}) < 4:
            continue
        if bonds[a, d] >= _MOST_ORDER or bonds[b, c] >= _MOST_ORDER:
            continue
        for one, other, change in ((a, c, -1), (b, d, -1), (a, d, 1), (b, c, 1)):
            bonds[one, other] += change
            bonds[other, one] += change
        return


def _build(template: Molecule, bonds: np.ndarray, hydrogens: list[int]) -> Molecule | None:
    """The molecule with other bonds; None if it is in pieces or impossible."""
    editable = Chem.RWMol()
    for atom, count in zip(template.GetAtoms(), hydrogens, strict=True):
        new = Chem.Atom(atom.GetAtomicNum())
        new.SetFormalCharge(atom.GetFormalCharge())
        new.SetNumExplicitHs(count)
        new.SetNoImplicit(True)
        editable.AddAtom(new)
    for one, other in zip(*np.nonzero(np.triu(bonds)), strict=True):
        editable.AddBond(int(one), int(other), _BONDS[int(bonds[one, other])])
    if len(Chem.GetMolFrags(editable)) > 1:
        return None
    try:
        with BlockLogs():
            return parse_smiles(Chem.MolToSmiles(editable))
    except (MoleculeError, RuntimeError, ValueError):
        return None
