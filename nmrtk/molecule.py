"""Molecules: reading SMILES, canonical forms, atom order.

A molecule is an `rdkit.Chem.Mol` whose hydrogens are implicit and whose atoms stand in the order
of its source.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rdkit import Chem
from rdkit.rdBase import BlockLogs

from nmrtk.errors import MoleculeError, shorten

Molecule = Chem.Mol


def parse_smiles(smiles: str) -> Molecule:
    """Read one SMILES, keeping its order of atoms.

    Raises:
        MoleculeError: it is empty or RDKit cannot read it; the message has RDKit's reason.

    Example:
        >>> parse_smiles("CCO").GetNumAtoms()
        3
    """
    text = smiles.strip()
    if not text:
        raise MoleculeError("the SMILES is empty")
    # RDKit would take what follows a blank for a name, and a damaged SMILES for a whole one.
    if not text.isascii() or len(text.split()) > 1:
        raise MoleculeError(
            f"{shorten(text)!r} is not a SMILES: it has blanks or unusual characters"
        )
    with BlockLogs():
        molecule = Chem.MolFromSmiles(text)
    if molecule is not None and molecule.GetNumAtoms() > 0:
        return molecule
    # Once more in steps, which takes longer, to find out what is wrong.
    parameters: Any = Chem.SmilesParserParams()
    parameters.sanitize = False
    with BlockLogs():
        molecule = Chem.MolFromSmiles(text, parameters)
    if molecule is None:
        raise MoleculeError(f"{shorten(text)!r} is not a SMILES: check brackets, ring closures")
    return finish_molecule(molecule, text)


def finish_molecule(molecule: Molecule, label: str) -> Molecule:
    """Check valences, perceive aromaticity and stereo, make hydrogens implicit.

    Raises:
        MoleculeError: a valence is broken, a ring cannot be kekulised, or no atom is there.
    """
    try:
        with BlockLogs():
            Chem.SanitizeMol(molecule)
            molecule = Chem.RemoveHs(molecule)
            Chem.AssignStereochemistry(molecule, cleanIt=True, force=True)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise MoleculeError(f"{shorten(label)!r} is not a valid structure: {reason}") from error
    if molecule.GetNumAtoms() == 0:
        raise MoleculeError(f"{shorten(label)!r} has no atoms")
    return molecule


def canonical_smiles(molecule: Molecule, *, stereo: bool = False) -> str:
    """Canonical SMILES; without stereo it names the constitution."""
    smiles: str = Chem.MolToSmiles(molecule, isomericSmiles=stereo)
    return smiles


def smiles_and_order(molecule: Molecule) -> tuple[str, list[int]]:
    """Canonical SMILES with stereo, and for each of its atoms the index in `molecule`."""
    smiles = Chem.MolToSmiles(molecule)
    order = molecule.GetProp("_smilesAtomOutputOrder")
    return smiles, [int(index) for index in order.strip("[],").split(",")]


def restore_order(smiles: str, order: Sequence[int]) -> Molecule:
    """The molecule whose `smiles_and_order` these are, its atoms in the original order.

    Raises:
        MoleculeError: SMILES and order do not belong together.
    """
    molecule = parse_smiles(smiles)
    if sorted(order) != list(range(molecule.GetNumAtoms())):
        raise MoleculeError(f"{shorten(smiles)!r} does not have the {len(order)} atoms stored")
    return Chem.RenumberAtoms(molecule, np.argsort(order).tolist())


def inchikey(molecule: Molecule) -> str:
    """InChIKey.

    Raises:
        MoleculeError: InChI has none for this structure.
    """
    with BlockLogs():
        key: str = Chem.MolToInchiKey(molecule)
    if not key:
        raise MoleculeError(f"no InChIKey exists for {shorten(canonical_smiles(molecule))!r}")
    return key
