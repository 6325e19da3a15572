"""Atom environments in spheres, after the HOSE code (Bremser, Anal. Chim. Acta 1978, 103, 355)."""

from __future__ import annotations

from typing import Any

from nmrtk.molecule import Molecule

_LARGEST_RING = 7


def environments(molecule: Molecule, radius: int) -> list[list[int]]:
    """Keys of the environments of every atom, from the least to the most specific.

    Two atoms have the same key at a level if they cannot be told apart there. Level 0 is the same
    for all atoms. Level 1 + r knows the atoms within r bonds: of those nearer than r, and of the
    atom itself, the element, hybridization, charge, hydrogens and smallest ring; of those at r
    the element, hybridization and charge; and the bond orders on the way. Sphere codes differ
    from it in that they write each atom once where this follows every path.

    Args:
        molecule: hydrogens implicit.
        radius: of the most specific environment, in bonds.

    Returns:
        `radius + 2` levels, each with one key an atom.
    """
    atoms = list(molecule.GetAtoms())
    rings = molecule.GetRingInfo()
    edge = [_edge_key(atom) for atom in atoms]
    # Tuples of integers hash alike in every process; strings do not.
    inner = [
        hash((key, atom.GetTotalNumHs(), min(rings.MinAtomRingSize(atom.GetIdx()), _LARGEST_RING)))
        for key, atom in zip(edge, atoms, strict=True)
    ]
    neighbors = [
        [
            # Twice the order, because that of an aromatic bond is 1.5.
            (int(2 * bond.GetBondTypeAsDouble()), bond.GetOtherAtomIdx(atom.GetIdx()))
            for bond in atom.GetBonds()
        ]
        for atom in atoms
    ]
    levels = [[0] * len(atoms), inner]
    spheres = edge
    for _ in range(radius):
        spheres = [
            hash((own, *sorted((order, spheres[index]) for order, index in around)))
            for own, around in zip(inner, neighbors, strict=True)
        ]
        levels.append(spheres)
    return levels


def _edge_key(atom: Any) -> int:
    return hash((atom.GetAtomicNum(), int(atom.GetHybridization()), atom.GetFormalCharge()))
