"""Molecules as graphs of small integers: the one featurisation that graph networks share.

Every field is a category that does not depend on the order of the atoms, so that a network over
the graph does not either. Rings enter through the smallest ring of each bond: unlike the rings
that a smallest set happens to contain, that size is the same for every such set.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import Atom, Bond

from nmrtk.molecule import Molecule

ELEMENTS = (
    *("H", "Li", "B", "C", "N", "O", "F", "Na", "Al", "Si", "P", "S", "Cl", "K"),
    *("Fe", "Ge", "As", "Se", "Br", "Sn", "Te", "I", "Pt", "Hg"),
)
"""Elements with a category of their own; all others share the one after them."""

RING_SIZES = (3, 4, 5, 6, 7, 8)
"""Ring sizes with a category of their own; larger rings share the one after them."""

_HYBRIDISATIONS = {
    Chem.HybridizationType.SP: 1,
    Chem.HybridizationType.SP2: 2,
    Chem.HybridizationType.SP3: 3,
    Chem.HybridizationType.SP3D: 4,
    Chem.HybridizationType.SP3D2: 5,
}
_ORDERS = {
    Chem.BondType.SINGLE: 0,
    Chem.BondType.DOUBLE: 1,
    Chem.BondType.TRIPLE: 2,
    Chem.BondType.AROMATIC: 3,
}
ORDER_DOUBLE = _ORDERS[Chem.BondType.DOUBLE]
"""Category of a double bond."""

_STEREO = {Chem.BondStereo.STEREOE: 1, Chem.BondStereo.STEREOZ: 2}

_MOST_NEIGHBOURS = 6
_MOST_HYDROGENS = 4
_MOST_CHARGE = 2
_MOST_RADICALS = 2
_MOST_RING_BONDS = 4
_RING_CATEGORIES = len(RING_SIZES) + 1

ATOM_CARDINALITIES = (
    len(ELEMENTS) + 1,
    _MOST_NEIGHBOURS + 1,
    _MOST_HYDROGENS + 1,
    2 * _MOST_CHARGE + 1,
    len(_HYBRIDISATIONS) + 1,
    2,
    _MOST_RADICALS + 1,
    *((_MOST_RING_BONDS + 1,) * _RING_CATEGORIES),
)
"""Number of categories of each atom field: element, neighbours, hydrogens, charge, hybridisation,
aromaticity, unpaired electrons, and for each ring size the number of the atom's bonds whose
smallest ring has it. Numbers are clipped."""

ELEMENT, NEIGHBOURS, HYDROGENS, CHARGE, HYBRIDISATION, AROMATICITY, RADICALS = range(7)
"""Columns of `MolecularGraph.atoms`; those of the ring sizes follow."""

BOND_CARDINALITIES = (len(_ORDERS) + 1, 2, _RING_CATEGORIES + 1, len(_STEREO) + 1)
"""Number of categories of each bond field: order (single, double, triple, aromatic, other),
conjugation, smallest ring (none first), and E or Z."""

ORDER, CONJUGATION, RING, STEREO = range(4)
"""Columns of `MolecularGraph.bonds`."""

BOND_KINDS = math.prod(BOND_CARDINALITIES)
"""Number of combinations of the bond fields."""

_ELEMENT_CATEGORIES = {
    Chem.GetPeriodicTable().GetAtomicNumber(symbol): category
    for category, symbol in enumerate(ELEMENTS)
}
_LAST_CATEGORIES = np.array(ATOM_CARDINALITIES) - 1


@dataclass(frozen=True, slots=True)
class MolecularGraph:
    """Heavy atoms and bonds of molecules as categories.

    Letters: A atoms, E directed bonds, two for each bond of a molecule.

    Args:
        atoms: (A, len(ATOM_CARDINALITIES)), uint8, in the order of each molecule.
        sources: (E,), int32, atom from which the directed bond leads.
        targets: (E,), int32, atom to which it leads.
        bonds: (E, len(BOND_CARDINALITIES)), uint8.
    """

    atoms: NDArray[np.uint8]
    sources: NDArray[np.int32]
    targets: NDArray[np.int32]
    bonds: NDArray[np.uint8]

    @property
    def bond_kinds(self) -> NDArray[np.uint8]:
        """One category for all fields of a bond together, (E,), below `BOND_KINDS`."""
        kinds = np.ravel_multi_index(tuple(self.bonds.T), BOND_CARDINALITIES)
        return np.asarray(kinds, dtype=np.uint8)


def molecular_graph(*molecules: Molecule) -> MolecularGraph:
    """Describe molecules as a graph, side by side: their atoms, and the bonds of each together.

    Args:
        molecules: sanitised, as `nmrtk.molecule` reads them; any element, charge, several parts.

    Example:
        >>> from nmrtk.molecule import parse_smiles
        >>> graph = molecular_graph(parse_smiles("CCO"))
        >>> graph.atoms.shape, graph.targets.tolist()
        ((3, 14), [1, 2, 0, 1])
        >>> molecular_graph(parse_smiles("CCO"), parse_smiles("CF")).targets.tolist()
        [1, 2, 0, 1, 4, 3]
    """
    # A column at a time, and all molecules at once: it is the number of calls, of RDKit and of
    # numpy, that takes the time.
    atom_counts = [molecule.GetNumAtoms() for molecule in molecules]
    bond_counts = [molecule.GetNumBonds() for molecule in molecules]
    all_atoms: list[Atom] = []
    all_bonds: list[Bond] = []
    for molecule, atom_count, bond_count in zip(molecules, atom_counts, bond_counts, strict=True):
        all_atoms += map(molecule.GetAtomWithIdx, range(atom_count))
        all_bonds += map(molecule.GetBondWithIdx, range(bond_count))
    orders = [_ORDERS.get(kind, len(_ORDERS)) for kind in map(Bond.GetBondType, all_bonds)]
    bonds = np.array(
        [
            orders,
            [*map(Bond.GetIsConjugated, all_bonds)],
            [category for molecule in molecules for category in _smallest_rings(molecule)],
            [
                _STEREO.get(bond.GetStereo(), 0) if order == ORDER_DOUBLE else 0
                for bond, order in zip(all_bonds, orders, strict=True)
            ],
        ],
        dtype=np.uint8,
    ).T
    ends = np.array(
        [[*map(Bond.GetBeginAtomIdx, all_bonds)], [*map(Bond.GetEndAtomIdx, all_bonds)]],
        dtype=np.int32,
    )
    starts = np.cumsum(atom_counts, dtype=np.int32) - np.array(atom_counts, dtype=np.int32)
    ends += np.repeat(starts, bond_counts)

    fields = np.array(
        [
            [_ELEMENT_CATEGORIES.get(n, len(ELEMENTS)) for n in map(Atom.GetAtomicNum, all_atoms)],
            [*map(Atom.GetDegree, all_atoms)],
            # Explicit neighbours, such as deuterium, included.
            [atom.GetTotalNumHs(True) for atom in all_atoms],
            [max(charge + _MOST_CHARGE, 0) for charge in map(Atom.GetFormalCharge, all_atoms)],
            [_HYBRIDISATIONS.get(kind, 0) for kind in map(Atom.GetHybridization, all_atoms)],
            [*map(Atom.GetIsAromatic, all_atoms)],
            [*map(Atom.GetNumRadicalElectrons, all_atoms)],
        ],
        dtype=np.int64,
    ).T
    # Both ends of a bond count it in the column of its ring; the first, of no ring, is dropped.
    columns = 1 + _RING_CATEGORIES
    counted = np.bincount(
        (ends.astype(np.int64) * columns + bonds[:, RING]).ravel(),
        minlength=len(all_atoms) * columns,
    ).reshape(-1, columns)
    atoms = np.minimum(np.concatenate([fields, counted[:, 1:]], axis=1), _LAST_CATEGORIES)
    owners = np.repeat(np.arange(len(molecules)), bond_counts)
    order = np.argsort(np.concatenate([owners, owners]), kind="stable")
    return MolecularGraph(
        atoms.astype(np.uint8),
        ends.ravel()[order],
        ends[::-1].ravel()[order],
        np.concatenate([bonds, bonds])[order],
    )


def _smallest_rings(molecule: Molecule) -> list[int]:
    """Category of the smallest ring of every bond: 0 for none, then `RING_SIZES`, then larger."""
    categories = [0] * molecule.GetNumBonds()
    # Largest first: the smallest ring of a bond is written last. A smallest set of smallest rings
    # always has the smallest ring of each bond, whichever of several rings it leaves out.
    for ring in sorted(molecule.GetRingInfo().BondRings(), key=len, reverse=True):
        category = min(len(ring) - RING_SIZES[0] + 1, _RING_CATEGORIES)
        for bond in ring:
            categories[bond] = category
    return categories
