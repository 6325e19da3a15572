"""Groups of molecules by which errors are told apart: size, elements, novelty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
from rdkit.DataStructs import BulkTanimotoSimilarity

from nmrtk.formula import CARBON, HYDROGEN
from nmrtk.molecule import Molecule
from nmrtk.scoring import BoolArray, FloatArray

USUAL_ELEMENTS = ("C", "N", "O", "F", "S", "Cl", "Br", "P", "I", "B", "Si")
"""Besides hydrogen, the elements of most organic compounds."""

USUAL_HEAVY_ATOMS = 36
"""The most heavy atoms of what is called a usual molecule."""

_SIZES = (16, 24, USUAL_HEAVY_ATOMS)
_SIMILARITIES = (0.4, 0.6)

# Circular fingerprints (Rogers and Hahn, J. Chem. Inf. Model. 2010, 50, 742).
_MORGAN = GetMorganGenerator(radius=2, fpSize=2048)


@dataclass(frozen=True, slots=True)
class MoleculeGroup:
    """Some of B molecules.

    Args:
        name: what they have in common.
        members: bool (B,).
    """

    name: str
    members: BoolArray


def usual_molecules(molecules: Sequence[Molecule]) -> BoolArray:
    """Which molecules have at most `USUAL_HEAVY_ATOMS`, all of them `USUAL_ELEMENTS`; (B,)."""
    usual = {*USUAL_ELEMENTS, HYDROGEN}
    return np.array(
        [m.GetNumHeavyAtoms() <= USUAL_HEAVY_ATOMS and _elements(m) <= usual for m in molecules],
        np.bool_,
    )


def size_groups(molecules: Sequence[Molecule]) -> list[MoleculeGroup]:
    """Bands of the number of heavy atoms."""
    sizes = np.array([m.GetNumHeavyAtoms() for m in molecules])
    names = [f"{low + 1} to {high} heavy atoms" for low, high in pairwise(_SIZES)]
    names = [f"up to {_SIZES[0]} heavy atoms", *names, f"over {_SIZES[-1]} heavy atoms"]
    band = np.digitize(sizes, _SIZES, right=True)
    return [MoleculeGroup(name, band == index) for index, name in enumerate(names)]


def element_groups(molecules: Sequence[Molecule]) -> list[MoleculeGroup]:
    """Molecules that hold an element besides carbon and hydrogen, the most frequent element first;
    hydrocarbons; and those with any element that is not usual.
    """
    elements = [_elements(molecule) - {CARBON, HYDROGEN} for molecule in molecules]
    counts = Counter(element for some in elements for element in some)
    groups = [
        MoleculeGroup(f"with {name}", np.array([name in some for some in elements], np.bool_))
        for name, _ in counts.most_common()
        if name in USUAL_ELEMENTS
    ]
    return [
        *groups,
        MoleculeGroup("C and H only", np.array([not some for some in elements], np.bool_)),
        MoleculeGroup(
            "with other elements",
            np.array([bool(some - set(USUAL_ELEMENTS)) for some in elements], np.bool_),
        ),
    ]


def novelty_groups(similarities: FloatArray) -> list[MoleculeGroup]:
    """Bands of the similarity (B,) to the most similar molecule of training."""
    low, high = _SIMILARITIES
    names = (f"under {low:g}", f"{low:g} to {high:g}", f"{high:g} and over")
    band = np.digitize(similarities, _SIMILARITIES)
    return [MoleculeGroup(f"similarity {name}", band == index) for index, name in enumerate(names)]


def nearest_similarity(molecules: Sequence[Molecule], known: Sequence[Molecule]) -> FloatArray:
    """Tanimoto similarity (B,) of each molecule to the most similar known one, by Morgan
    fingerprints of radius 2; 0 where nothing is known.

    Example:
        >>> from nmrtk.molecule import parse_smiles
        >>> nearest_similarity([parse_smiles("CCO")], [parse_smiles("OCC")]).tolist()
        [1.0]
    """
    fingerprints = [_MORGAN.GetFingerprint(molecule) for molecule in known]
    return np.array(
        [
            max(BulkTanimotoSimilarity(_MORGAN.GetFingerprint(molecule), fingerprints), default=0.0)
            for molecule in molecules
        ]
    )


def _elements(molecule: Molecule) -> set[str]:
    return {atom.GetSymbol() for atom in molecule.GetAtoms()}
