"""Relative configuration: which substituents of stereocentres lie on the same side.

A graph of atoms and bonds is the same for diastereomers, whose lines differ. What tells them apart
is written here as relations between pairs of atoms that depend neither on the order of the atoms
nor on the choice between mirror images.
"""

from __future__ import annotations

from itertools import combinations

from rdkit import Chem
from rdkit.Chem import Atom, rdqueries

from nmrtk.molecule import Molecule

Relation = tuple[int, int, int]
"""Two atoms and the kind of their relation, below `RELATIONS`."""

_RING_DISTANCES = 3  # 1,2-, 1,3-, and 1,4-substituents and those further apart
_CHAIN_DISTANCES = 2  # bonds between two stereocentres

RELATIONS = 2 * _RING_DISTANCES + 2 * _CHAIN_DISTANCES
"""Number of kinds: substituents of a ring at each distance, cis and trans; then stereocentres that
share no ring at each distance, with like and with unlike descriptors."""

_HYDROGEN = -1  # stands for the neighbour that is not an atom of the graph
_SIGNS = {Chem.ChiralType.CHI_TETRAHEDRAL_CW: 1, Chem.ChiralType.CHI_TETRAHEDRAL_CCW: -1}
_DESCRIPTOR = "_CIPCode"
_IS_CENTRE = rdqueries.HasChiralTagQueryAtom()


def configuration_relations(molecule: Molecule) -> list[Relation]:
    """Relations of a molecule, each pair of atoms once for each ring that relates them.

    Substituents of a ring are cis or trans by the sides of the ring that they lie on. Stereocentres
    without a common ring, one or two bonds apart, are like (R,R or S,S) or unlike (R,S), after
    Prelog and Seebach, Angew. Chem. Int. Ed. 1982, 21, 654. A stereocentre whose configuration is
    not given has no relation.

    Example:
        >>> from nmrtk.molecule import parse_smiles
        >>> configuration_relations(parse_smiles("C[C@H]1CCCC[C@@H]1O"))
        [(0, 7, 1)]
        >>> configuration_relations(parse_smiles("CC1CCCCC1O"))
        []
    """
    centres = molecule.GetAtomsMatchingQuery(_IS_CENTRE)
    if len(centres) < 2:
        return []
    neighbours = {atom.GetIdx(): order for atom in centres if (order := _ordered(atom))}
    rings = molecule.GetRingInfo().AtomRings()
    relations = [one for ring in rings for one in _ring_relations(ring, neighbours)]
    return relations + _chain_relations(molecule, sorted(neighbours))


def _ordered(atom: Atom) -> list[int]:
    """Neighbours of a stereocentre in an order that looks clockwise, from the first to the other
    three; empty if it is none.
    """
    sign = _SIGNS.get(atom.GetChiralTag())
    if sign is None:
        return []
    order = [bond.GetOtherAtomIdx(atom.GetIdx()) for bond in atom.GetBonds()]
    if len(order) == 3:
        order.append(_HYDROGEN)
    if len(order) != 4:
        return []
    return order if sign > 0 else [order[1], order[0], *order[2:]]


def _ring_relations(ring: tuple[int, ...], neighbours: dict[int, list[int]]) -> list[Relation]:
    size = len(ring)
    sides = []  # place in the ring, substituent, whether it lies above
    for place, atom in enumerate(ring):
        if atom not in neighbours:
            continue
        before, after = ring[place - 1], ring[(place + 1) % size]
        order = neighbours[atom]
        outside = [one for one in order if one not in (before, after)]
        if len(outside) != 2:
            continue
        above = _is_even([order.index(one) for one in (before, after, *outside)])
        sides += [
            (place, one, above == first)
            for one, first in zip(outside, (True, False), strict=True)
            if one != _HYDROGEN
        ]
    relations = []
    for (place, one, above), (other_place, other, other_above) in combinations(sides, 2):
        gap = other_place - place
        distance = min(gap, size - gap, _RING_DISTANCES)
        if distance and one != other:
            kind = 2 * (distance - 1) + int(above != other_above)
            relations.append((min(one, other), max(one, other), kind))
    return relations


def _chain_relations(molecule: Molecule, centres: list[int]) -> list[Relation]:
    named = [centre for centre in centres if molecule.GetAtomWithIdx(centre).HasProp(_DESCRIPTOR)]
    if len(named) < 2:
        return []
    rings = molecule.GetRingInfo()
    descriptors = {one: molecule.GetAtomWithIdx(one).GetProp(_DESCRIPTOR) for one in named}
    beside = {
        one: {other.GetIdx() for other in molecule.GetAtomWithIdx(one).GetNeighbors()}
        for one in named
    }
    relations = []
    for one, other in combinations(named, 2):
        if other in beside[one]:
            distance = 1
        elif beside[one] & beside[other]:
            distance = 2
        else:
            continue
        if not rings.AreAtomsInSameRing(one, other):
            unlike = descriptors[one] != descriptors[other]
            kind = 2 * _RING_DISTANCES + 2 * (distance - 1) + int(unlike)
            relations.append((one, other, kind))
    return relations


def _is_even(permutation: list[int]) -> bool:
    inversions = sum(
        first > second
        for place, first in enumerate(permutation)
        for second in permutation[place + 1 :]
    )
    return inversions % 2 == 0
